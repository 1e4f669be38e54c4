//! Read-only connections to the index, lent out one search at a time.
//!
//! At the bound a search waits its turn, for a limited time. No search runs before the index is
//! known to belong to the state, or while it is being replaced.

use std::{
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_core::Position;
use rusqlite::Connection;

use super::{SearchError, database};
use crate::files::length;

/// Searches at the same time. More wait: two for each core of a small machine.
const SEARCHES_MAX: usize = 4;

/// How long a search waits for its turn before it fails as busy.
const SEARCH_WAIT: Duration = Duration::from_secs(2);

/// State behind the mutex.
#[derive(Default)]
struct Inner {
    idle: Vec<Connection>,
    lent: usize,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    Open,
    #[default]
    Paused,
    Closed,
}

/// The connections of one index.
pub(super) struct Pool {
    path: PathBuf,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Position up to which the index has the state, as a number.
    indexed_to: AtomicU64,
}

/// A connection until it is dropped.
pub(super) struct PooledConnection {
    pool: Arc<Pool>,
    index: Option<Connection>,
}

impl Pool {
    /// Creates a pool that lends no connection before [`Pool::resume`].
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            inner: Mutex::default(),
            changed: Condvar::new(),
            indexed_to: AtomicU64::new(0),
        }
    }

    /// Returns the length in bytes of the index.
    pub(super) fn file_bytes(&self) -> u64 {
        length(&self.path)
    }

    /// Notes up to where the index has the state.
    pub(super) fn note_indexed(&self, to: Position) {
        self.indexed_to.store(to.0, Ordering::Relaxed);
    }

    /// Returns up to where the index had the state when that was last noted.
    pub(super) fn indexed_to(&self) -> Position {
        Position(self.indexed_to.load(Ordering::Relaxed))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change under the lock is one assignment, so a panic elsewhere leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends a connection, opening one if none is idle.
    pub(super) fn acquire(self: &Arc<Self>) -> Result<PooledConnection, SearchError> {
        let must_wait = |inner: &mut Inner| match inner.mode {
            Mode::Open => inner.lent >= SEARCHES_MAX,
            Mode::Paused => true,
            Mode::Closed => false,
        };
        let waited = self
            .changed
            .wait_timeout_while(self.inner(), SEARCH_WAIT, must_wait);
        let (mut inner, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        if inner.mode == Mode::Closed {
            return Err(SearchError::Closed);
        }
        if outcome.timed_out() {
            return Err(SearchError::Busy);
        }
        inner.lent += 1;
        let idle = inner.idle.pop();
        drop(inner);
        let mut lent = PooledConnection {
            pool: self.clone(),
            index: idle,
        };
        if lent.index.is_none() {
            lent.index = Some(database::open_reader(&self.path)?);
        }
        Ok(lent)
    }

    /// Waits until no search runs, and closes all connections. Returns `false` if searches did not
    /// end within `wait`; no new one begins all the same.
    pub(super) fn pause(&self, wait: Duration) -> bool {
        let mut inner = self.inner();
        if inner.mode == Mode::Open {
            inner.mode = Mode::Paused;
        }
        let waited = self
            .changed
            .wait_timeout_while(inner, wait, |inner| inner.lent > 0);
        let (mut inner, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        inner.idle.clear();
        !outcome.timed_out()
    }

    /// Lets searches in again.
    pub(super) fn resume(&self) {
        let mut inner = self.inner();
        if inner.mode == Mode::Paused {
            inner.mode = Mode::Open;
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Ends searching for good.
    pub(super) fn close(&self) {
        let mut inner = self.inner();
        inner.mode = Mode::Closed;
        inner.idle.clear();
        drop(inner);
        self.changed.notify_all();
    }
}

impl PooledConnection {
    pub(super) fn index(&self) -> &Connection {
        self.index.as_ref().expect("it is here until dropped")
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let mut inner = self.pool.inner();
        inner.lent -= 1;
        // A connection in a transaction was left by a panic or an error: it is closed instead.
        let back = self.index.take();
        let reusable = back.filter(Connection::is_autocommit);
        if inner.mode == Mode::Open {
            inner.idle.extend(reusable);
        } else {
            // Closed before any waiting thread learns that it is back.
            drop(reusable);
        }
        drop(inner);
        self.pool.changed.notify_all();
    }
}
