//! Snapshots between nodes: sent at a pace, received once, and gone on with after a break.
//!
//! The replica makes the file and installs it; here it is carried. Every chunk is checked as it
//! comes, and the whole file, as the disk gives it back, before the replica hears of it.
//!
//! Always true: a break costs what was under way and nothing that was stored; whatever is wrong
//! with what came, it is thrown away and never installed.

mod chunk;
mod pace;
mod partial;
mod progress;
mod receive;
mod send;

#[cfg(test)]
mod tests;

pub(crate) use progress::Transfers;
pub use progress::{Direction, Transfer};
pub(crate) use receive::{Received, Receiver, next_part};
pub(crate) use send::{SNAPSHOT_BYTES_PER_SECOND, Sender};
