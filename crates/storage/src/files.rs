//! Names and removal of the files beside a database.
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

/// Removes a file; one that does not exist is not an error.
pub(crate) fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
