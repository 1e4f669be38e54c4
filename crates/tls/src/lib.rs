//! What client and server share to reach a node: how a cluster is recognised, how a TLS
//! configuration begins, and how a name with several addresses is connected to.
//!
//! It makes no certificates and decides nothing about peers: that is the server's. It keeps no list
//! of known clusters: that is the caller's.
//!
//! ```
//! use conclave_tls::Fingerprint;
//!
//! // The form that nodes print and people compare: `SHA256:` and 43 letters, as ssh shows keys.
//! let shown = Fingerprint([200; 32]).to_string();
//! assert_eq!(shown.parse(), Ok(Fingerprint([200; 32])));
//! assert!("SHA256:too-short".parse::<Fingerprint>().is_err());
//! ```
//!
//! Start reading with [`Fingerprint`] and [`ShownAuthority`], then [`dial::connect`].

mod config;
pub mod dial;
mod fingerprint;
mod shown_authority;

pub use config::{HTTP2, for_grpc, provider, signed_by, tls_error, tls13};
pub use fingerprint::{Fingerprint, NODES_NAME, NoFingerprint, nodes_name};
pub use shown_authority::ShownAuthority;
