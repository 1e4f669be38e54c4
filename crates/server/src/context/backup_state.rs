//! What a node knows of its backups: whether one is being made, and which was the last good one.
//!
//! Always true: a node makes one backup at a time. A backup is noted here only after all of it was
//! taken: a scheduled one was read back from its file before.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::files::checksummed;

/// File in the data directory that keeps the last good backup over a restart.
const FILE: &str = "last-backup.json";

/// A backup that was made and taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastBackup {
    /// Date in milliseconds since 1970, as the cluster knew it.
    pub(crate) made_at_ms: u64,
    /// Last entry whose changes are in it.
    pub(crate) log_index: u64,
}

/// Backups of one node.
pub(crate) struct BackupState {
    /// Permit to make one.
    pub(crate) place: Arc<Semaphore>,
    last: Mutex<Option<LastBackup>>,
    file: PathBuf,
}

impl BackupState {
    /// Reads what an earlier run has kept in the directory. A file that cannot be read says
    /// nothing: the next backup replaces it.
    pub(crate) fn open(data: &Path) -> Self {
        let file = data.join(FILE);
        let last = checksummed::read(&file).unwrap_or_else(|error| {
            tracing::warn!(%error, "failed to read when the last backup was made");
            None
        });
        Self {
            place: Arc::new(Semaphore::new(1)),
            last: Mutex::new(last),
            file,
        }
    }

    /// Returns the last good backup.
    pub(crate) fn last(&self) -> Option<LastBackup> {
        // One value is written at once, so it is valid even if another thread has panicked.
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a good backup. Blocks for as long as a small file takes to be synced.
    ///
    /// # Errors
    /// If the file cannot be written; the node remembers the backup until it ends.
    pub(crate) fn note(&self, backup: LastBackup) -> io::Result<()> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(backup);
        checksummed::write(&self.file, &backup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_backup_is_known_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(BackupState::open(directory.path()).last(), None);
        let made = LastBackup {
            made_at_ms: 7,
            log_index: 9,
        };
        BackupState::open(directory.path()).note(made).unwrap();
        assert_eq!(BackupState::open(directory.path()).last(), Some(made));
        std::fs::write(directory.path().join(FILE), "{").unwrap();
        assert_eq!(BackupState::open(directory.path()).last(), None);
    }
}
