//! What a node keeps of checks of the cluster (`check.rs`): the check that is under way, and the
//! progress or result of the last check.
//!
//! Always true: no lock is held across a wait.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use conclave_wire::v1;
use tokio::{sync::Semaphore, time::sleep};

/// Pause between two steps of a check, which read some thousand rows each: of a check for which an
/// operator waits, and of the daily one, which then takes a few hundredths of a processor.
const PAUSE_ASKED: Duration = Duration::from_millis(2);
const PAUSE_UNASKED: Duration = Duration::from_millis(200);

/// State of the checks on one node.
#[derive(Debug)]
pub(crate) struct Checks {
    /// Permit to examine log and file: one check at a time.
    pub(crate) look: Semaphore,
    /// The check that is under way, or the last one.
    pub(crate) last: Mutex<Option<Arc<Check>>>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            look: Semaphore::new(1),
            last: Mutex::default(),
        }
    }
}

/// Progress of one check.
#[derive(Debug)]
pub(crate) struct Check {
    progress: Mutex<v1::CheckClusterResponse>,
    /// Whether an operator waits for it.
    is_asked: AtomicBool,
}

impl Check {
    /// Creates a check with this progress.
    pub(crate) fn begin(progress: v1::CheckClusterResponse) -> Self {
        Self {
            progress: Mutex::new(progress),
            is_asked: AtomicBool::new(false),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, v1::CheckClusterResponse> {
        sound(&self.progress)
    }

    /// Returns a value that ends this check when it is dropped, however the task ends: until then
    /// no other check begins.
    pub(crate) fn end_when_dropped(self: &Arc<Self>) -> CheckEnd {
        CheckEnd(self.clone())
    }

    /// Notes whether an operator waits for this check; once one does, it stays so.
    pub(crate) fn hurry(&self, is_asked: bool) {
        self.is_asked.fetch_or(is_asked, Ordering::Relaxed);
    }

    /// Waits between two steps.
    pub(crate) async fn pause(&self) {
        sleep(match self.is_asked.load(Ordering::Relaxed) {
            true => PAUSE_ASKED,
            false => PAUSE_UNASKED,
        })
        .await;
    }

    /// Records that rows are compared up to this entry.
    pub(crate) fn at(&self, log_index: u64) {
        let mut progress = self.lock();
        progress.log_index = progress.log_index.max(log_index);
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

/// Ends a check when it is dropped.
#[derive(Debug)]
pub(crate) struct CheckEnd(Arc<Check>);

impl Drop for CheckEnd {
    fn drop(&mut self) {
        self.0.lock().finished = true;
    }
}

/// Locks a mutex whose value is valid after every statement that changes it.
pub(crate) fn sound<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_whose_task_panics_has_ended() {
        let check = Arc::new(Check::begin(v1::CheckClusterResponse::default()));
        let end = check.end_when_dropped();
        assert!(!check.progress().finished);
        let task = tokio::spawn(async move {
            let _end = end;
            panic!("it fails on purpose");
        });
        assert!(task.await.is_err());
        assert!(check.progress().finished);
    }
}
