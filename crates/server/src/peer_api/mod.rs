//! What other nodes and joining machines may call, and which of them may make which call.
//!
//! It decides who is believed and hands on; what is then done stands below. Listeners alone start
//! it.

pub(crate) mod admission;
pub(crate) mod peer_guard;
pub(crate) mod peer_roles;
pub(crate) mod peer_service;
