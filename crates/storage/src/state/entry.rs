//! What goes into the state and what comes out of it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use conclave_core::{Answer, Batch, Event, Position, Timestamp, VersionRange};

use crate::log::LogId;

/// One committed entry, decoded.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The entry's name and place.
    pub id: LogId,
    /// The entry's content.
    pub payload: Payload,
}

/// Content of an entry.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A new leader's empty entry.
    Blank,
    /// A change of the cluster's members.
    Membership {
        /// The whole membership, in the replica's encoding.
        bytes: Bytes,
        /// The numbers of all members.
        nodes: BTreeSet<u64>,
    },
    /// Commands of clients.
    Commands(Arc<Batch>),
}

/// Result of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryResult {
    /// Answers, one per command.
    pub answers: Vec<Answer>,
    /// Log index of the entry in which each answer was decided: an earlier one for an answer from
    /// memory.
    pub decided_in: Vec<u64>,
    /// Events, in order.
    pub events: Vec<(Position, Event)>,
}

/// Progress of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The last applied entry.
    pub last: Option<LogId>,
    /// The last applied change of the members, and the entry that made it.
    pub membership: Option<(Option<LogId>, Bytes)>,
    /// The log time of the last batch.
    pub log_time: Timestamp,
    /// The date of the last batch.
    pub date: Timestamp,
}

/// Progress of the state that is safe from a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything up to here is synced in `state.db`: the log may forget it.
    pub synced_through: Option<LogId>,
    /// `false` if a reader was in the way: `synced_through` did not move. Try again later.
    pub complete: bool,
}

/// Use of memory and readers by the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Page cache of the writer in KiB.
    pub cache_kib: u32,
    /// Page cache of each reader in KiB.
    pub reader_cache_kib: u32,
    /// Read transactions at the same time. At the bound a reader waits for `reader_wait`.
    pub readers_max: usize,
    /// How long a read waits for its turn before it fails as busy.
    pub reader_wait: Duration,
    /// Entries of each of the writer's caches of rows; half of them, those that were used last,
    /// are never forgotten. With all in use a cache takes about 25 MB.
    pub cached_rows_max: usize,
    /// Cluster versions that are applied. A state of another one is refused.
    pub versions: VersionRange,
    /// Whether it is the state of a witness: without messages, and all else of people.
    pub witness: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_kib: 64 * 1024,
            reader_cache_kib: 4 * 1024,
            readers_max: 8,
            reader_wait: Duration::from_secs(2),
            cached_rows_max: 262_144,
            versions: VersionRange::BUILD,
            witness: false,
        }
    }
}
