//! Snapshots between nodes: sent at a limited rate, received one at a time, and resumed after a
//! break.
//!
//! The replica makes the file and installs it; this module transfers it. Every chunk is verified
//! when it arrives, and the whole file, as the disk gives it back, before the replica gets it.
//!
//! Always true: a break costs what was under way and nothing that was stored; a file with any error
//! is thrown away and never installed.

mod chunk;
mod partial;
mod progress;
mod rate_limiter;
mod receive;
mod send;

#[cfg(test)]
mod tests;

pub(crate) use progress::Transfers;
pub use progress::{Direction, Transfer};
pub(crate) use rate_limiter::RateLimiter;
pub(crate) use receive::{Received, Receiver, next_part};
pub(crate) use send::{SNAPSHOT_BYTES_PER_SECOND, Sender};
