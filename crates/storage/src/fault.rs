//! What a failure of the system or of SQLite means for the data of this node.
//!
//! SQLite does not report everything: it calls a page that the disk cannot read a malformed
//! database, and a quota that is used up an I/O error. So the disk is asked before either is
//! believed.
//!
//! Always true: only bytes that were read and are not what was written are damage. What the system
//! refuses to read or to write is not.

use std::{
    error::Error,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use rusqlite::{ErrorCode, ffi};

use crate::files::with_suffix;

/// Bytes that are read at once of a file that is perhaps damaged.
const READ_BYTES: usize = 1024 * 1024;
/// Bytes that are written to find out why the disk takes no more: more than a transaction writes
/// at once.
const PROBE_BYTES: usize = 1024 * 1024;
/// The name of the file for that, which loses its name before it is written.
const PROBE: &str = "probe.tmp";

/// What is to blame for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no room; there may be later.
    Full,
    /// The disk or its file system has failed: it does not read, write or sync.
    Failed,
    /// The system does not let this process use a file, or the file is none.
    Refused,
    /// Bytes are not what was written.
    Damage,
    /// Neither the disk nor what is on it: memory, descriptors, another process, a statement.
    Elsewhere,
}

/// A failure of the disk, for which the node must stop. Another copy of the data does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct DiskFailure {
    /// [`Fault::Full`], [`Fault::Failed`] or [`Fault::Refused`].
    pub fault: Fault,
    /// What was tried, and what the system said.
    pub why: String,
}

impl DiskFailure {
    /// Makes one, if `fault` is one of the disk.
    #[must_use]
    pub fn of(fault: Fault, why: impl Into<String>) -> Option<Self> {
        match fault {
            Fault::Full | Fault::Failed | Fault::Refused => Some(Self {
                fault,
                why: why.into(),
            }),
            Fault::Damage | Fault::Elsewhere => None,
        }
    }

    /// Finds one among the causes of an error.
    #[must_use]
    pub fn in_causes(error: &(dyn Error + 'static)) -> Option<Self> {
        let fault = in_causes(error)?;
        Self::of(fault, words(error))
    }
}

/// Returns an error with all its causes in one sentence.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

/// Returns the fault behind the first cause that is an error of the system or of SQLite.
fn in_causes(error: &(dyn Error + 'static)) -> Option<Fault> {
    let io = error.downcast_ref::<io::Error>();
    let io = io.or_else(|| error.downcast_ref::<Arc<io::Error>>().map(|io| &**io));
    if let Some(io) = io {
        let wrapped = io.get_ref().and_then(|inner| in_causes(inner));
        return Some(wrapped.unwrap_or_else(|| of_io(io)));
    }
    if let Some(failure) = error.downcast_ref::<DiskFailure>() {
        return Some(failure.fault);
    }
    match error.downcast_ref::<rusqlite::Error>() {
        Some(sqlite) => Some(of_sqlite(sqlite)),
        None => error.source().and_then(in_causes),
    }
}

/// Returns what an error of the system means for a file of this node.
pub(crate) fn of_io(error: &io::Error) -> Fault {
    use io::ErrorKind as Kind;
    if is_out_of_descriptors(error) {
        return Fault::Elsewhere;
    }
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded => Fault::Full,
        Kind::InvalidData | Kind::UnexpectedEof => Fault::Damage,
        Kind::PermissionDenied
        | Kind::NotFound
        | Kind::AlreadyExists
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::InvalidFilename
        | Kind::InvalidInput
        | Kind::CrossesDevices
        | Kind::TooManyLinks
        | Kind::Unsupported => Fault::Refused,
        Kind::Interrupted
        | Kind::WouldBlock
        | Kind::OutOfMemory
        | Kind::ResourceBusy
        | Kind::Deadlock => Fault::Elsewhere,
        // Not the system's word: a thread or a channel of this process has ended.
        Kind::Other if error.raw_os_error().is_none() => Fault::Elsewhere,
        // An I/O error, a device that is gone, a file system that is read-only or shut down, and
        // whatever else keeps the system from reading and writing.
        _ => Fault::Failed,
    }
}

/// Returns whether this process or the machine has no descriptor left.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
    const ENFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Returns what an error of SQLite means, as far as SQLite reports it.
pub(crate) fn of_sqlite(error: &rusqlite::Error) -> Fault {
    match error {
        // A number that no column takes: the rules have let it through, and the file has no part
        // in it.
        rusqlite::Error::ToSqlConversionFailure(_) => Fault::Elsewhere,
        error => error.sqlite_error().map_or(Fault::Damage, of_code),
    }
}

fn of_code(error: &ffi::Error) -> Fault {
    match error.code {
        ErrorCode::DiskFull => Fault::Full,
        ErrorCode::SystemIoFailure => match error.extended_code {
            ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_DATA => Fault::Damage,
            ffi::SQLITE_IOERR_NOMEM | ffi::SQLITE_IOERR_SHMMAP | ffi::SQLITE_IOERR_GETTEMPPATH => {
                Fault::Elsewhere
            }
            _ => Fault::Failed,
        },
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly => Fault::Refused,
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::OutOfMemory
        | ErrorCode::OperationInterrupted
        | ErrorCode::OperationAborted
        | ErrorCode::ApiMisuse
        | ErrorCode::NoLargeFileSupport
        | ErrorCode::AuthorizationForStatementDenied => Fault::Elsewhere,
        // The statements are known to be good: what SQLite cannot make sense of is in the file.
        _ => Fault::Damage,
    }
}

/// Returns whether SQLite says that the file is none of its own, or is damaged.
pub(crate) fn is_malformed(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure)
    )
}

/// Returns what an error of SQLite on the database at `state` means, and the message of SQLite or
/// of the system.
pub(crate) fn judge(state: &Path, error: &rusqlite::Error) -> (Fault, String) {
    let fault = of_sqlite(error);
    let why = error.to_string();
    let extended = error.sqlite_extended_error_code();
    match (fault, extended) {
        (Fault::Damage, _) => judge_damage(state, why),
        // A quota is no failure, and SQLite knows only of full disks.
        (Fault::Failed, Some(ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE)) => {
            match probe(state.parent().unwrap_or(Path::new("."))) {
                Err(error) => settled(fault, &error, why),
                Ok(()) => (fault, why),
            }
        }
        _ => (fault, why),
    }
}

/// Returns whether what looks damaged in the database at `state` is damaged, or cannot be read: of
/// a page that the disk does not give SQLite says that it is malformed.
pub(crate) fn judge_damage(state: &Path, why: String) -> (Fault, String) {
    for suffix in ["", "-wal"] {
        match read_whole(&with_suffix(state, suffix)) {
            // A file that is gone gives nothing back of what was written.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return settled(Fault::Damage, &error, why),
            Ok(()) => {}
        }
    }
    (Fault::Damage, why)
}

/// Settles the fault: what the system itself says counts, unless it says nothing of the disk.
fn settled(of_sqlite: Fault, error: &io::Error, why: String) -> (Fault, String) {
    match of_io(error) {
        Fault::Elsewhere | Fault::Damage => (of_sqlite, why),
        fault => (fault, format!("{why}: {error}")),
    }
}

/// Reads a file to its end, for what the system says to that. Closing it ends the locks by which
/// SQLite keeps other processes out, which the lock of the directory does as well.
fn read_whole(path: &Path) -> io::Result<()> {
    let mut file = open_with_retry(|| File::open(path))?;
    let mut piece = vec![0; READ_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

/// Writes and syncs a file without a name, for what the system says to that.
fn probe(directory: &Path) -> io::Result<()> {
    let path = directory.join(PROBE);
    let mut open = File::options();
    open.write(true).create(true).truncate(true);
    let mut file = open_with_retry(|| open.open(&path))?;
    fs::remove_file(&path)?;
    file.write_all(&vec![0; PROBE_BYTES])?;
    file.sync_all()
}

/// Opens a file; waits a while for a descriptor if they have run out: others are given back.
pub(crate) fn open_with_retry(mut open: impl FnMut() -> io::Result<File>) -> io::Result<File> {
    /// For how long, in all: 5 s.
    const TRIES: u32 = 200;
    const PAUSE: Duration = Duration::from_millis(25);
    for _ in 1..TRIES {
        match open() {
            Err(error) if is_out_of_descriptors(&error) => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the system tells of no descriptor"
                )]
                thread::sleep(PAUSE);
            }
            opened => return opened,
        }
    }
    open()
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
