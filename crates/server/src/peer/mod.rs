//! The calling side of the connections between nodes: connections, the calls of a peer, calls of a
//! machine that does not belong to the cluster yet, snapshots, and the conversion between messages
//! and the types of the replica.
//!
//! It serves no call (the services of the peer port do) and decides nothing about the cluster. The
//! context holds it; every floor above may use it.

mod calls;
pub(crate) mod codec;
pub(crate) mod connect;
pub(crate) mod convert;
pub(crate) mod digest_points;
pub(crate) mod join_client;
pub(crate) mod lane;
pub(crate) mod membership;
pub(crate) mod reachability;
pub(crate) mod snapshots;
pub(crate) mod transport;
