//! Brings the database forward for those that read it.
//!
//! The database lags behind what is decided, by milliseconds. A reader that needs a certain entry
//! asks for it here; the writer commits as soon as that entry is decided.
//!
//! Always true: an index that never comes costs other callers nothing, and is forgotten with the
//! caller that asked for it.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use super::jobs::Job;
use crate::ReadError;

/// Knows how far the database is, and has it brought forward. Cheap to clone.
#[derive(Clone)]
pub struct Written {
    index: watch::Receiver<u64>,
    decided: Arc<AtomicU64>,
    wanted: Wanted,
    jobs: mpsc::SyncSender<Job>,
}

impl Written {
    pub(super) fn new(index: watch::Receiver<u64>, jobs: mpsc::SyncSender<Job>) -> Self {
        let wanted = Wanted::default();
        let decided = Arc::new(AtomicU64::new(*index.borrow()));
        Self {
            index,
            decided,
            wanted,
            jobs,
        }
    }

    pub(super) fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// Returns where the index of the last entry is noted that is decided.
    pub(super) fn decided(&self) -> Arc<AtomicU64> {
        self.decided.clone()
    }

    /// Waits until entry `index` is in this node's database, and has it written as soon as it is
    /// decided.
    ///
    /// # Errors
    /// [`ReadError::Behind`] when `limit` has passed; [`ReadError::Stopping`].
    pub async fn reaches(&self, index: u64, limit: Duration) -> Result<(), ReadError> {
        if *self.index.borrow() >= index {
            return Ok(());
        }
        let _asked = self.wanted.ask(index);
        // If its queue is full, the writer looks after its next job.
        let _ = self.jobs.try_send(Job::Wanted);
        let mut written = self.index.clone();
        let reached = written.wait_for(|written| *written >= index);
        match timeout(limit, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ReadError::Stopping),
            Err(_) => Err(ReadError::Behind { waited: limit }),
        }
    }

    /// Returns the index of the last entry that is decided on this node.
    #[must_use]
    pub fn decided_index(&self) -> u64 {
        self.decided.load(Ordering::Acquire)
    }

    /// Waits until everything that is decided on this node is in its database, or until `limit` has
    /// passed: what the node has answered can be read after that.
    pub async fn has_decided(&self, limit: Duration) {
        let decided = self.decided.load(Ordering::Acquire);
        if let Err(error) = self.reaches(decided, limit).await {
            tracing::debug!(%error, decided, "the database is read as it is");
        }
    }

    /// Waits until entry `index` is in this node's database, on a thread that may block.
    ///
    /// # Errors
    /// [`ReadError::Behind`] when `limit` has passed.
    pub fn reaches_blocking(&self, index: u64, limit: Duration) -> Result<(), ReadError> {
        let is_missing = || *self.index.borrow() < index;
        if !is_missing() {
            return Ok(());
        }
        let _asked = self.wanted.ask(index);
        let _ = self.jobs.try_send(Job::Wanted);
        let changed = &self.wanted.0.written;
        let waited = changed.wait_timeout_while(self.wanted.indexes(), limit, |_| is_missing());
        drop(waited);
        match is_missing() {
            true => Err(ReadError::Behind { waited: limit }),
            false => Ok(()),
        }
    }
}

/// The indexes that readers wait for.
#[derive(Clone, Default)]
pub(super) struct Wanted(Arc<WantedIndexes>);

#[derive(Default)]
struct WantedIndexes {
    /// With the number of readers of each.
    indexes: Mutex<BTreeMap<u64, usize>>,
    /// Threads wait here until more is written.
    written: Condvar,
}

impl Wanted {
    fn indexes(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        let Self(shared) = self;
        shared
            .indexes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that more is written.
    pub(super) fn written(&self) {
        // With the lock, so that no thread misses it between its look and its wait.
        let _indexes = self.indexes();
        self.0.written.notify_all();
    }

    fn ask(&self, index: u64) -> Asked {
        *self.indexes().entry(index).or_default() += 1;
        Asked {
            wanted: self.clone(),
            index,
        }
    }

    /// Returns whether a reader waits for an entry after `written`, up to `decided`.
    pub(super) fn is_any_in(&self, written: u64, decided: u64) -> bool {
        // An empty range of this kind would panic.
        written < decided
            && self
                .indexes()
                .range((Bound::Excluded(written), Bound::Included(decided)))
                .next()
                .is_some()
    }
}

/// A reader that waits.
struct Asked {
    wanted: Wanted,
    index: u64,
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut indexes = self.wanted.indexes();
        if let Some(readers) = indexes.get_mut(&self.index) {
            *readers -= 1;
            if *readers == 0 {
                indexes.remove(&self.index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_reader_is_wanted_while_it_waits_and_no_longer() {
        let wanted = Wanted::default();
        assert!(!wanted.is_any_in(0, u64::MAX));
        let (first, second) = (wanted.ask(7), wanted.ask(7));
        let never = wanted.ask(u64::MAX);
        assert!(wanted.is_any_in(6, 7) && wanted.is_any_in(0, 9));
        assert!(!wanted.is_any_in(7, 9), "an index that never comes");
        assert!(!wanted.is_any_in(3, 6) && !wanted.is_any_in(7, 7));
        drop(first);
        assert!(wanted.is_any_in(6, 7));
        drop((second, never));
        assert!(wanted.indexes().is_empty());
    }

    #[tokio::test]
    async fn a_wait_ends_at_its_limit_and_leaves_nothing_behind() {
        let (index, written) = watch::channel(3);
        let (jobs, waiting) = mpsc::sync_channel(1);
        let written = Written::new(written, jobs);
        let limit = Duration::from_millis(1);
        assert!(written.reaches(3, limit).await.is_ok());
        assert!(waiting.try_recv().is_err(), "what is there needs no job");
        for _ in 0..3 {
            let late = written.reaches(4, limit).await;
            assert!(matches!(late, Err(ReadError::Behind { .. })));
        }
        assert!(matches!(waiting.try_recv(), Ok(Job::Wanted)));
        assert!(written.wanted.indexes().is_empty());
        index.send_replace(4);
        assert!(written.reaches(4, limit).await.is_ok());
        drop(index);
        assert!(written.reaches_blocking(4, limit).is_ok());
        let stopped = written.reaches(5, Duration::from_secs(60)).await;
        assert!(matches!(stopped, Err(ReadError::Stopping)));
    }
    #[test]
    fn a_thread_that_waits_goes_on_when_more_is_written() {
        let (index, written) = watch::channel(3);
        let (jobs, waiting) = mpsc::sync_channel(1);
        let written = Written::new(written, jobs);
        let limit = Duration::from_millis(1);
        let late = written.reaches_blocking(4, limit);
        assert!(matches!(late, Err(ReadError::Behind { .. })));
        assert!(written.wanted.indexes().is_empty());
        waiting.try_recv().unwrap();
        let wanted = written.wanted();
        let reader = thread::spawn(move || written.reaches_blocking(5, Duration::from_secs(60)));
        waiting.recv().unwrap();
        assert!(wanted.is_any_in(4, 5));
        for reached in [4, 5] {
            index.send_replace(reached);
            wanted.written();
        }
        reader.join().unwrap().unwrap();
        assert!(wanted.indexes().is_empty());
    }
}
