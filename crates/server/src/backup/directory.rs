//! Scheduled backups in a directory: their names, and which of them are kept.
//!
//! Always true: a file has the name of a backup only if it was written whole, synced and read back.
//! Only files that this node of this cluster has named are removed, and never the newest. What an
//! interrupted run has left is removed before the next backup needs its room.

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
const DRAFT: &str = ".backup.part";
/// Digits of the entry in a name: the names stand in the order of the log.
const INDEX_DIGITS: usize = 20;
/// Bytes after which a file is synced, so that no flood of pages waits for the disk.
const SYNC_BYTES: usize = 8 << 20;

/// The backups of one node in a directory.
#[derive(Clone, Debug)]
pub(crate) struct BackupDirectory {
    path: PathBuf,
    /// Begin of the names of this node's backups.
    prefix: String,
    /// Begin of the names that they had before this node was repaired, which gave it a new number.
    prefix_first: Option<String>,
}

impl BackupDirectory {
    /// Returns the backups of this node of this cluster in `path`: those that it has made as
    /// `node`, and those from before it was repaired, when its number was `node_first`. A cluster
    /// gives no number twice.
    ///
    /// Backups from before the cluster was recovered have another name of the cluster and are not
    /// among them: they may hold what the recovery has lost, and a number of then may have gone to
    /// another machine since.
    pub(crate) fn new(path: &Path, cluster: &str, node: u64, node_first: Option<u64>) -> Self {
        let prefix = |node: u64| format!("conclave-{cluster}-node-{node}-");
        Self {
            path: path.to_owned(),
            prefix: prefix(node),
            prefix_first: node_first.filter(|first| *first != node).map(prefix),
        }
    }

    /// Writes a backup, and reads it back before it gets its name. A backup of the same entry is
    /// replaced, and what an earlier run has not finished is removed first: a disk with room for
    /// one more backup may have none for that file besides.
    ///
    /// # Errors
    /// See [`BackupError`]; a file that was begun is removed.
    pub(crate) fn store(&self, head: &Head, pieces: Pieces<'_>) -> Result<PathBuf, BackupError> {
        fs::create_dir_all(&self.path).map_err(failed("making the directory for backups"))?;
        // A file that cannot be removed is no reason to make no backup; `retain` reports it.
        let _ = self.remove_drafts();
        let index = format!("{:0INDEX_DIGITS$}", head.last.index);
        let named = |end: &str| self.path.join(format!("{}{index}{end}", self.prefix));
        let (file, draft) = (named(SUFFIX), named(DRAFT));
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

    /// Returns what the newest backup says of itself; `None` if none is there or can be read. One
    /// from before a repair is not asked: the node makes a new one at once.
    pub(crate) fn newest(&self) -> Option<Head> {
        let whole = self.list(&self.prefix, SUFFIX).ok()?;
        let file = File::open(&whole.last()?.1).ok()?;
        Some(Unpacker::open(file).ok()?.head().clone())
    }

    /// Returns the entry and the file of each name with this begin and end, in order of the log.
    fn list(&self, prefix: &str, end: &str) -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for item in fs::read_dir(&self.path)? {
            let item = item?;
            let name = item.file_name().to_string_lossy().into_owned();
            let rest = name.strip_prefix(prefix);
            let index = rest.and_then(|rest| rest.strip_suffix(end));
            // A name with other words is one that a person gave, to keep the file.
            let is_index = |index: &&str| {
                index.len() == INDEX_DIGITS && index.bytes().all(|byte| byte.is_ascii_digit())
            };
            if let Some(index) = index.filter(is_index) {
                found.push((index.to_owned(), item.path()));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Returns the files with this end of this node, in order of the log.
    fn own(&self, end: &str) -> io::Result<Vec<PathBuf>> {
        let mut found = match &self.prefix_first {
            Some(first) => self.list(first, end)?,
            None => Vec::new(),
        };
        found.extend(self.list(&self.prefix, end)?);
        // The sort is stable: of the same entry the backup from after the repair is the newer one.
        found.sort_by(|(index, _), (other, _)| index.cmp(other));
        Ok(found.into_iter().map(|(_, file)| file).collect())
    }

    fn remove_drafts(&self) -> io::Result<()> {
        self.own(DRAFT)?.iter().try_for_each(fs::remove_file)
    }

    /// Removes all but the newest `keep` backups, and what an earlier run has not finished.
    pub(crate) fn retain(&self, keep: usize) -> io::Result<()> {
        self.remove_drafts()?;
        let whole = self.own(SUFFIX)?;
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
        let own = BackupDirectory::new(&path, "c", 2, None);
        assert_eq!(own.newest(), None);
        // In an order in which numbers without zeros would be wrong.
        let files = [9, 10, 11, 100].map(|index| store(&own, index));
        let others = [
            store(&BackupDirectory::new(&path, "c", 22, None), 1),
            store(&BackupDirectory::new(&path, "d", 2, None), 1),
            path.join("conclave-c-node-2-notes.txt"),
            path.join("conclave-c-node-2-00000000000000000009-before-the-move.backup"),
        ];
        fs::write(&others[2], "kept").unwrap();
        fs::write(&others[3], "kept").unwrap();
        let draft = files[0].with_added_extension("part");
        fs::write(&draft, "half").unwrap();
        own.retain(2).unwrap();
        let exist = |files: &[PathBuf]| files.iter().map(|file| file.exists()).collect::<Vec<_>>();
        assert_eq!(exist(&files), [false, false, true, true]);
        assert_eq!(exist(&others), [true; 4]);
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
        assert_eq!(own.own(SUFFIX).unwrap().len(), 1);
    }

    #[test]
    fn an_interrupted_backup_gives_its_room_to_the_next_one() {
        let made = tempfile::tempdir().unwrap();
        let own = BackupDirectory::new(made.path(), "c", 2, None);
        let draft = |node: u64| {
            let name = format!("conclave-c-node-{node}-00000000000000000004.backup.part");
            made.path().join(name)
        };
        // Of a run that was killed, and of another node that writes it now.
        fs::write(draft(2), "half").unwrap();
        fs::write(draft(3), "half").unwrap();
        let database = vec![7; 300_000];
        let head = head(5, 300_000);
        let mut packer = Packer::new(&head, &database[..]);
        let mut at_the_first_piece = None;
        let mut pieces = std::iter::from_fn(|| {
            at_the_first_piece.get_or_insert_with(|| [draft(2).exists(), draft(3).exists()]);
            packer.next()
        });
        own.store(&head, &mut pieces).unwrap();
        assert_eq!(at_the_first_piece, Some([false, true]));
    }

    #[test]
    fn backups_from_before_a_repair_make_place_for_newer_ones() {
        let made = tempfile::tempdir().unwrap();
        let before = BackupDirectory::new(made.path(), "c", 2, None);
        let (old, last) = (store(&before, 99), store(&before, 100));
        let recovered = store(&BackupDirectory::new(made.path(), "c.1-ab", 2, None), 7);
        let repaired = BackupDirectory::new(made.path(), "c", 7, Some(2));
        assert_eq!(repaired.newest(), None, "one is due at once");
        let again = store(&repaired, 100);
        repaired.retain(2).unwrap();
        assert!(!old.exists() && last.exists() && again.exists());
        let newest = store(&repaired, 101);
        repaired.retain(1).unwrap();
        assert!(!last.exists() && !again.exists() && newest.exists());
        assert!(recovered.exists(), "of another name of the cluster");
    }

    #[test]
    fn a_backup_that_cannot_be_made_leaves_no_file() {
        let made = tempfile::tempdir().unwrap();
        let own = BackupDirectory::new(made.path(), "c", 2, None);
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
