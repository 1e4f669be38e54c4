//! A node as a process: how it finds out which node it is, its listeners, its background tasks, its
//! recovery as the last survivor, and how it stops.
//!
//! No rule of the cluster or of the chat is here. It is the top floor: only `lib.rs` uses it.

pub(crate) mod background;
mod bound;
mod faults;
pub(crate) mod listeners;
pub(crate) mod opened;
#[cfg_attr(not(feature = "otlp"), path = "no_otlp.rs")]
mod otlp;
pub(crate) mod process;
pub(crate) mod recover;
pub(crate) mod resolve;
