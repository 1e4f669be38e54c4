//! Answers questions about the state: readers beside the writer, and one file for each kind of
//! question.
//!
//! Nothing here changes a row. Writing, integrity and snapshots use it; it knows none of them.

pub(crate) mod allowances;
pub(crate) mod audit;
pub(crate) mod conversations;
pub(crate) mod dates;
pub(crate) mod direct_peers;
pub(crate) mod index;
pub(crate) mod messages;
pub(crate) mod nodes;
pub(crate) mod operators;
pub(crate) mod people;
pub(crate) mod pool;
pub(crate) mod reader;
pub(crate) mod retention;
pub(crate) mod rooms;
pub(crate) mod stream;
pub(crate) mod unread;
