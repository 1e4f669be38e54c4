//! When a leader last reached this node, and for how long the node has been cut off.
//!
//! Always true: a node that is cut off counts from the last time that a leader spoke to it, or, if
//! it takes itself for the leader, from the last time that a majority answered it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use openraft::{Instant as _, async_runtime::watch::WatchReceiver as _};
use tokio::time::Instant;

use crate::Replica;

/// When a leader last reached this node: the only place where that is noted.
#[derive(Clone, Debug)]
pub(crate) struct Contact {
    started: Instant,
    last: Arc<Mutex<Option<Instant>>>,
}

impl Contact {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            last: Arc::default(),
        }
    }

    /// Notes that a leader of this term has reached this node.
    pub(crate) fn note(&self) {
        // One value is written at once: it is sound after any panic.
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns when a leader last reached this node, if one has since it started.
    pub(crate) fn last(&self) -> Option<Instant> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the same, or the start: a node that starts has some time to find a leader.
    pub(crate) fn last_or_start(&self) -> Instant {
        self.last().unwrap_or(self.started)
    }
}

impl Replica {
    /// Returns how long ago a leader last reached this replica; `None` if none has.
    #[must_use]
    pub fn contact(&self) -> Option<Duration> {
        self.inner.contact.last().map(|at| at.elapsed())
    }

    /// How long ago a leader that has a majority was heard, or a majority answered this leader.
    /// What others were told since then may be unknown here.
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
}
