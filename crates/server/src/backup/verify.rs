//! Reads a backup again: its checksums alone, or with all rows of the database in it.
//!
//! Always true: what is reported as verified was read to its last byte.

use std::{
    fs::File,
    io::{self, Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use conclave_core::VersionRange;
use conclave_storage::{
    backup::{Head, UnpackError, Unpacker},
    state::{Contents, InstallError, SCHEMA_VERSION, VerifiedSnapshot},
};

/// Name of the database while it is verified.
const SCRATCH_FILE: &str = "backup.db";

/// A backup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be read, or is not what was written.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The tables in it have another version.
    #[error(
        "the tables in the backup have version {found}, this program reads version {known}: \
         version {program} made it"
    )]
    Schema {
        /// Version of the tables.
        found: i32,
        /// Version that this program reads.
        known: i32,
        /// Version of the program that made the backup.
        program: String,
    },
    /// The database in it cannot be used.
    #[error("the database in the backup cannot be used")]
    Snapshot(#[source] InstallError),
    /// The rows are not those of the head.
    #[error("the backup is damaged: the database in it is another one than its head says")]
    Differs,
    /// The file system refuses.
    #[error("{what} failed")]
    Io {
        /// Operation that failed.
        what: &'static str,
        /// Cause of the failure.
        #[source]
        source: io::Error,
    },
}

impl BackupError {
    /// Returns whether the backup is not what was written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Unpack(UnpackError::Damaged { .. })
            | Self::Snapshot(InstallError::Refused(_) | InstallError::Damaged(_))
            | Self::Differs => true,
            Self::Unpack(_) | Self::Schema { .. } | Self::Snapshot(_) | Self::Io { .. } => false,
        }
    }
}

pub(super) fn failed(what: &'static str) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::Io { what, source }
}

/// Reads a backup to its end and verifies its checksums; keeps nothing of it. `progress` gets how
/// many bytes of the database were read, and how many there are.
///
/// # Errors
/// See [`BackupError`].
pub fn check_backup(
    source: impl Read,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Head, BackupError> {
    let mut unpacker = Unpacker::open(source)?;
    while unpacker.next_block()?.is_some() {
        progress(unpacker.unpacked(), unpacker.head().bytes);
    }
    Ok(unpacker.head().clone())
}

/// Reads a backup to its end, verifies its checksums, and unpacks the database into the directory
/// `scratch` to compute the digest of all rows again. The caller removes the directory.
///
/// # Errors
/// See [`BackupError`].
pub fn verify_backup(
    source: impl Read,
    scratch: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Head, BackupError> {
    unpack_backup(source, &scratch.join(SCRATCH_FILE), progress)
}

/// Reads a backup to its end in the same way, and leaves its database in a new file.
///
/// # Errors
/// See [`BackupError`]; what is in the file must not be used then.
pub fn unpack_backup(
    source: impl Read,
    file: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Head, BackupError> {
    let (head, _) = unpack(source, file, progress)?;
    Ok(head)
}

/// Unpacks the database of a backup into a new file and verifies it.
pub(super) fn unpack(
    source: impl Read,
    file: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Head, VerifiedSnapshot), BackupError> {
    let mut unpacker = Unpacker::open(source)?;
    let head = unpacker.head().clone();
    if head.schema != SCHEMA_VERSION {
        return Err(BackupError::Schema {
            found: head.schema,
            known: SCHEMA_VERSION,
            program: head.program,
        });
    }
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut database = options
        .open(file)
        .map_err(failed("making a file for the database"))?;
    while let Some(block) = unpacker.next_block()? {
        let written = database.write_all(block);
        written.map_err(failed("writing the database"))?;
        progress(unpacker.unpacked(), head.bytes);
    }
    drop(database);
    let verified = VerifiedSnapshot::new(file.to_owned(), VersionRange::BUILD.newest)
        .map_err(BackupError::Snapshot)?;
    let found = verified.contents().map_err(BackupError::Snapshot)?;
    match is_of(&head, &found) {
        true => Ok((head, verified)),
        false => Err(BackupError::Differs),
    }
}

/// Returns whether the head was made of these contents.
fn is_of(head: &Head, found: &Contents) -> bool {
    let rows = found.rows.iter();
    found.applied.last == Some(head.last)
        && found.digest == head.digest
        && found.chain == head.chain
        && rows.len() == head.rows.len()
        && found
            .rows
            .iter()
            .all(|(table, rows)| head.rows.get(*table) == Some(rows))
}
