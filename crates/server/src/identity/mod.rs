//! The identity of a node: the number and the cluster of its data directory, the lives of that
//! directory, the secret of the cluster, the token with which a machine joins, and the peers file.
//!
//! Everything here is data and the file that holds it. It calls no other node and does not know the
//! replica. Every floor above may use it.

pub(crate) mod epoch;
pub(crate) mod join_token;
pub(crate) mod lives;
pub(crate) mod node_identity;
pub(crate) mod peers_file;
pub(crate) mod secret;
