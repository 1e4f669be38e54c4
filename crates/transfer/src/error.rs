//! Why an export or an import has failed.

use std::{
    io,
    path::{Path, PathBuf},
};

use conclave_core::Rejection;
use conclave_storage::{
    pile::PileError,
    state::{ApplyError, BrowseError, OpenError, SnapshotError},
};

/// No export was made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The directory has something in it, or an unfinished export lies beside it.
    #[error("{0} exists")]
    Exists(PathBuf),
    /// The database of the backup cannot be read.
    #[error(transparent)]
    Browse(#[from] BrowseError),
    /// A file cannot be written.
    #[error("{path}: cannot be written")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Cause of the failure.
        #[source]
        source: io::Error,
    },
}

/// Nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is none of the known exports.
    #[error("{path}: {why}")]
    Unknown {
        /// What was given.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A file of the export is not what its format says.
    #[error("{file}, line {line}: {why}")]
    Malformed {
        /// Name of the file in the export.
        file: String,
        /// Number of the line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// A file of the export cannot be read.
    #[error("{file}: cannot be read")]
    Read {
        /// Name of the file.
        file: String,
        /// Cause of the failure.
        #[source]
        source: io::Error,
    },
    /// The archive is damaged, or too much comes out of it.
    #[error("the archive cannot be read: {0}")]
    Archive(String),
    /// The administrator cannot have this name.
    #[error("the administrator cannot be named {name}: {why}")]
    Admin {
        /// The name that was given.
        name: String,
        /// Why not.
        why: String,
    },
    /// The rules refuse what every import needs.
    #[error("{what} was refused")]
    Refused {
        /// Operation that was refused.
        what: &'static str,
        /// The refusal.
        #[source]
        rejection: Rejection,
    },
    /// The report cannot be written.
    #[error("the report cannot be written")]
    Report(#[source] io::Error),
    /// The scratch file fails.
    #[error(transparent)]
    Pile(#[from] PileError),
    /// The state cannot be opened.
    #[error("the state that is built cannot be opened")]
    Open(#[from] OpenError),
    /// The state cannot be written.
    #[error("the state that is built cannot be written")]
    Apply(#[from] ApplyError),
    /// The snapshot of the state cannot be made.
    #[error("the state that was built cannot be copied")]
    Snapshot(#[from] SnapshotError),
}

impl ImportError {
    /// Returns whether the export is at fault, and not this machine.
    #[must_use]
    pub fn is_about_the_source(&self) -> bool {
        match self {
            Self::Unknown { .. }
            | Self::Malformed { .. }
            | Self::Read { .. }
            | Self::Archive(_)
            | Self::Admin { .. } => true,
            Self::Refused { .. }
            | Self::Report(_)
            | Self::Pile(_)
            | Self::Open(_)
            | Self::Apply(_)
            | Self::Snapshot(_) => false,
        }
    }

    pub(crate) fn malformed(file: &str, line: u64, why: impl Into<String>) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            line,
            why: why.into(),
        }
    }
}

pub(crate) fn write_error(path: &Path) -> impl FnOnce(io::Error) -> ExportError + use<> {
    let path = path.to_owned();
    move |source| ExportError::Write { path, source }
}
