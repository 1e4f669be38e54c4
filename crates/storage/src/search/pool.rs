//! Read-only connections to the index, lent out one search at a time.
//!
//! At the bound a search waits its turn, for a limited time. No search runs before the index is
//! known to belong to the state, or while it is being replaced.

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::Connection;

use super::{SearchError, database};

/// Searches at the same time. More wait: two for each core of a small machine.
const SEARCHES_MAX: usize = 4;

/// How long a search waits for its turn before it fails as busy.
const SEARCH_WAIT: Duration = Duration::from_secs(2);

/// State behind the mutex.
#[derive(Default)]
struct Shelf {
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
    shelf: Mutex<Shelf>,
    changed: Condvar,
}

/// A connection until it is dropped.
pub(super) struct Lent {
    pool: Arc<Pool>,
    index: Option<Connection>,
}

impl Pool {
    /// Creates a pool that lends no connection before [`Pool::resume`].
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            shelf: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Each change under the lock is one assignment, so a panic elsewhere leaves it whole.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends a connection, opening one if none is idle.
    pub(super) fn lend(self: &Arc<Self>) -> Result<Lent, SearchError> {
        let must_wait = |shelf: &mut Shelf| match shelf.mode {
            Mode::Open => shelf.lent >= SEARCHES_MAX,
            Mode::Paused => true,
            Mode::Closed => false,
        };
        let waited = self
            .changed
            .wait_timeout_while(self.shelf(), SEARCH_WAIT, must_wait);
        let (mut shelf, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        if shelf.mode == Mode::Closed {
            return Err(SearchError::Closed);
        }
        if outcome.timed_out() {
            return Err(SearchError::Busy);
        }
        shelf.lent += 1;
        let idle = shelf.idle.pop();
        drop(shelf);
        let mut lent = Lent {
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
        let mut shelf = self.shelf();
        if shelf.mode == Mode::Open {
            shelf.mode = Mode::Paused;
        }
        let waited = self
            .changed
            .wait_timeout_while(shelf, wait, |shelf| shelf.lent > 0);
        let (mut shelf, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        shelf.idle.clear();
        !outcome.timed_out()
    }

    /// Lets searches in again.
    pub(super) fn resume(&self) {
        let mut shelf = self.shelf();
        if shelf.mode == Mode::Paused {
            shelf.mode = Mode::Open;
        }
        drop(shelf);
        self.changed.notify_all();
    }

    /// Ends searching for good.
    pub(super) fn close(&self) {
        let mut shelf = self.shelf();
        shelf.mode = Mode::Closed;
        shelf.idle.clear();
        drop(shelf);
        self.changed.notify_all();
    }
}

impl Lent {
    pub(super) fn index(&self) -> &Connection {
        self.index.as_ref().expect("it is here until dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut shelf = self.pool.shelf();
        shelf.lent -= 1;
        // A connection in a transaction was left by a panic or an error: it is closed instead.
        let back = self.index.take();
        let reusable = back.filter(Connection::is_autocommit);
        if shelf.mode == Mode::Open {
            shelf.idle.extend(reusable);
        } else {
            // Closed before any waiting thread learns that it is back.
            drop(reusable);
        }
        drop(shelf);
        self.pool.changed.notify_all();
    }
}
