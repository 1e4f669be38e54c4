//! Snapshots of this node: made for a follower, kept while a receiver may go on with them, and
//! installed as the state.

pub(crate) mod install_marker;
pub(crate) mod offer;
pub(crate) mod store;
