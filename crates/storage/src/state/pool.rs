//! Read-only connections, lent out one read at a time.
//!
//! At the bound a reader waits its turn, for a limited time. While the database file is being
//! replaced nobody reads; afterwards everybody reads the new one.

use std::{
    ops::Deref,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};

use super::{Options, ReadError, database};

/// What the mutex guards.
#[derive(Default)]
struct Shelf {
    idle: Vec<Connection>,
    lent: usize,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Open,
    Paused,
    Closed,
}

/// The connections of one state.
pub(super) struct Pool {
    path: PathBuf,
    options: Options,
    shelf: Mutex<Shelf>,
    changed: Condvar,
    /// What was found to be damaged first.
    damage: OnceLock<String>,
    /// What the disk refused first, beside the writer.
    failure: OnceLock<String>,
}

/// A connection until it is dropped.
pub(super) struct Lent {
    pool: Arc<Pool>,
    connection: Option<Connection>,
}

impl Pool {
    pub(super) fn new(path: PathBuf, options: Options) -> Self {
        Self {
            path,
            options,
            shelf: Mutex::default(),
            changed: Condvar::new(),
            damage: OnceLock::new(),
            failure: OnceLock::new(),
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Each change under the lock is one assignment, so a panic elsewhere leaves it whole.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends a connection, opening one if none is idle.
    pub(super) fn lend(self: &Arc<Self>) -> Result<Lent, ReadError> {
        let must_wait = |shelf: &mut Shelf| match shelf.mode {
            Mode::Open => shelf.lent >= self.options.readers_max.max(1),
            Mode::Paused => true,
            Mode::Closed => false,
        };
        let waited =
            self.changed
                .wait_timeout_while(self.shelf(), self.options.reader_wait, must_wait);
        let (mut shelf, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        if shelf.mode == Mode::Closed {
            return Err(ReadError::Closed);
        }
        if outcome.timed_out() {
            return Err(ReadError::Busy);
        }
        shelf.lent += 1;
        let idle = shelf.idle.pop();
        drop(shelf);
        let mut lent = Lent {
            pool: self.clone(),
            connection: idle,
        };
        if lent.connection.is_none() {
            let opened = database::open_reader(&self.path, &self.options);
            lent.connection = Some(opened.inspect_err(|error| self.note(error))?);
        }
        Ok(lent)
    }

    /// Waits until nobody reads, and closes all connections. `false`: readers did not end within
    /// `wait`, and reading goes on.
    pub(super) fn pause(&self, wait: Duration) -> bool {
        let mut shelf = self.shelf();
        shelf.mode = Mode::Paused;
        let waited = self
            .changed
            .wait_timeout_while(shelf, wait, |shelf| shelf.lent > 0);
        let (mut shelf, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        shelf.idle.clear();
        if outcome.timed_out() {
            shelf.mode = Mode::Open;
            drop(shelf);
            self.changed.notify_all();
            return false;
        }
        true
    }

    /// Lets readers in again.
    pub(super) fn resume(&self) {
        self.shelf().mode = Mode::Open;
        self.changed.notify_all();
    }

    /// Ends reading for good.
    pub(super) fn close(&self) {
        let mut shelf = self.shelf();
        shelf.mode = Mode::Closed;
        shelf.idle.clear();
        drop(shelf);
        self.changed.notify_all();
    }

    /// Remembers an error that says that the file is damaged.
    pub(super) fn note(&self, error: &rusqlite::Error) {
        if is_damage(error) {
            self.note_sentence(&error.to_string());
        }
    }

    /// Remembers that the file is damaged.
    pub(super) fn note_sentence(&self, why: &str) {
        // The first one is the one to tell.
        let _ = self.damage.set(why.to_owned());
    }

    /// What was found to be damaged, if anything.
    pub(super) fn damage(&self) -> Option<String> {
        self.damage.get().cloned()
    }

    /// Remembers that the disk has failed.
    pub(super) fn note_failure(&self, error: &rusqlite::Error) {
        match is_damage(error) {
            true => self.note(error),
            // The first one is the one to tell.
            false => drop(self.failure.set(error.to_string())),
        }
    }

    /// What the disk refused, if anything.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }

    /// Whether long reads should end early because the file is being replaced.
    pub(super) fn is_wanted_back(&self) -> bool {
        self.shelf().mode != Mode::Open
    }
}

/// Whether SQLite says that the file is damaged.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

impl Lent {
    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Deref for Lent {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("it is here until it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut shelf = self.pool.shelf();
        shelf.lent -= 1;
        // A connection in a transaction was left by a panic or an error: it is closed instead.
        let reusable = self.connection.take().filter(|back| back.is_autocommit());
        if shelf.mode == Mode::Open {
            shelf.idle.extend(reusable);
        } else {
            // Closed before anybody learns that it is back.
            drop(reusable);
        }
        drop(shelf);
        self.pool.changed.notify_all();
    }
}
