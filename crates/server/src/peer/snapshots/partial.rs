//! The stored part of a snapshot that is being received: one file, and a note that names the
//! snapshot.
//!
//! Both survive a restart. The note is on disk before the first byte, so the stored bytes always
//! belong to the snapshot that the note names; whether they are intact is verified when all are
//! there.
//!
//! Always true: there is at most one; it is removed when another snapshot arrives, or when it is
//! old.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::files::durable;

/// File with the bytes.
const FILE: &str = "receive.db";
/// File with the note.
const NOTE: &str = "receive.json";
/// How long bytes are kept that no sender continues: by then the log has gone on without them.
pub(super) const KEEP: Duration = Duration::from_secs(3600);
/// Number of received bytes after which they are synced, so that they never flood the disk at once.
const SYNC_BYTES: u64 = 8 * 1024 * 1024;

/// Identity of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Id {
    /// Length of the file.
    pub(super) bytes: u64,
    /// BLAKE3 of the file, in hexadecimal digits.
    pub(super) blake3: String,
}

impl Id {
    /// Returns the identity, or `None` if this is no digest.
    pub(super) fn new(bytes: u64, blake3: &[u8]) -> Option<Self> {
        let digest: [u8; blake3::OUT_LEN] = blake3.try_into().ok()?;
        Some(Self {
            bytes,
            blake3: blake3::Hash::from(digest).to_hex().to_string(),
        })
    }
}

/// Directory in which the snapshot is stored.
#[derive(Clone, Debug)]
pub(super) struct PartialStore {
    directory: PathBuf,
}

impl PartialStore {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Returns the directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the file with the bytes.
    pub(super) fn file(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    fn note(&self) -> PathBuf {
        self.directory.join(NOTE)
    }

    fn stored_id(&self) -> Option<Id> {
        serde_json::from_slice(&fs::read(self.note()).ok()?).ok()
    }

    /// Returns how many bytes of this snapshot are stored.
    pub(super) fn stored(&self, id: &Id) -> u64 {
        if self.stored_id().as_ref() != Some(id) {
            return 0;
        }
        let bytes = fs::metadata(self.file()).map_or(0, |file| file.len());
        // A file that is longer than the snapshot is no part of it.
        if bytes <= id.bytes { bytes } else { 0 }
    }

    /// Removes what no sender will continue: a file without a note, or an old one.
    pub(super) fn remove_stale(&self) {
        let fresh = |file: fs::Metadata| {
            let age = file.modified().ok()?.elapsed().unwrap_or_default();
            (age < KEEP).then_some(())
        };
        let known = self.stored_id().is_some();
        if !known || fs::metadata(self.file()).ok().and_then(fresh).is_none() {
            self.remove();
        }
    }

    /// Removes everything.
    pub(super) fn remove(&self) {
        for file in [self.note(), self.file(), with_suffix(&self.note())] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, file = %file.display(), "failed to remove a file");
                }
                _ => {}
            }
        }
    }

    /// Opens the file to continue at `offset`; returns `None` if it does not reach that far.
    pub(super) fn open(&self, id: &Id, offset: u64) -> io::Result<Option<Partial>> {
        let stored = self.stored(id);
        if offset > stored {
            return Ok(None);
        }
        if self.stored_id().as_ref() != Some(id) {
            self.remove();
            self.write_note(id)?;
        }
        let mut options = File::options();
        let mut file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.file())?;
        if file.metadata()?.len() != offset {
            file.set_len(offset)?;
        }
        file.seek(SeekFrom::Start(offset))?;
        Ok(Some(Partial {
            file,
            stored: offset,
            synced: offset,
        }))
    }

    fn write_note(&self, id: &Id) -> io::Result<()> {
        durable::replace(&self.note(), &serde_json::to_vec(id)?)
    }

    /// Returns whether all of it is stored, as the disk gives it back.
    pub(super) fn is_whole(&self, id: &Id) -> io::Result<bool> {
        let mut hash = blake3::Hasher::new();
        let bytes = File::open(self.file())?.metadata()?.len();
        hash.update_reader(File::open(self.file())?)?;
        Ok(bytes == id.bytes && hash.finalize().to_hex().as_str() == id.blake3)
    }
}

fn with_suffix(file: &Path) -> PathBuf {
    file.with_extension("json.new")
}

/// The open file.
#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    stored: u64,
    synced: u64,
}

impl Partial {
    /// Returns how many bytes are stored.
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }

    /// Stores the next bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.stored += bytes.len() as u64;
        if self.stored - self.synced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.synced = self.stored;
        }
        Ok(())
    }

    /// Syncs everything.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.sync_all()
    }
}
