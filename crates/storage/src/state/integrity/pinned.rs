//! The state of one moment, held while it is read slowly.
//!
//! Always true: what is read is one moment's, however long it takes and whatever is applied
//! meanwhile; and a pinned state is released when the state is to be replaced.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rusqlite::Connection;

use super::digest;
use crate::{
    fault::{DiskFailure, Fault},
    state::{Digest, ReadError, Reader, meta::Meta, read::pool::PooledConnection},
};

/// Pause between two looks whether a long check must end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The state as it was when this was made. While it lives the write-ahead log grows.
pub struct Pinned {
    lent: PooledConnection,
    index: u64,
}

impl std::fmt::Debug for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned")
            .field("index", &self.index)
            .finish()
    }
}

/// A pinned state was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The file does not hold what was written to it.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// The disk does not give all of it.
    #[error("the disk has failed: {0}")]
    Failed(String),
    /// SQLite failed for another reason.
    #[error("the database cannot be read")]
    Sqlite(#[source] rusqlite::Error),
    /// The state is being replaced, or the caller has given up.
    #[error("the check was ended early")]
    Interrupted,
}

impl Reader {
    /// Holds the state of this moment.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn pin(&self) -> Result<Pinned, ReadError> {
        let lent = self.acquire()?;
        let begin = |connection: &Connection| {
            // Ends with the connection: it is not given back in a transaction.
            connection.execute_batch("BEGIN DEFERRED")?;
            Meta::load(connection)
        };
        let meta = begin(&lent).inspect_err(|error| lent.pool().note(error))?;
        let index = meta.applied.map_or(0, |applied| applied.index);
        Ok(Pinned { lent, index })
    }

    /// Returns what was found to be damaged since the state was opened, if anything: the node must
    /// stop.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        self.pool().damage()
    }

    /// Returns why the state cannot be read, written or synced, if that is so: the node must stop
    /// at once, and must not sync again.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.pool().failure().map(|(_, why)| why)
    }

    /// Returns the same, if the disk is to blame for it.
    #[must_use]
    pub fn disk_failure(&self) -> Option<DiskFailure> {
        let (fault, why) = self.pool().failure()?;
        DiskFailure::of(fault, why)
    }
}

impl Pinned {
    /// Returns the last entry that was applied.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Returns the digest of every row. `pause` is called every few hundred rows, and says whether
    /// to go on.
    ///
    /// # Errors
    /// See [`CheckError`]. Damage is remembered.
    pub fn digest(&self, pause: &mut dyn FnMut() -> bool) -> Result<Digest, CheckError> {
        let pool = self.lent.pool();
        let mut go_on = || !pool.is_wanted_back() && pause();
        let found = digest::with_pauses(&self.lent, &mut go_on);
        found
            .map_err(|error| self.failed(error))?
            .ok_or(CheckError::Interrupted)
    }

    /// Has SQLite check its file: the trees of tables and indexes, and that each index says what
    /// its table says.
    ///
    /// # Errors
    /// See [`CheckError`]. Damage is remembered.
    pub fn check_file(&self) -> Result<(), CheckError> {
        let sql = "PRAGMA integrity_check(1)";
        let verdict = self.unless_wanted_back(|| self.lent.query_row(sql, [], |row| row.get(0)));
        let verdict: String = verdict.map_err(|error| self.failed(error))?;
        if verdict == "ok" {
            return Ok(());
        }
        // Of a page that the disk does not give, SQLite says that it is not in use as it should be.
        Err(match self.lent.pool().note_sentence(&verdict) {
            Fault::Damage => CheckError::Damaged(verdict),
            _ => CheckError::Failed(verdict),
        })
    }

    /// Interrupts a statement that takes long when the state is to be replaced.
    fn unless_wanted_back<T>(&self, run: impl FnOnce() -> T) -> T {
        let interrupt = self.lent.get_interrupt_handle();
        let (pool, is_done) = (self.lent.pool(), AtomicBool::new(false));
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    if pool.is_wanted_back() {
                        interrupt.interrupt();
                    }
                    thread::park_timeout(LOOK_EVERY);
                }
            });
            let outcome = run();
            is_done.store(true, Ordering::Relaxed);
            watcher.thread().unpark();
            outcome
        })
    }

    fn failed(&self, error: rusqlite::Error) -> CheckError {
        match self.lent.pool().found(&error) {
            Fault::Damage => CheckError::Damaged(error.to_string()),
            Fault::Failed => CheckError::Failed(error.to_string()),
            _ if self.lent.pool().is_wanted_back() => CheckError::Interrupted,
            _ => CheckError::Sqlite(error),
        }
    }
}
