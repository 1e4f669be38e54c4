//! Measures how fast this node works: the commands that it decides, and how long the entries take
//! that it proposes as the leader.
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

/// The measurements of a node. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Meter(Arc<Inner>);

#[derive(Default)]
struct Inner {
    commands: AtomicU64,
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
        // Every statement leaves a valid list.
        let kept = self.0.latencies.lock();
        let mut kept = kept.unwrap_or_else(PoisonError::into_inner);
        if kept.len() == LATENCIES_MAX {
            kept.pop_front();
        }
        kept.push_back((now, now.duration_since(began)));
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
