//! What a replica is told when it starts: who it is, who its peers are, and its timers.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use conclave_core::Timestamp;

use crate::Member;

/// What a replica is told when it starts.
#[derive(Clone)]
pub struct Config {
    /// Its number; must be among `members`.
    pub node: u64,
    /// The members with which the cluster is bootstrapped, the same on every node. Afterwards
    /// the log knows the members, and this says only where they are reached.
    pub members: BTreeMap<u64, Member>,
    /// Its directory, which exists and belongs to nobody else.
    pub data: PathBuf,
    /// Its timers.
    pub timers: Timers,
    /// Whether the log is synced before anything is acknowledged. `false` only for throw-away
    /// test nodes; `status` says so loudly.
    pub sync: bool,
    /// The clock with which a leader stamps its proposals.
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
        Self { heartbeat_ms: 75, election_min_ms: 200, election_max_ms: 350 }
    }
}
