//! What client and server share to reach a node: how a cluster is recognised, and how a name with
//! several addresses is connected to. Begin reading at [`Fingerprint`].
//!
//! It makes no certificates and decides nothing about peers: that is the server's. It keeps no list
//! of known clusters: that is the caller's.

pub mod dial;
mod fingerprint;

pub use fingerprint::{Fingerprint, NODES_NAME, NoFingerprint};
