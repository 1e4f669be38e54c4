//! Remembers beside the database how far it had come when it was last synced.
//!
//! SQLite takes a write-ahead log as far as its checksums are right. Of a damaged one it drops the
//! rest without a word, although pages of it may be in the database by then: a mixture of two
//! moments. So what was once synced is noted here, and a database that comes back with less is
//! damaged.
//!
//! Always true: a mark is written only after everything that it speaks of was synced.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::files::with_suffix;

/// The name of the file in a node's directory.
const FILE: &str = "state.mark";
/// The index, and the beginning of its BLAKE3.
const BYTES: usize = 16;

/// Opens the write-ahead log of the database at `state`, to be synced.
pub(super) fn open_log(state: &Path) -> io::Result<Option<File>> {
    match File::open(with_suffix(state, "-wal")) {
        Ok(file) => Ok(Some(file)),
        // Then everything is in the database, which a checkpoint has synced.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Notes that everything up to `index` is in the database at `state` or in its write-ahead log,
/// which must have been synced since that was written.
pub(super) fn note(state: &Path, index: u64) -> io::Result<()> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(place(state))?;
    file.write_all_at(&encode(index), 0)
}

/// Returns up to where the database at `state` must reach. A mark that cannot be read says nothing:
/// what it guards may be whole.
pub(super) fn read(state: &Path) -> io::Result<Option<u64>> {
    let bytes = match fs::read(place(state)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let index = bytes.first_chunk().map(|index| u64::from_le_bytes(*index));
    Ok(index.filter(|index| bytes == encode(*index)))
}

fn encode(index: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&index.to_le_bytes());
    let check = blake3::hash(&bytes[..8]);
    bytes[8..].copy_from_slice(&check.as_bytes()[..8]);
    bytes
}

fn place(state: &Path) -> PathBuf {
    state.with_file_name(FILE)
}
