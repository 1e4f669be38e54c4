//! Commands about messages and rooms, one file for each.

pub(crate) mod conversations;
pub(crate) mod delete;
pub(crate) mod edit;
pub(crate) mod follow;
pub(crate) mod marks;
pub(crate) mod presence;
pub(crate) mod react;
pub(crate) mod read;
pub(crate) mod reader;
pub(crate) mod room;
pub(crate) mod search;
pub(crate) mod send;
pub(crate) mod webhook;
