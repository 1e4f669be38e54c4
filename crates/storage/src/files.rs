//! Names, lengths and removal of the files beside a database, and the room on their disk.
//!
//! Always true: a file that does not exist counts as removed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Returns the path with `suffix` appended to its last name.
pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns how many bytes of the disk of a directory are free for this process, and how many it
/// has.
///
/// # Errors
/// If the system does not say.
pub fn disk_space(directory: &Path) -> io::Result<(u64, u64)> {
    let found = rustix::fs::statvfs(directory)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok((bytes(found.f_bavail), bytes(found.f_blocks)))
}

/// Returns the length of a file in bytes; 0 if there is none.
pub(crate) fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |file| file.len())
}

/// Removes a file; one that does not exist is not an error.
pub(crate) fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
