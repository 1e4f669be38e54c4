//! Makes a snapshot: one plain database file with everything that was applied at one moment.
//!
//! Never blocks the writer; while it is being copied a checkpoint cannot complete. Its receiver can
//! wait, while this machine's callers cannot: so a thread makes it that gives way to all others,
//! with pauses, and syncs as it goes, so that no flood of pages waits for the disk.
//!
//! Always true: the file appears under its name only when it is whole, sealed and synced.

use std::{
    fs::{self, File},
    io,
    path::Path,
    thread,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, backup};

use crate::{
    files::{remove_if_there, with_suffix},
    state::{Applied, Reader, SnapshotError, database, integrity::digest, meta, read::pool::Pool},
};

/// Pages that are copied between two looks at whether the state is being replaced: 1 MiB.
const STEP_PAGES: i32 = 256;
/// Steps after which the copy is synced: 8 MiB.
const SYNC_STEPS: u32 = 8;
/// The rest after each step: some times as long as a step takes if its pages are in memory. So at
/// most 250 MiB are copied in a second.
const REST: Duration = Duration::from_millis(4);
/// Bytes that must stay free on the disk: the log and the database go on.
const ROOM_BYTES: u64 = 32 * 1024 * 1024;
/// By how much the thread gives way to others, as `nice` counts.
const GIVE_WAY: i32 = 10;

/// A finished snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// State that it holds.
    pub applied: Applied,
    /// Length in bytes.
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
        let made = thread::scope(|scope| {
            let maker = thread::Builder::new().name("snapshot".to_owned());
            let making = maker.spawn_scoped(scope, || {
                give_way();
                self.write_snapshot(file, &draft)
            })?;
            let panicked = |_| io::Error::other("the snapshot thread has panicked");
            making.join().map_err(panicked)?
        });
        if made.is_err() {
            // The error that matters is the first one.
            let _ = remove_if_there(&draft);
        }
        // A copy of a damaged state must not become another node's state.
        match &made {
            Err(SnapshotError::Damaged(verdict)) => {
                self.pool().note_sentence(verdict);
            }
            Err(SnapshotError::Sqlite(error)) => self.pool().note(error),
            _ => {}
        }
        made
    }

    fn write_snapshot(&self, file: &Path, draft: &Path) -> Result<SnapshotFile, SnapshotError> {
        remove_if_there(draft)?;
        let lent = self.acquire()?;
        let pinned = Transaction::new_unchecked(&lent, TransactionBehavior::Deferred)?;
        let applied = meta::load_applied(&pinned)?;
        check_room(&pinned, file)?;
        let copied = copy(&pinned, draft, lent.pool())?;
        // From here on the write-ahead log may shrink again.
        drop(pinned);
        drop(lent);
        seal(copied)?;
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

/// Refuses if the disk could become full: a node whose disk is full stops, and helping another node
/// must not cause that.
fn check_room(source: &Connection, file: &Path) -> Result<(), SnapshotError> {
    let page_bytes: u32 = source.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages: u32 = source.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let directory = file.parent().unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(directory).map_err(io::Error::from)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    has_room(u64::from(page_bytes) * u64::from(pages), free)
}

fn has_room(bytes: u64, free: u64) -> Result<(), SnapshotError> {
    let needed = bytes.saturating_add(ROOM_BYTES);
    match free >= needed {
        true => Ok(()),
        false => Err(SnapshotError::NoRoom { needed, free }),
    }
}

/// Lowers the priority of this thread alone, which ends with its snapshot.
fn give_way() {
    if let Err(error) = rustix::process::nice(GIVE_WAY) {
        tracing::debug!(%error, "failed to lower the priority of the snapshot thread");
    }
}

fn copy(source: &Connection, draft: &Path, pool: &Pool) -> Result<Connection, SnapshotError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(draft, flags)?;
    target.pragma_update(None, "synchronous", "off")?;
    let written = File::options().append(true).create(true).open(draft)?;
    let backup = backup::Backup::new(source, &mut target)?;
    let mut steps = 0u32;
    while backup.step(STEP_PAGES)? != backup::StepResult::Done {
        steps += 1;
        rest();
        if steps.is_multiple_of(SYNC_STEPS) {
            written.sync_data()?;
        }
        if pool.is_wanted_back() {
            return Err(SnapshotError::Interrupted);
        }
    }
    drop(backup);
    Ok(target)
}

/// Leaves time to others; nothing depends on how long that is.
#[expect(
    clippy::disallowed_methods,
    reason = "it runs on a thread of its own, and no caller waits for it"
)]
fn rest() {
    thread::sleep(REST);
}

/// Makes the copy whole without a write-ahead log, which it says of itself that it has, and writes
/// the digest of its rows into it.
fn seal(target: Connection) -> Result<(), SnapshotError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_begun_only_if_it_leaves_space_for_the_log() {
        assert!(has_room(100, 100 + ROOM_BYTES).is_ok());
        let refused = has_room(100, 99 + ROOM_BYTES).unwrap_err();
        assert!(refused.to_string().contains("no room"), "{refused}");
        assert!(has_room(u64::MAX, u64::MAX - 1).is_err());
    }
}
