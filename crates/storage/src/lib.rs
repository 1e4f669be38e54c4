//! Bytes and rows of one node: the durable log and the SQLite state.
//!
//! Synchronous on purpose: the caller decides on which thread to wait. Knows neither consensus nor
//! the network.

mod fault;
mod files;
pub mod log;
pub mod search;
pub mod state;

pub use fault::{DiskFailure, Fault};
