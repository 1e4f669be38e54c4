//! Read-only connections, lent out one read at a time.
//!
//! At the bound a reader waits its turn, for a limited time. While the database file is being
//! replaced no read runs; afterwards all reads see the new one.

use std::{
    io,
    ops::Deref,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use rusqlite::Connection;

use crate::{
    fault::{self, Fault},
    files::{length, with_suffix},
    state::{Options, ReadError, database},
};

/// State behind the mutex.
#[derive(Default)]
struct Inner {
    idle: Vec<Connection>,
    lent: usize,
    mode: Mode,
    /// Whether nothing is lent for a moment, so that no read runs.
    is_held: bool,
    /// One connection more, for a task that reads slowly.
    apart: Option<Connection>,
    is_apart_lent: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Open,
    Paused,
    Closed,
}

/// The connections of one state.
pub(crate) struct Pool {
    path: PathBuf,
    options: Options,
    inner: Mutex<Inner>,
    /// One reader is woken for each connection that comes back, all of them when the mode changes.
    returned: Condvar,
    /// The same for the connection apart.
    returned_apart: Condvar,
    /// Woken when a connection comes back while reading is paused or held.
    emptied: Condvar,
    /// What was found to be damaged first.
    damage: OnceLock<String>,
    /// What keeps the state from being read or written first, and what is to blame.
    failure: OnceLock<(Fault, String)>,
}

/// A connection until it is dropped.
pub(crate) struct PooledConnection {
    pool: Arc<Pool>,
    connection: Option<Connection>,
    is_apart: bool,
}

/// No connection is lent until this is dropped.
pub(crate) struct Hold<'p> {
    pool: &'p Pool,
    is_alone: bool,
}

impl Pool {
    /// Returns the lengths in bytes of the database file and of its write-ahead log.
    pub(crate) fn file_bytes(&self) -> (u64, u64) {
        let log = with_suffix(&self.path, "-wal");
        (length(&self.path), length(&log))
    }

    pub(crate) fn new(path: PathBuf, options: Options) -> Self {
        Self {
            path,
            options,
            inner: Mutex::default(),
            returned: Condvar::new(),
            returned_apart: Condvar::new(),
            emptied: Condvar::new(),
            damage: OnceLock::new(),
            failure: OnceLock::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change under the lock is one assignment, so a panic elsewhere leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends a connection, opening one if none is idle.
    pub(crate) fn acquire(self: &Arc<Self>) -> Result<PooledConnection, ReadError> {
        self.acquire_one(false)
    }

    /// Lends the connection for tasks that read slowly, to one of them at a time.
    pub(crate) fn acquire_apart(self: &Arc<Self>) -> Result<PooledConnection, ReadError> {
        self.acquire_one(true)
    }

    fn acquire_one(self: &Arc<Self>, is_apart: bool) -> Result<PooledConnection, ReadError> {
        let must_wait = |inner: &mut Inner| match inner.mode {
            Mode::Open if inner.is_held => true,
            Mode::Open if is_apart => inner.is_apart_lent,
            Mode::Open => inner.lent >= self.options.readers_max.max(1),
            Mode::Paused => true,
            Mode::Closed => false,
        };
        let returned = match is_apart {
            true => &self.returned_apart,
            false => &self.returned,
        };
        let waited = returned.wait_timeout_while(self.inner(), self.options.reader_wait, must_wait);
        let (mut inner, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        if inner.mode == Mode::Closed {
            return Err(ReadError::Closed);
        }
        if outcome.timed_out() {
            return Err(ReadError::Busy);
        }
        let idle = match is_apart {
            true => inner.apart.take(),
            false => inner.idle.pop(),
        };
        match is_apart {
            true => inner.is_apart_lent = true,
            false => inner.lent += 1,
        }
        drop(inner);
        let mut lent = PooledConnection {
            pool: self.clone(),
            connection: idle,
            is_apart,
        };
        if lent.connection.is_none() {
            let opened = database::open_reader(&self.path, &self.options);
            lent.connection = Some(opened.inspect_err(|error| self.note(error))?);
        }
        Ok(lent)
    }

    /// Waits until no read runs, and closes all connections. Returns `false` if reads did not end
    /// within `wait`; then reading goes on.
    pub(crate) fn pause(&self, wait: Duration) -> bool {
        let mut inner = self.inner();
        inner.mode = Mode::Paused;
        let waited = self
            .emptied
            .wait_timeout_while(inner, wait, |inner| inner.lent > 0 || inner.is_apart_lent);
        let (mut inner, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        inner.idle.clear();
        inner.apart = None;
        if outcome.timed_out() {
            inner.mode = Mode::Open;
            drop(inner);
            self.wake_all();
            return false;
        }
        true
    }

    /// Lets readers in again.
    pub(crate) fn resume(&self) {
        self.inner().mode = Mode::Open;
        self.wake_all();
    }

    /// Lends nothing for as long as the hold lives, and waits up to `wait` until no read runs.
    /// Connections stay open.
    pub(crate) fn hold(&self, wait: Duration) -> Hold<'_> {
        let mut inner = self.inner();
        inner.is_held = true;
        let runs = |inner: &mut Inner| inner.lent > 0 || inner.is_apart_lent;
        let waited = self.emptied.wait_timeout_while(inner, wait, runs);
        let (inner, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(inner);
        Hold {
            pool: self,
            is_alone: !outcome.timed_out(),
        }
    }

    fn wake_all(&self) {
        self.returned.notify_all();
        self.returned_apart.notify_all();
    }

    /// Ends reading for good.
    pub(crate) fn close(&self) {
        let mut inner = self.inner();
        inner.mode = Mode::Closed;
        inner.idle.clear();
        inner.apart = None;
        drop(inner);
        self.wake_all();
    }

    /// Remembers an error that says that the file is damaged, or that the disk has failed.
    pub(crate) fn note(&self, error: &rusqlite::Error) {
        self.found(error);
    }

    /// Does the same, and returns what the error means.
    pub(crate) fn found(&self, error: &rusqlite::Error) -> Fault {
        if fault::of_sqlite(error) == Fault::Damage && !fault::is_malformed(error) {
            // A question may be to blame; the writer knows that its statements are good.
            return Fault::Elsewhere;
        }
        let (fault, why) = fault::judge(&self.path, error);
        // A file that cannot be opened now is perhaps one too many.
        if fault != Fault::Refused {
            self.remember(fault, why);
        }
        fault
    }

    /// Remembers that what was read of the file makes no sense, or that the disk does not give it;
    /// says which.
    pub(crate) fn note_sentence(&self, why: &str) -> Fault {
        let (fault, why) = fault::judge_damage(&self.path, why.to_owned());
        self.remember(fault, why);
        fault
    }

    /// Remembers what the system says to a file beside the database.
    pub(crate) fn note_io(&self, error: &io::Error) {
        self.remember(fault::of_io(error), error.to_string());
    }

    /// Remembers what has been found.
    pub(crate) fn remember(&self, fault: Fault, why: String) {
        // Only the first failure is reported.
        match fault {
            Fault::Damage => drop(self.damage.set(why)),
            Fault::Failed | Fault::Refused => drop(self.failure.set((fault, why))),
            Fault::Full | Fault::Elsewhere => {}
        }
    }

    /// Returns what was found to be damaged, if anything.
    pub(crate) fn damage(&self) -> Option<String> {
        self.damage.get().cloned()
    }

    /// Remembers why the state cannot be synced, whatever is to blame.
    pub(crate) fn note_failure(&self, fault: Fault, why: String) {
        match fault {
            Fault::Damage => self.remember(fault, why),
            _ => drop(self.failure.set((fault, why))),
        }
    }

    /// Returns why nothing can be written or read any more, if that is so.
    pub(crate) fn failure(&self) -> Option<(Fault, String)> {
        self.failure.get().cloned()
    }

    /// Returns whether long reads should end early because the file is being replaced.
    pub(crate) fn is_wanted_back(&self) -> bool {
        self.inner().mode != Mode::Open
    }
}

impl Hold<'_> {
    /// Returns whether no read runs.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.pool.inner().is_held = false;
        self.pool.wake_all();
    }
}

impl PooledConnection {
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Deref for PooledConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("it is here until it is dropped")
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let mut inner = self.pool.inner();
        match self.is_apart {
            true => inner.is_apart_lent = false,
            false => inner.lent -= 1,
        }
        // A connection in a transaction was left by a panic or an error: it is closed instead.
        let reusable = self.connection.take().filter(|back| back.is_autocommit());
        let mode = inner.mode;
        match (mode, self.is_apart) {
            (Mode::Open, true) => inner.apart = reusable,
            (Mode::Open, false) => inner.idle.extend(reusable),
            // Closed before any waiting thread learns that it is back.
            (Mode::Paused | Mode::Closed, _) => drop(reusable),
        }
        let is_awaited = mode != Mode::Open || inner.is_held;
        drop(inner);
        match (is_awaited, self.is_apart) {
            (true, _) => self.pool.emptied.notify_all(),
            (false, true) => self.pool.returned_apart.notify_one(),
            (false, false) => self.pool.returned.notify_one(),
        }
    }
}
