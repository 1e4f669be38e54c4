//! The identity of a node: the number and the cluster of its data directory, the incarnations of
//! that directory, its owner and its copies, the secret of the cluster, the token to join, and the
//! peers file.
//!
//! Everything here is data and the file that holds it. It calls no other node and does not know the
//! replica. Every floor above may use it.

pub(crate) mod copies;
pub(crate) mod epoch;
pub(crate) mod incarnations;
pub(crate) mod join_token;
pub(crate) mod node_identity;
pub(crate) mod owner;
pub(crate) mod peers_file;
pub(crate) mod recovered;
pub(crate) mod secret;
