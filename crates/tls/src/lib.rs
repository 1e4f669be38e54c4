//! What client and server share to reach a node: how a cluster is recognised, how a TLS
//! configuration begins, and how a name with several addresses is connected to. Begin reading at
//! [`Fingerprint`] and [`ShownAuthority`].
//!
//! It makes no certificates and decides nothing about peers: that is the server's. It keeps no list
//! of known clusters: that is the caller's.

mod config;
pub mod dial;
mod fingerprint;
mod shown_authority;

pub use config::{HTTP2, for_grpc, provider, signed_by, tls_error, tls13};
pub use fingerprint::{Fingerprint, NODES_NAME, NoFingerprint, nodes_name};
pub use shown_authority::ShownAuthority;
