//! Bytes and rows of one node: the durable log and the SQLite state.
//!
//! Synchronous on purpose: the caller decides on which thread to wait. Knows neither consensus nor
//! the network.
//!
//! The log survives the process, and the state follows from the log:
//!
//! ```
//! use std::sync::mpsc;
//!
//! use conclave_storage::{
//!     log::{self, EntryKind, LogId, LogStore as _, SegmentLog},
//!     state::{self, Payload, State},
//! };
//!
//! let directory = tempfile::tempdir()?;
//! let id = LogId { term: 1, node: 1, index: 1 };
//! let log = SegmentLog::open(directory.path(), log::Options::default())?;
//! let entry = log::Entry { id, kind: EntryKind::Blank, bytes: Default::default() };
//! let (synced, wait) = mpsc::channel();
//! // The callback runs when the entry is on disk, or with the error of the disk.
//! log.append(vec![entry.clone()], Box::new(move |result| synced.send(result).unwrap()))?;
//! wait.recv()??;
//! log.close();
//!
//! let log = SegmentLog::open(directory.path(), log::Options::default())?;
//! assert_eq!(log.read(1..2, usize::MAX)?, [entry]);
//!
//! let mut state = State::open(directory.path(), state::Options::default())?;
//! state.apply(&[state::Entry { id, payload: Payload::Blank }])?;
//! assert_eq!(state.applied().last, Some(id));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Start reading with [`log::LogStore`], which says what the log promises, and [`state::State`],
//! the one writer of the database; then [`search`], which every node fills for itself.

pub mod backup;
mod fault;
mod files;
mod latencies;
pub mod log;
pub mod pile;
mod recent_map;
pub mod search;
pub mod state;

pub use fault::{DiskFailure, Fault};
pub use files::disk_space;
pub use latencies::{LATENCY_BOUNDS, Latencies, LatencyCounts};
pub use recent_map::RecentMap;
