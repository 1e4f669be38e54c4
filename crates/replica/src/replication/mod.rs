//! The leader's side of replication: what the engine sends to the other nodes.
//!
//! The engine takes a [`network`] of connections; a [`pipeline`] carries the appends of one
//! connection. What a node does with appends of others is in `peer_calls.rs`.

pub(crate) mod network;
pub(crate) mod pipeline;
