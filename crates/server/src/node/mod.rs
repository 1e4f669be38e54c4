//! A node as a process: how it finds out who it is, its listeners, what runs in the background, and
//! how it stops.
//!
//! It is the top floor: nothing else of this crate uses it.

pub(crate) mod background;
pub(crate) mod listeners;
pub(crate) mod process;
pub(crate) mod resolve;
