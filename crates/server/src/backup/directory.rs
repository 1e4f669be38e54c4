//! Scheduled backups in a directory: their names, and which of them are kept.
//!
//! Always true: a file has the name of a backup only if it was written whole, synced and read back.
//! Only files that this node of this cluster has named are removed, and never the newest.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use conclave_storage::backup::{Head, Unpacker};

use super::verify::{self, BackupError, failed};

/// End of a backup's name.
const SUFFIX: &str = ".backup";
/// End of the name of a file that is not whole yet.
const DRAFT: &str = ".part";
/// Bytes after which a file is synced, so that no flood of pages waits for the disk.
const SYNC_BYTES: usize = 8 << 20;

/// The backups of one node in a directory.
#[derive(Clone, Debug)]
pub(crate) struct BackupDirectory {
    path: PathBuf,
    /// Begin of the names of this node's backups.
    prefix: String,
}

impl BackupDirectory {
    /// Returns the backups of this node of this cluster in `path`.
    pub(crate) fn new(path: &Path, cluster: &str, node: u64) -> Self {
        Self {
            path: path.to_owned(),
            prefix: format!("conclave-{cluster}-node-{node}-"),
        }
    }

    /// Writes a backup, and reads it back before it gets its name. A backup of the same entry is
    /// replaced.
    ///
    /// # Errors
    /// See [`BackupError`]; a file that was begun is removed.
    pub(crate) fn store(&self, head: &Head, pieces: Pieces<'_>) -> Result<PathBuf, BackupError> {
        fs::create_dir_all(&self.path).map_err(failed("making the directory for backups"))?;
        // The names stand in the order of the log.
        let name = format!("{}{:020}{SUFFIX}", self.prefix, head.last.index);
        let file = self.path.join(name);
        let draft = file.with_added_extension(&DRAFT[1..]);
        let stored = write(&draft, pieces)
            .map_err(failed("writing a backup"))
            .and_then(|()| {
                let written = File::open(&draft).map_err(failed("reading a backup back"))?;
                let found = verify::check_backup(written, &mut |_, _| {})?;
                match found == *head {
                    true => Ok(()),
                    false => Err(BackupError::Differs),
                }
            })
            .and_then(|()| {
                let named = fs::rename(&draft, &file).and_then(|()| sync(&self.path));
                named.map_err(failed("naming a backup"))
            });
        if stored.is_err() {
            // The error that matters is the first one.
            let _ = fs::remove_file(&draft);
        }
        stored.map(|()| file)
    }

    /// Returns what the newest backup says of itself; `None` if none is there or can be read.
    pub(crate) fn newest(&self) -> Option<Head> {
        let whole = self.list(SUFFIX).ok()?;
        let file = File::open(whole.last()?).ok()?;
        Some(Unpacker::open(file).ok()?.head().clone())
    }

    /// Returns the files of this node whose names end so, in order of the log.
    fn list(&self, end: &str) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for item in fs::read_dir(&self.path)? {
            let item = item?;
            let name = item.file_name().to_string_lossy().into_owned();
            let rest = name.strip_prefix(&self.prefix);
            if rest.is_some_and(|rest| rest.ends_with(end)) {
                found.push(item.path());
            }
        }
        found.sort();
        Ok(found)
    }

    /// Removes all but the newest `keep` backups, and what an earlier run has not finished.
    pub(crate) fn retain(&self, keep: usize) -> io::Result<()> {
        self.list(DRAFT)?.iter().try_for_each(fs::remove_file)?;
        let whole = self.list(SUFFIX)?;
        let surplus = whole.len().saturating_sub(keep.max(1));
        whole[..surplus].iter().try_for_each(fs::remove_file)
    }
}

/// The bytes of a backup, one piece after the other.
pub(crate) type Pieces<'a> = &'a mut dyn Iterator<Item = io::Result<Vec<u8>>>;

fn write(draft: &Path, pieces: Pieces<'_>) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(draft)?;
    let mut unsynced = 0;
    for piece in pieces {
        let piece = piece?;
        file.write_all(&piece)?;
        unsynced += piece.len();
        if unsynced >= SYNC_BYTES {
            file.sync_data()?;
            unsynced = 0;
        }
    }
    file.sync_all()
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use conclave_storage::{backup::Packer, log::LogId};

    use super::*;

    fn head(index: u64, bytes: u64) -> Head {
        Head {
            cluster: "c".to_owned(),
            node: 2,
            last: LogId {
                term: 1,
                node: 1,
                index,
            },
            made_at_ms: index,
            schema: 10,
            program: "0.1.0".to_owned(),
            bytes,
            digest: [1; 32],
            chain: [2; 32],
            rows: BTreeMap::new(),
        }
    }

    fn store(directory: &BackupDirectory, index: u64) -> PathBuf {
        let database = vec![7; 300_000];
        let head = head(index, database.len() as u64);
        let mut packer = Packer::new(&head, &database[..]);
        directory.store(&head, &mut packer).unwrap()
    }

    #[test]
    fn only_the_newest_backups_of_this_node_are_kept() {
        let made = tempfile::tempdir().unwrap();
        let path = made.path().join("backups");
        let own = BackupDirectory::new(&path, "c", 2);
        assert_eq!(own.newest(), None);
        // In an order in which numbers without zeros would be wrong.
        let files = [9, 10, 11, 100].map(|index| store(&own, index));
        let others = [
            store(&BackupDirectory::new(&path, "c", 22), 1),
            store(&BackupDirectory::new(&path, "d", 2), 1),
            path.join("conclave-c-node-2-notes.txt"),
        ];
        fs::write(&others[2], "kept").unwrap();
        let draft = files[0].with_added_extension("part");
        fs::write(&draft, "half").unwrap();
        own.retain(2).unwrap();
        let exist = |files: &[PathBuf]| files.iter().map(|file| file.exists()).collect::<Vec<_>>();
        assert_eq!(exist(&files), [false, false, true, true]);
        assert_eq!(exist(&others), [true, true, true]);
        assert!(!draft.exists());
        assert_eq!(own.newest().map(|head| head.last.index), Some(100));
        own.retain(0).unwrap();
        assert_eq!(
            exist(&files),
            [false, false, false, true],
            "never the newest"
        );
        // The same entry again replaces its file.
        assert_eq!(store(&own, 100), files[3]);
        assert_eq!(own.list(SUFFIX).unwrap().len(), 1);
    }

    #[test]
    fn a_backup_that_cannot_be_made_leaves_no_file() {
        let made = tempfile::tempdir().unwrap();
        let own = BackupDirectory::new(made.path(), "c", 2);
        let (head, short) = (head(5, 300_000), vec![7; 299_999]);
        let mut packer = Packer::new(&head, &short[..]);
        assert!(own.store(&head, &mut packer).is_err());
        assert_eq!(fs::read_dir(made.path()).unwrap().count(), 0);
        // Pieces that end before the end are read back, and found to be none of a backup.
        let database = vec![7; 300_000];
        let mut pieces = Packer::new(&head, &database[..]).take(2);
        assert!(own.store(&head, &mut pieces).is_err());
        assert_eq!(fs::read_dir(made.path()).unwrap().count(), 0);
    }
}
