//! The replica's reports to the node around it: its times, its contact with a leader, how far it is
//! behind, and where it keeps snapshots.
//!
//! Always true: a node that is cut off counts from the last time that a leader spoke to it, or, if
//! it takes itself for the leader, from the last time that a majority answered it.

use std::{path::PathBuf, time::Duration};

use conclave_core::{Now, Timestamp};
use openraft::{Instant as _, async_runtime::watch::WatchReceiver as _};

use crate::{ClockStatus, Replica, snapshot::offer};

impl Replica {
    /// Returns how much time has passed and which date it is, as far as this node knows. A state
    /// that was applied later than that is never behind it by more than the way of an entry.
    #[must_use]
    pub fn now(&self) -> Now {
        self.inner.clocks.now()
    }

    /// Returns the time of this node's own clock: right or wrong, for the others to compare.
    #[must_use]
    pub fn own_clock(&self) -> Timestamp {
        self.inner.clocks.own()
    }

    /// Returns the state of this node's own clock.
    #[must_use]
    pub fn clock_status(&self) -> ClockStatus {
        self.inner.clocks.status()
    }

    /// Returns how long ago a leader last reached this replica; `None` if none has.
    #[must_use]
    pub fn contact(&self) -> Option<Duration> {
        self.inner.contact.last().map(|at| at.elapsed())
    }

    /// Returns how long ago a leader that has a majority was heard, or a majority answered this
    /// leader. What others have decided since then may be unknown here.
    #[must_use]
    pub fn cut_off_for(&self) -> Duration {
        let metrics = self.inner.raft.metrics();
        let acked = {
            let metrics = metrics.borrow_watched();
            metrics.last_quorum_acked.map(|acked| acked.elapsed())
        };
        let heard = self.inner.contact.last_or_start().elapsed();
        acked.map_or(heard, |acked| heard.min(acked))
    }

    /// Returns how many entries that are committed this node has not applied yet. `None` if no
    /// leader says so within `limit`.
    pub async fn entries_behind(&self, limit: Duration) -> Option<u64> {
        let confirmed = tokio::time::timeout(limit, self.inner.reads.confirm()).await;
        let committed = confirmed.ok()?.ok()?.ok()?;
        Some(committed.saturating_sub(*self.applied().borrow()))
    }

    /// Returns where received snapshots are put before [`Replica::on_snapshot`], in files whose
    /// names begin with `receive`; others are removed at the next start.
    #[must_use]
    pub fn snapshots_dir(&self) -> PathBuf {
        offer::directory(&self.inner.config.data)
    }
}
