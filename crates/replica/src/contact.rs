//! How long ago this node had anything to do with a leader that has a majority.
//!
//! Always true: a node that is cut off counts from the last time that a leader spoke to it, or, if
//! it takes itself for the leader, from the last time that a majority answered it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use openraft::{Instant as _, async_runtime::watch::WatchReceiver as _};
use tokio::time::Instant;

use crate::Replica;

/// When a leader spoke last.
pub(crate) struct Contact(Mutex<Instant>);

impl Default for Contact {
    /// A node that starts has some time to find a leader.
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Contact {
    /// A leader spoke.
    pub(crate) fn heard(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replica {
    /// How long ago a leader that has a majority was heard, or a majority answered this leader.
    /// What others were told since then may be unknown here.
    #[must_use]
    pub fn cut_off_for(&self) -> Duration {
        let metrics = self.inner.raft.metrics();
        let acked = {
            let metrics = metrics.borrow_watched();
            metrics.last_quorum_acked.map(|acked| acked.elapsed())
        };
        let heard = self.inner.contact.last().elapsed();
        acked.map_or(heard, |acked| heard.min(acked))
    }
}
