//! The calls of other nodes and joining machines, and which of them may make which call.
//!
//! It decides which callers are trusted and passes their calls on to the floors below. It calls no
//! other node itself. Only the listeners of `node` start it.

pub(crate) mod admission;
pub(crate) mod introduction;
pub(crate) mod peer_guard;
pub(crate) mod peer_roles;
pub(crate) mod peer_service;
mod snapshot_install;
