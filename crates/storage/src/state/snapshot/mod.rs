//! Snapshots: the file that holds the state of one moment, and its way into the place of a state.
//!
//! It is above reading, integrity and writing and uses them all; nothing in the state uses it.

pub(crate) mod begin;
pub(crate) mod browse;
pub(crate) mod contents;
pub(crate) mod install;
pub(crate) mod make;
