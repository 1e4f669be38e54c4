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

/// Tables that SQLite has checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckedTables {
    /// Tables that are so large that the check of each would have taken too long.
    pub left_out: Vec<&'static str>,
}

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

    /// Has SQLite check each table with its indexes, in a transaction of its own, so that the
    /// write-ahead log is kept from being emptied for `limit` at most: a table that takes longer is
    /// left out. `pause` is called before each table, and says whether to go on.
    ///
    /// # Errors
    /// See [`CheckError`]. Damage is remembered.
    pub fn check_tables(
        &self,
        limit: Duration,
        pause: &mut dyn FnMut() -> bool,
    ) -> Result<CheckedTables, CheckError> {
        let mut checked = CheckedTables::default();
        for table in digest::TABLES.iter().map(|table| table.name) {
            if !pause() {
                return Err(CheckError::Interrupted);
            }
            let lent = self.acquire_apart().map_err(|error| match error {
                ReadError::Sqlite(error) => CheckError::Sqlite(error),
                ReadError::Busy | ReadError::Closed => CheckError::Interrupted,
            })?;
            let sql = format!("PRAGMA integrity_check('{table}')");
            match check(&lent, &sql, Some(limit))? {
                Some(()) => {}
                None => checked.left_out.push(table),
            }
        }
        Ok(checked)
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
            .map_err(|error| failed(&self.lent, error))?
            .ok_or(CheckError::Interrupted)
    }

    /// Has SQLite check its file: the trees of tables and indexes, and that each index says what
    /// its table says.
    ///
    /// # Errors
    /// See [`CheckError`]. Damage is remembered.
    pub fn check_file(&self) -> Result<(), CheckError> {
        check(&self.lent, "PRAGMA integrity_check(1)", None)?;
        Ok(())
    }
}

/// Runs a check of SQLite; returns `None` if it takes longer than the limit.
fn check(
    lent: &PooledConnection,
    sql: &str,
    limit: Option<Duration>,
) -> Result<Option<()>, CheckError> {
    let is_late = AtomicBool::new(false);
    let verdict = unless_wanted_back(lent, limit, &is_late, || {
        lent.query_row(sql, [], |row| row.get::<_, String>(0))
    });
    let verdict = match verdict {
        Err(_) if is_late.load(Ordering::Relaxed) => return Ok(None),
        verdict => verdict.map_err(|error| failed(lent, error))?,
    };
    if verdict == "ok" {
        return Ok(Some(()));
    }
    // Of a page that the disk does not give, SQLite says that it is not in use as it should be.
    Err(match lent.pool().note_sentence(&verdict) {
        Fault::Damage => CheckError::Damaged(verdict),
        _ => CheckError::Failed(verdict),
    })
}

/// Interrupts a statement that takes long when the state is to be replaced, or when the limit has
/// passed.
fn unless_wanted_back<T>(
    lent: &PooledConnection,
    limit: Option<Duration>,
    is_late: &AtomicBool,
    run: impl FnOnce() -> T,
) -> T {
    let interrupt = lent.get_interrupt_handle();
    let (pool, is_done) = (lent.pool(), AtomicBool::new(false));
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut waited = Duration::ZERO;
            while !is_done.load(Ordering::Relaxed) {
                if limit.is_some_and(|limit| waited >= limit) {
                    is_late.store(true, Ordering::Relaxed);
                }
                if is_late.load(Ordering::Relaxed) || pool.is_wanted_back() {
                    interrupt.interrupt();
                }
                thread::park_timeout(LOOK_EVERY);
                waited += LOOK_EVERY;
            }
        });
        let outcome = run();
        is_done.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        outcome
    })
}

fn failed(lent: &PooledConnection, error: rusqlite::Error) -> CheckError {
    match lent.pool().found(&error) {
        Fault::Damage => CheckError::Damaged(error.to_string()),
        Fault::Failed => CheckError::Failed(error.to_string()),
        _ if lent.pool().is_wanted_back() => CheckError::Interrupted,
        _ => CheckError::Sqlite(error),
    }
}
