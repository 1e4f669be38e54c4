//! Why an operation on the state failed, per operation.

use std::{
    io,
    path::{Path, PathBuf},
};

use conclave_core::{Broken, ClusterVersion, VersionRange};

use crate::fault::{self, DiskFailure, Fault};

/// The state cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read or made.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// SQLite refused.
    #[error("the database cannot be opened")]
    Sqlite(#[from] rusqlite::Error),
    /// The disk does not give it.
    #[error("the database cannot be used")]
    Disk(#[source] DiskFailure),
    /// The SQLite library has known bugs in what we rely on.
    #[error("SQLite {found} is too old; at least {needed} is needed")]
    SqliteTooOld {
        /// `sqlite3_libversion_number()`.
        found: i32,
        /// The least that is accepted.
        needed: i32,
    },
    /// It had more once: the write-ahead log is damaged, or the file is an old one.
    #[error("the database ends at entry {applied} and has had entry {marked}")]
    Behind {
        /// The last entry that it has.
        applied: u64,
        /// An entry that it had.
        marked: u64,
    },
    /// It was ours once, and does not say so any more.
    #[error("this was a state of Conclave and no longer is one (application id {found:#x})")]
    NotOursAnyMore {
        /// Application id of the file.
        found: i32,
    },
    /// Some other program's database.
    #[error("this is not a state of Conclave (application id {found:#x})")]
    NotOurs {
        /// Application id of the file.
        found: i32,
    },
    /// The header of the file and a table of it contradict each other.
    #[error("the file says two versions of its tables: {found} and {version}")]
    TwoVersions {
        /// Version in the header.
        found: i32,
        /// Version in the table.
        version: i32,
    },
    /// A later build has written it: start that one.
    #[error(
        "the tables have version {found}; this build opens versions {oldest} to {newest}: a later \
         build has written them"
    )]
    TooNew {
        /// Version of the tables.
        found: i32,
        /// The lowest version that this build opens.
        oldest: i32,
        /// The highest one.
        newest: i32,
    },
    /// A much earlier build has written it: start the releases in between first.
    #[error(
        "the tables have version {found}; this build opens versions {oldest} to {newest}: start a \
         release in between first"
    )]
    TooOld {
        /// Version of the tables.
        found: i32,
        /// The lowest version that this build opens.
        oldest: i32,
        /// The highest one.
        newest: i32,
    },
    /// The log goes on by rules that this build does not have.
    #[error(
        "the cluster has version {found}; this build applies versions {} to {}", known.oldest,
        known.newest
    )]
    ClusterVersion {
        /// The cluster's version.
        found: ClusterVersion,
        /// The versions of this build.
        known: VersionRange,
    },
    /// The file system does not allow a write-ahead log.
    #[error("SQLite cannot keep a write-ahead log here; the journal mode is {found}")]
    NotWal {
        /// The journal mode instead.
        found: String,
    },
}

impl OpenError {
    /// Returns whether the file does not hold what was written to it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            // What this program has made itself can be opened, unless something else is to blame.
            Self::Sqlite(error) => fault::of_sqlite(error) == Fault::Damage,
            Self::Behind { .. } | Self::NotOursAnyMore { .. } | Self::TwoVersions { .. } => true,
            Self::Io { .. }
            | Self::Disk(_)
            | Self::SqliteTooOld { .. }
            | Self::NotOurs { .. }
            | Self::TooNew { .. }
            | Self::TooOld { .. }
            | Self::ClusterVersion { .. }
            | Self::NotWal { .. } => false,
        }
    }

    /// Asks the disk about what looks like damage of the database at `state`.
    pub(super) fn settled(self, state: &Path) -> Self {
        let (fault, why) = match &self {
            Self::Sqlite(error) => fault::judge(state, error),
            error if error.is_damage() => fault::judge_damage(state, error.to_string()),
            _ => return self,
        };
        DiskFailure::of(fault, why).map_or(self, Self::Disk)
    }
}

impl ApplyError {
    /// Returns what is to blame for the failure of the database at `state`, and the message of
    /// SQLite or of the system.
    pub(super) fn judge(&self, state: &Path) -> (Fault, String) {
        match self {
            Self::Sqlite(error) => fault::judge(state, error),
            Self::Broken(Broken {
                why,
                code: Some(code),
            }) => {
                let code = rusqlite::ffi::Error::new(*code);
                let error = rusqlite::Error::SqliteFailure(code, Some(why.clone()));
                fault::judge(state, &error)
            }
            Self::Broken(Broken { code: None, .. }) | Self::Contradiction(_) => {
                fault::judge_damage(state, self.to_string())
            }
            Self::Full(why) => (Fault::Full, why.clone()),
            Self::Closed => (Fault::Elsewhere, self.to_string()),
        }
    }

    /// Returns whether only room on the disk is missing, which may be there the next time.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl CheckpointError {
    /// Returns whether only room on the disk is missing, which may be there the next time.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

/// Returns whether the disk, the memory, another process or the statement is to blame, and not what
/// the file holds.
pub(crate) fn is_outside(error: &rusqlite::Error) -> bool {
    fault::of_sqlite(error) != Fault::Damage
}

/// Entries were not applied; the transaction was rolled back. The node must stop.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// SQLite failed.
    #[error("the state cannot be written")]
    Sqlite(#[from] rusqlite::Error),
    /// A rule could not read the state.
    #[error("an entry cannot be decided")]
    Broken(#[from] Broken),
    /// Rows contradict each other.
    #[error("the state contradicts itself: {0}")]
    Contradiction(&'static str),
    /// There is no room. Trying again is safe.
    #[error("there is no room for the state: {0}")]
    Full(String),
    /// An exchange has failed before, and the database is not open any more.
    #[error("the state was closed by a failed replacement")]
    Closed,
}

/// The database file could not be synced. The node must stop.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// SQLite failed.
    #[error("the state cannot be synced")]
    Sqlite(#[from] rusqlite::Error),
    /// What was decided could not be written.
    #[error("the state cannot be written before it is synced")]
    Write(#[source] ApplyError),
    /// There is no room. Trying again is safe.
    #[error("there is no room to sync the state: {0}")]
    Full(String),
    /// An exchange has failed before, and the database is not open any more.
    #[error("the state was closed by a failed replacement")]
    Closed,
}

impl From<ApplyError> for CheckpointError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Full(why) => Self::Full(why),
            error => Self::Write(error),
        }
    }
}

/// A snapshot was not installed. Except for `Reopen` and `Swap` the old state is still in use.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The file cannot be read.
    #[error("the snapshot cannot be read")]
    Unreadable(#[source] io::Error),
    /// Not a whole database of this program and version.
    #[error("the snapshot is refused: {0}")]
    Refused(String),
    /// The file is damaged so that SQLite cannot read it.
    #[error("the snapshot is damaged")]
    Damaged(#[source] rusqlite::Error),
    /// Readers did not end in time. Try again.
    #[error("readers did not end in time")]
    Busy,
    /// The files could not be exchanged. The node must stop; opening finds the old state.
    #[error("the snapshot cannot replace the state")]
    Swap(#[source] io::Error),
    /// The old database could not be closed. The node must stop; opening finds the old state.
    #[error("the old state cannot be closed")]
    Close(#[source] rusqlite::Error),
    /// The state cannot be opened again. The node must stop.
    #[error("the state cannot be opened again")]
    Reopen(#[source] OpenError),
}

/// A question was not answered. Asking again is always safe.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// As many reads as allowed were under way the whole time.
    #[error("too many reads are under way")]
    Busy,
    /// The state was closed.
    #[error("the state is closed")]
    Closed,
    /// SQLite failed.
    #[error("the state cannot be read")]
    Sqlite(#[from] rusqlite::Error),
}

/// A snapshot was not made. Trying again is always safe.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The state could not be read.
    #[error("the state cannot be read")]
    Read(#[from] ReadError),
    /// SQLite failed.
    #[error("the snapshot cannot be written")]
    Sqlite(#[from] rusqlite::Error),
    /// The state is damaged: the node must stop.
    #[error("the state is damaged: {0}")]
    Damaged(String),
    /// A file cannot be written.
    #[error("the snapshot file cannot be written")]
    Io(#[from] io::Error),
    /// The log, without which the node cannot work, would have no room left.
    #[error("the disk has no room for a snapshot: {needed} bytes are needed, {free} are free")]
    NoRoom {
        /// Bytes that must be free.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The state is being replaced.
    #[error("the state is being replaced")]
    Interrupted,
}
