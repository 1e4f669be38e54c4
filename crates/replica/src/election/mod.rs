//! Elections: whether this node takes part in them, and when it asks for one early.

pub(crate) mod campaign;
pub(crate) mod contact;
pub(crate) mod participation;
