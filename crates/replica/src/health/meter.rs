//! Measures how fast this node works: the commands that it decides, and how long the entries take
//! that it proposes as the leader; and counts what has happened to it.
//!
//! Always true: at most [`LATENCIES_MAX`] latencies are kept, and none older than
//! [`LATENCY_AGE_MAX`] is reported.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_storage::{Latencies, LatencyCounts};
use tokio::time::Instant;

/// Latencies that are kept.
const LATENCIES_MAX: usize = 512;

/// Age up to which a latency is recent.
const LATENCY_AGE_MAX: Duration = Duration::from_secs(10);

/// How fast a node works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Number of commands that the node has decided since it was started, those included that it
    /// has decided again from its log.
    pub commands: u64,
    /// How long entries took lately; `None` if the node has proposed none.
    pub commit: Option<CommitLatency>,
}

/// Time from the proposal of an entry until a majority has it and it is decided here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitLatency {
    /// Median of these entries.
    pub median: Duration,
    /// 99 of 100 of these entries took no longer.
    pub p99: Duration,
    /// Number of entries: the last ones that this node has proposed, of at most ten seconds.
    pub entries: usize,
}

/// What a replica has counted since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands that were decided, those included that were decided again from the log.
    pub commands: u64,
    /// How long entries took that this node has proposed, from the proposal until a majority has
    /// them and they are decided here.
    pub commits: LatencyCounts,
    /// How long transactions of the database took.
    pub writes: LatencyCounts,
    /// Entries that this node has proposed and whose outcome it does not know.
    pub outcomes_unknown: u64,
    /// Refusals of commands because too many wait: [`ProposeError::Busy`](crate::ProposeError).
    pub busy: u64,
    /// How often this node has learnt of another leader, or has become it.
    pub leader_changes: u64,
    /// How often it has become the leader.
    pub elections_won: u64,
    /// Received snapshots that have taken the place of the database.
    pub snapshots_installed: u64,
    /// Voters that this node has set aside as the leader, each time that it has.
    pub voters_set_aside: u64,
    /// Bytes inside the database that hold nothing, when it was looked at last.
    pub free_bytes: u64,
    /// Messages in the database, deleted ones included, when it was looked at last.
    pub messages: u64,
    /// How long steps took that gave some of them back to the file system.
    pub vacuums: LatencyCounts,
}

/// The measurements of a node. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Meter(Arc<Inner>);

#[derive(Default)]
struct Inner {
    commands: AtomicU64,
    commits: Latencies,
    writes: Latencies,
    unknown: AtomicU64,
    busy: AtomicU64,
    leader_changes: AtomicU64,
    elections_won: AtomicU64,
    snapshots_installed: AtomicU64,
    voters_set_aside: AtomicU64,
    free_bytes: AtomicU64,
    messages: AtomicU64,
    vacuums: Latencies,
    /// When an entry was decided, and how long that took; the oldest first.
    latencies: Mutex<VecDeque<(Instant, Duration)>>,
}

impl Meter {
    /// Counts commands that were decided.
    pub(crate) fn decided(&self, commands: usize) {
        self.0
            .commands
            .fetch_add(commands as u64, Ordering::Relaxed);
    }

    /// Notes that an entry is decided that this node has proposed at `began`.
    pub(crate) fn committed(&self, began: Instant) {
        let now = Instant::now();
        self.0.commits.note(now.duration_since(began));
        // Every statement leaves a valid list.
        let kept = self.0.latencies.lock();
        let mut kept = kept.unwrap_or_else(PoisonError::into_inner);
        if kept.len() == LATENCIES_MAX {
            kept.pop_front();
        }
        kept.push_back((now, now.duration_since(began)));
    }

    /// Notes that the outcome of a proposed entry is unknown here.
    pub(crate) fn outcome_unknown(&self) {
        self.0.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a voter was set aside.
    pub(crate) fn voter_set_aside(&self) {
        self.0.voters_set_aside.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that commands were refused because too many wait.
    pub(crate) fn busy(&self) {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that another node leads now, or this one.
    pub(crate) fn leader_changed(&self, is_own: bool) {
        self.0.leader_changes.fetch_add(1, Ordering::Relaxed);
        if is_own {
            self.0.elections_won.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that decided entries were written to the database, in one transaction.
    pub(crate) fn written(&self, took: Duration) {
        self.0.writes.note(took);
    }

    /// Notes that a received snapshot has taken the place of the database.
    pub(crate) fn snapshot_installed(&self) {
        self.0.snapshots_installed.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how many bytes inside the database hold nothing, after a step that took so long to
    /// give some of them back.
    pub(crate) fn vacuumed(&self, free_bytes: u64, took: Duration) {
        self.0.free_bytes.store(free_bytes, Ordering::Relaxed);
        self.0.vacuums.note(took);
    }

    /// Notes how many messages the database has.
    pub(crate) fn looked(&self, messages: u64) {
        self.0.messages.store(messages, Ordering::Relaxed);
    }

    /// Returns what was counted since the start.
    pub(crate) fn counts(&self) -> Counts {
        let Inner {
            commands,
            commits,
            writes,
            unknown,
            busy,
            leader_changes,
            elections_won,
            snapshots_installed,
            voters_set_aside,
            free_bytes,
            messages,
            vacuums,
            latencies: _,
        } = &*self.0;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            commands: load(commands),
            commits: commits.counts(),
            writes: writes.counts(),
            outcomes_unknown: load(unknown),
            busy: load(busy),
            leader_changes: load(leader_changes),
            elections_won: load(elections_won),
            snapshots_installed: load(snapshots_installed),
            voters_set_aside: load(voters_set_aside),
            free_bytes: load(free_bytes),
            messages: load(messages),
            vacuums: vacuums.counts(),
        }
    }

    /// Returns how fast the node works now.
    pub(crate) fn pace(&self) -> Pace {
        let mut recent: Vec<Duration> = {
            let kept = self.0.latencies.lock();
            let kept = kept.unwrap_or_else(PoisonError::into_inner);
            let recent = kept.iter().filter(|(at, _)| at.elapsed() < LATENCY_AGE_MAX);
            recent.map(|(_, took)| *took).collect()
        };
        recent.sort_unstable();
        let at = |percent: usize| {
            recent
                .get((recent.len() * percent).div_ceil(100) - 1)
                .copied()
        };
        let commit = (!recent.is_empty()).then(|| CommitLatency {
            median: at(50).unwrap_or_default(),
            p99: at(99).unwrap_or_default(),
            entries: recent.len(),
        });
        Pace {
            commands: self.0.commands.load(Ordering::Relaxed),
            commit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pace_is_that_of_recent_entries() {
        let meter = Meter::default();
        assert_eq!(meter.pace(), Pace::default());
        meter.decided(3);
        for millis in 1..=100 {
            let began = Instant::now();
            tokio::time::advance(Duration::from_millis(millis)).await;
            meter.committed(began);
        }
        let commit = meter.pace().commit.unwrap();
        assert_eq!(meter.pace().commands, 3);
        assert_eq!(commit.median, Duration::from_millis(50));
        assert_eq!(commit.p99, Duration::from_millis(99));
        assert_eq!(commit.entries, 100);
        tokio::time::advance(LATENCY_AGE_MAX).await;
        assert_eq!(meter.pace().commit, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_latencies_that_are_kept_are_bounded() {
        let meter = Meter::default();
        for _ in 0..2 * LATENCIES_MAX {
            meter.committed(Instant::now());
        }
        assert_eq!(meter.pace().commit.unwrap().entries, LATENCIES_MAX);
    }
}
