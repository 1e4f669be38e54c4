//! The durable Raft log of one node: entries, vote, committed and purged positions.
//!
//! [`SegmentLog`] keeps them in preallocated segment files; [`LogStore`] is what the replica sees.
//! It knows nothing of Raft's rules: it keeps what the replica gives it, in that order.
//!
//! Always true: a completion is called with `Ok` only after its bytes were synced to disk, and
//! bytes that were once synced are never dropped as a torn tail.

mod bounds;
mod files;
mod format;
mod memory;
mod queue;
mod recover;
mod segment_log;
mod torn;
mod types;
mod verify;
mod writer;

pub use bounds::{APPEND_BYTES_MAX, ENTRY_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_OPERATIONS_MAX};
pub use segment_log::SegmentLog;
pub use types::{
    Completion, Entry, EntryKind, LogId, LogState, LogStore, OpenError, Options, Recovery, Stats,
    Syncer, TornTail, Vote,
};
pub use verify::Verified;
