//! The figures of a replica for monitoring: what it has counted, how far its parts are, and how
//! large its files.
//!
//! Always true: reading them takes no lock that a command waits for, but for a moment the one of
//! the engine's own report, which the engine renews after its work.

use std::time::Duration;

use conclave_storage::{LatencyCounts, log};
use openraft::{Instant as _, async_runtime::watch::WatchReceiver as _};

use crate::{Counts, Replica};

/// Figures of a replica at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// What was counted since the start.
    pub counts: Counts,
    /// What the log has done since the start.
    pub log: log::Stats,
    /// How long the log took to write and sync a frame.
    pub syncs: LatencyCounts,
    /// Index of the last entry that is decided; those after `applied_index` of
    /// [`Status`](crate::Status) are not in the database yet.
    pub decided_index: u64,
    /// Length in bytes of the database file.
    pub database_bytes: u64,
    /// Length in bytes of its write-ahead log.
    pub database_wal_bytes: u64,
    /// Length in bytes of the search index.
    pub search_bytes: u64,
    /// Index of the log entry up to which the search index has everything, as far as it has said
    /// since the start.
    pub search_index: u64,
    /// Entries that are decided and whose answers wait for other voters.
    pub acknowledgements_held: usize,
    /// The nodes that follow this leader; empty if it does not lead.
    pub followers: Vec<Follower>,
}

/// A node as its leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Number of the node.
    pub node: u64,
    /// Index of the last entry that the node is known to have.
    pub matched_index: u64,
    /// How long ago the last request was sent that the node has answered; `None` if it has
    /// answered none since this node leads.
    pub heard: Option<Duration>,
}

impl Replica {
    /// Returns the figures of this replica. It asks the file system for lengths of files.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let inner = &self.inner;
        let (database_bytes, database_wal_bytes) = inner.reader.file_bytes();
        Figures {
            counts: inner.meter.counts(),
            log: inner.log.stats(),
            syncs: inner.log.sync_times(),
            decided_index: inner.machine.written().decided_index(),
            database_bytes,
            database_wal_bytes,
            search_bytes: inner.search.file_bytes(),
            search_index: inner.search.indexed_to().index(),
            acknowledgements_held: inner.gate.len(),
            followers: self.followers(),
        }
    }

    fn followers(&self) -> Vec<Follower> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let heartbeats = metrics.heartbeat.as_ref();
        let follower = |(node, matched): (&u64, &Option<_>)| Follower {
            node: *node,
            matched_index: index_of(matched.as_ref()),
            heard: heartbeats
                .and_then(|heard| heard.get(node)?.as_ref())
                .map(|at| at.elapsed()),
        };
        let others = metrics.replication.iter().flatten();
        let others = others.filter(|(node, _)| **node != self.inner.config.node);
        others.map(follower).collect()
    }
}

fn index_of(id: Option<&crate::convert::LogId>) -> u64 {
    id.map_or(0, |id| id.index())
}
