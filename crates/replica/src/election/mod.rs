//! Elections: whether this node takes part in them, when it asks for one early, and how it
//! transfers leadership.

pub(crate) mod campaign;
pub(crate) mod contact;
pub(crate) mod leader_watch;
mod leadership;
pub(crate) mod participation;
pub(crate) mod transfer;
