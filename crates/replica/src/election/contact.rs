//! When a leader last reached this node.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// The time at which a leader last reached this node: the only place where that is recorded.
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
