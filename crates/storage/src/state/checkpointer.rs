//! Moves the write-ahead log into the database beside the writer, so that applying need not stop
//! for it.
//!
//! It never waits for anybody: what it cannot move now it moves the next time. Only when it cannot
//! keep up does the writer move pages itself (see `database.rs`).
//!
//! Always true: it never runs while somebody holds [`Checkpointer::alone`], and a failure of the
//! disk that it meets stops the writer: what a later sync says would mean nothing.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, mpsc},
    thread,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{column::number_or_none, mark};

/// How often it looks. Nothing to move costs next to nothing; more often would cost syncs.
const EVERY: Duration = Duration::from_millis(500);

type Failure = Option<rusqlite::Error>;

/// The thread and the gate that it goes through.
pub(super) struct Checkpointer {
    gate: Arc<Mutex<Failure>>,
    /// Dropped to stop the thread.
    stop: Option<mpsc::SyncSender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts it; `failed` is called at once when the disk fails.
    pub(super) fn start(
        path: PathBuf,
        failed: impl Fn(&rusqlite::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let gate = Arc::new(Mutex::new(None));
        let (stop, stopped) = mpsc::sync_channel(0);
        let through = gate.clone();
        let thread = thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || run(&path, &through, &stopped, &failed))?;
        Ok(Self {
            gate,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Keeps it from running for as long as the guard lives; waits until it is not.
    pub(super) fn alone(&self) -> MutexGuard<'_, Failure> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it failed, if it did; never waits.
    pub(super) fn take_failure(&self) -> Failure {
        match self.gate.try_lock() {
            Ok(mut failure) => failure.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.thread.take().map(thread::JoinHandle::join) {
            tracing::error!("the checkpoint thread has panicked");
        }
    }
}

fn run(
    path: &Path,
    gate: &Mutex<Failure>,
    stopped: &mpsc::Receiver<()>,
    failed: &dyn Fn(&rusqlite::Error),
) {
    let mut marked = None;
    while stopped.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
        let mut failure = gate.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            *failure = step(path, &mut marked)
                .err()
                .filter(|error| !is_busy(error));
            failure.iter().for_each(failed);
        }
    }
}

/// A connection of its own each time, so that none is open when the file is exchanged.
fn step(path: &Path, marked: &mut Option<u64>) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "busy_timeout", 0)?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    let sql = "SELECT applied_index FROM meta WHERE id = 1";
    let applied = connection.query_row(sql, [], |row| number_or_none(row, 0))?;
    if let Some(index) = applied
        && *marked != applied
    {
        mark::sync_log(path).map_err(|error| sync_failed(&error))?;
        match mark::note(path, index) {
            Ok(()) => *marked = applied,
            Err(error) => tracing::warn!(%error, "how far the database is was not noted"),
        }
    }
    Ok(())
}

/// As SQLite says it of its own syncs.
fn sync_failed(error: &io::Error) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}
