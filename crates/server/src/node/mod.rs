//! A node as a process: how it finds out which node it is, its listeners, its background tasks, and
//! how it stops.
//!
//! It is the top layer: no other module of this crate uses it.

pub(crate) mod background;
mod bound;
pub(crate) mod listeners;
pub(crate) mod process;
pub(crate) mod recover;
pub(crate) mod resolve;
