//! What a node keeps of checks of the cluster (`check.rs`): the state that it holds, the check that
//! is under way, and the progress or result of the last check.
//!
//! Always true: no lock is held across a wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conclave_storage::state::Pinned;
use conclave_wire::v1;
use tokio::sync::Semaphore;

/// State of the checks on one node.
#[derive(Debug)]
pub(crate) struct Checks {
    pub(crate) held: Mutex<Option<Pinned>>,
    /// Permit to examine the state: one check at a time.
    pub(crate) look: Semaphore,
    /// The check that is under way, or the last one.
    pub(crate) last: Mutex<Option<Arc<Check>>>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            look: Semaphore::new(1),
            last: Mutex::default(),
        }
    }
}

/// Progress of one check.
#[derive(Debug)]
pub(crate) struct Check(Mutex<v1::CheckClusterResponse>);

impl Check {
    /// Creates a check with this progress.
    pub(crate) fn begin(progress: v1::CheckClusterResponse) -> Self {
        Self(Mutex::new(progress))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, v1::CheckClusterResponse> {
        sound(&self.0)
    }

    /// Returns the progress of the check.
    pub(crate) fn progress(&self) -> v1::CheckClusterResponse {
        self.lock().clone()
    }

    /// Changes the entry of one node.
    pub(crate) fn set(&self, node: u64, change: impl FnOnce(&mut v1::NodeCheck)) {
        let mut progress = self.lock();
        let found = progress.nodes.iter_mut().find(|n| n.node_id == node);
        if let Some(found) = found {
            change(found);
        }
    }
}

/// Locks a mutex whose value is valid after every statement that changes it.
pub(crate) fn sound<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
