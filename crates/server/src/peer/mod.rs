//! How nodes speak with each other, from the side that asks: connections, the calls of a peer,
//! calls of a machine that does not belong to the cluster yet, snapshots, and the translation
//! between messages and the types of the replica.
//!
//! It answers nothing (that is for the services of the port for peers) and decides nothing about
//! the cluster. What the services share holds it; everything above may use it.

pub(crate) mod codec;
pub(crate) mod connect;
pub(crate) mod convert;
pub(crate) mod digest_points;
pub(crate) mod join_client;
pub(crate) mod on_behalf;
pub(crate) mod reachability;
pub(crate) mod snapshots;
pub(crate) mod transport;
