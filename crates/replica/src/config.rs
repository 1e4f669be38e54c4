//! The configuration of a replica: its number, its peers, and its timers.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use conclave_core::{Timestamp, VersionRange};

use crate::Member;

/// Configuration of a replica.
#[derive(Clone)]
pub struct Config {
    /// The node's number; must be among `members`.
    pub node: u64,
    /// The members with which the cluster is bootstrapped, the same on every node. Afterwards
    /// the log knows the members, and this says only where they are reached.
    pub members: BTreeMap<u64, Member>,
    /// Whether an empty log is bootstrapped with `members`. `false` for a node that joins a
    /// cluster that is there: its log comes from the leader, and nothing else may be in it.
    pub bootstrap: bool,
    /// Whether it takes part from the start. `false`: it neither votes nor takes entries before
    /// [`Replica::admit`](crate::Replica::admit).
    pub admitted: bool,
    /// The replica's directory, which exists and belongs to no other replica.
    pub data: PathBuf,
    /// The replica's timers.
    pub timers: Timers,
    /// Whether the log is synced before anything is acknowledged. `false` only for throw-away
    /// test nodes; `status` says so loudly.
    pub sync: bool,
    /// Returns how much longer than the disk each sync of the log takes, if demonstrations and
    /// tests may slow it down.
    pub sync_delay: Option<Arc<dyn Fn() -> Duration + Send + Sync>>,
    /// How much of the log is kept.
    pub retention: LogRetention,
    /// Whether it is a witness: it votes and keeps the log, decides what concerns the cluster
    /// alone, and takes no command while it leads.
    pub witness: bool,
    /// Cluster versions that this node applies: those of its build, or fewer in a test.
    pub versions: VersionRange,
    /// This machine's clock. A leader stamps its proposals with what a majority of the voters'
    /// clocks say.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Timers in milliseconds.
///
/// A follower campaigns when it has heard nothing for a lease (the maximal election timeout) and
/// a random election timeout, so the maximum counts twice: with these values after 0.55 to 0.7
/// seconds. `docs/notebook` has the measurements behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Between two heartbeats.
    pub heartbeat_ms: u64,
    /// The shortest election timeout.
    pub election_min_ms: u64,
    /// The longest election timeout, and the leader's lease.
    pub election_max_ms: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            heartbeat_ms: 75,
            election_min_ms: 200,
            election_max_ms: 350,
        }
    }
}

/// How much of the log is kept behind what is synced into the database, so that a follower that
/// was away for a while is served from the log instead of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRetention {
    /// Payload bytes that are kept.
    pub keep_bytes: u64,
    /// Entries that are kept, if that is less.
    pub keep_entries: u64,
    /// Payload bytes after which the database is synced again.
    pub sync_bytes: u64,
    /// Entries after which the database is synced again.
    pub sync_entries: u64,
}

impl Default for LogRetention {
    fn default() -> Self {
        Self {
            keep_bytes: 64 * 1024 * 1024,
            keep_entries: 100_000,
            sync_bytes: 32 * 1024 * 1024,
            sync_entries: 50_000,
        }
    }
}
