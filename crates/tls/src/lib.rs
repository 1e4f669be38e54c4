//! What client and server share to reach a node: how a cluster is recognised, and how a name with
//! several addresses is connected to.
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
//! Start reading with [`Fingerprint`], then [`dial::connect`].

pub mod dial;
mod fingerprint;

pub use fingerprint::{Fingerprint, NODES_NAME, NoFingerprint};
