//! Makes a snapshot: one plain database file with everything that was applied at one moment.
//!
//! Never blocks the writer; while it is being made a checkpoint cannot complete. Always true: the
//! file appears under its name only when it is whole, sealed and synced.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, backup};

use super::{Applied, Reader, SnapshotError, database, digest, meta, pool::Pool};

/// Pages that are copied between two looks at whether the state is being replaced: 1 MiB.
const STEP_PAGES: i32 = 256;

/// A finished snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// What it holds.
    pub applied: Applied,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its bytes.
    pub blake3: [u8; 32],
}

impl Reader {
    /// Writes the state of this moment to `file`, replacing what is there.
    ///
    /// # Errors
    /// See [`SnapshotError`]; a file that was begun is removed.
    pub fn snapshot_to(&self, file: &Path) -> Result<SnapshotFile, SnapshotError> {
        let draft = with_suffix(file, ".draft");
        let made = self.write_snapshot(file, &draft);
        if made.is_err() {
            // The error that matters is the first one.
            let _ = remove_if_there(&draft);
        }
        // What is copied from a damaged state must not become somebody else's.
        match &made {
            Err(SnapshotError::Damaged(verdict)) => self.pool().note_sentence(verdict),
            Err(SnapshotError::Sqlite(error)) => self.pool().note(error),
            _ => {}
        }
        made
    }

    fn write_snapshot(&self, file: &Path, draft: &Path) -> Result<SnapshotFile, SnapshotError> {
        remove_if_there(draft)?;
        let lent = self.lend()?;
        let pinned = Transaction::new_unchecked(&lent, TransactionBehavior::Deferred)?;
        let applied = meta::load_applied(&pinned)?;
        copy(&pinned, draft, lent.pool())?;
        drop(pinned);
        drop(lent);
        let hash = blake3::Hasher::new()
            .update_reader(File::open(draft)?)?
            .finalize();
        let written = File::options().read(true).write(true).open(draft)?;
        written.sync_all()?;
        let bytes = written.metadata()?.len();
        fs::rename(draft, file)?;
        database::sync_directory_of(file)?;
        Ok(SnapshotFile {
            applied,
            bytes,
            blake3: hash.into(),
        })
    }
}

fn copy(source: &Connection, draft: &Path, pool: &Pool) -> Result<(), SnapshotError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(draft, flags)?;
    target.pragma_update(None, "synchronous", "off")?;
    {
        let backup = backup::Backup::new(source, &mut target)?;
        while backup.step(STEP_PAGES)? != backup::StepResult::Done {
            if pool.is_wanted_back() {
                return Err(SnapshotError::Interrupted);
            }
        }
    }
    // The copy says of itself that it has a write-ahead log; a file to be sent must be whole
    // without one.
    target.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    let sql = "PRAGMA integrity_check(1)";
    let verdict: String = target.query_row(sql, [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(SnapshotError::Damaged(verdict));
    }
    let seal = digest::of(&target)?.digest;
    target.execute(
        "INSERT OR REPLACE INTO seal (id, digest) VALUES (1, ?1)",
        [seal],
    )?;
    target.close().map_err(|(_, error)| error)?;
    Ok(())
}

pub(super) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
