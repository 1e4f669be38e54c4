//! Moves the write-ahead log into the database beside the writer, so that applying need not stop
//! for it.
//!
//! It never waits for another thread: what it cannot move now it moves the next time. Only when it
//! cannot keep up does the writer move pages itself (see `database.rs`).
//!
//! It keeps its connection and the write-ahead log open, so that a process that has run out of
//! descriptors goes on. Failing to open them is no failure of the disk: it tries again.
//!
//! Always true: it never runs while the writer holds [`Checkpointer::alone`], and a failure of the
//! disk that it meets stops the writer: what a later sync says would mean nothing.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, mpsc},
    thread,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::{
    fault::{self, Fault},
    state::{column::number_or_none, mark},
};

/// How often it looks. Nothing to move costs next to nothing; more often would cost syncs.
const EVERY: Duration = Duration::from_millis(500);

type Failure = Option<rusqlite::Error>;

/// What the thread and the writer share; one of them has it at a time.
#[derive(Default)]
pub(crate) struct CheckpointState {
    failure: Failure,
    files: Option<Files>,
}

impl CheckpointState {
    /// Takes why the thread failed, if it did.
    pub(crate) fn take_failure(&mut self) -> Failure {
        self.failure.take()
    }

    /// Closes what the thread has open, before the files are exchanged.
    pub(crate) fn close(&mut self) {
        self.files = None;
    }
}

/// What the thread keeps open between two looks.
struct Files {
    connection: Connection,
    /// The write-ahead log, which SQLite keeps while a connection is open.
    log: Option<File>,
}

/// The thread and the gate that it goes through.
pub(crate) struct Checkpointer {
    gate: Arc<Mutex<CheckpointState>>,
    /// Dropped to stop the thread.
    stop: Option<mpsc::SyncSender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts it; `failed` is called at once when the disk fails.
    pub(crate) fn start(
        path: PathBuf,
        failed: impl Fn(Fault, String) + Send + 'static,
    ) -> io::Result<Self> {
        let gate = Arc::new(Mutex::new(CheckpointState::default()));
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
    pub(crate) fn alone(&self) -> MutexGuard<'_, CheckpointState> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns why it failed, if it did; never waits.
    pub(crate) fn take_failure(&self) -> Failure {
        match self.gate.try_lock() {
            Ok(mut gate) => gate.take_failure(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take_failure(),
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
    gate: &Mutex<CheckpointState>,
    stopped: &mpsc::Receiver<()>,
    failed: &dyn Fn(Fault, String),
) {
    let mut marked = None;
    let mut told = false;
    while stopped.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
        let mut gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
        if gate.failure.is_some() {
            continue;
        }
        match step(path, &mut gate.files, &mut marked) {
            Ok(()) => told = false,
            // It passes by itself: a reader ends.
            Err(error) if is_busy(&error) => {}
            Err(error) if cannot_open(&error) => {
                gate.close();
                if !told {
                    tracing::warn!(%error, "failed to open the database for a checkpoint");
                }
                told = true;
            }
            Err(error) => match fault::judge(path, &error) {
                // It passes by itself: there is room again.
                (Fault::Full, _) => {}
                (fault, why) => {
                    failed(fault, why);
                    gate.failure = Some(error);
                }
            },
        }
    }
}

fn step(path: &Path, files: &mut Option<Files>, marked: &mut Option<u64>) -> rusqlite::Result<()> {
    let files = match files {
        Some(files) => files,
        None => files.insert(open(path)?),
    };
    files
        .connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    let sql = "SELECT applied_index FROM meta WHERE id = 1";
    let applied = files
        .connection
        .query_row(sql, [], |row| number_or_none(row, 0))?;
    if let Some(index) = applied
        && *marked != applied
    {
        if files.log.is_none() {
            files.log = mark::open_log(path).map_err(|error| open_failed(&error))?;
        }
        // Without a log everything is in the database, which the checkpoint has synced.
        if let Some(log) = &files.log {
            log.sync_data().map_err(|error| sync_failed(&error))?;
        }
        match mark::note(path, index) {
            Ok(()) => *marked = applied,
            Err(error) => tracing::warn!(%error, "failed to record the position of the database"),
        }
    }
    Ok(())
}

fn open(path: &Path) -> rusqlite::Result<Files> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "busy_timeout", 0)?;
    connection.pragma_update(None, "synchronous", "normal")?;
    Ok(Files {
        connection,
        log: None,
    })
}

/// Returns the error that SQLite gives for a file that it cannot open itself.
fn open_failed(error: &io::Error) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
    rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
}

/// Returns whether descriptors have run out, most likely: nothing was written, and nothing is lost.
fn cannot_open(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::CannotOpen)
}

/// Returns the error that SQLite gives for a failed sync of its own.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_cannot_be_opened_is_retried() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let (mut files, mut marked) = (None, None);
        let error = step(&path, &mut files, &mut marked).unwrap_err();
        assert!(cannot_open(&error), "{error}");
        let made = Connection::open(&path).unwrap();
        made.execute_batch(
            "PRAGMA journal_mode = wal;
             CREATE TABLE meta (id INTEGER PRIMARY KEY, applied_index INTEGER);
             INSERT INTO meta VALUES (1, 7);",
        )
        .unwrap();
        step(&path, &mut files, &mut marked).unwrap();
        assert_eq!(marked, Some(7));
        let kept = files.as_ref().expect("it stays open");
        assert!(kept.log.is_some());
        assert!(!cannot_open(&sync_failed(&io::Error::other("the disk"))));
    }
}
