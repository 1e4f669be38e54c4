//! Copies of a data directory, which a recovery makes before it changes anything.
//!
//! They are in the directory itself: a service may have the right to write there alone. No node
//! reads them, and no program removes them.
//!
//! Always true: a copy under its own name is whole and on disk. Nothing is copied if the disk would
//! be full afterwards, and an attempt that fails leaves nothing.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use conclave_storage::disk_space;

/// Prefix of the names of the copies, before their number.
const NAME: &str = "before-recover-";
/// Suffix of the name of a copy that is not whole yet.
const PART: &str = ".part";
/// Lock file, which belongs to the process and not to the data.
const LOCK: &str = "lock";
/// Directory that a file system makes for itself, and that only root may read.
const LOST: &str = "lost+found";
/// Bytes that stay free: for a segment of the log and what the database writes first.
const SPARE_BYTES: u64 = 64 * 1024 * 1024;

/// A directory was not copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// The disk has no room for the copy.
    #[error("the copy needs {needed} bytes and {SPARE_BYTES} to spare, and {free} are free")]
    NoRoom {
        /// Size of the copy, in bytes.
        needed: u64,
        /// Bytes that are free on the disk.
        free: u64,
    },
    /// The file system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Returns whether this is the name of a copy, whole or not.
pub(crate) fn is_copy(name: &str) -> bool {
    let rest = name.strip_prefix(NAME);
    let number = rest.map(|rest| rest.strip_suffix(PART).unwrap_or(rest));
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// Copies what a directory has, except earlier copies and what `is_left_out` names at its top, into
/// a new directory in it, and returns that.
pub(crate) fn make(
    directory: &Path,
    is_left_out: &dyn Fn(&str) -> bool,
) -> Result<PathBuf, CopyError> {
    let (free, _) = disk_space(directory)?;
    make_within(directory, is_left_out, free)
}

fn make_within(
    directory: &Path,
    is_left_out: &dyn Fn(&str) -> bool,
    free: u64,
) -> Result<PathBuf, CopyError> {
    let is_left_out = |name: &str| is_copy(name) || name == LOST || is_left_out(name);
    let freed = remove_parts(directory)?;
    let needed = bytes(directory, &is_left_out)?;
    let free = free.saturating_add(freed);
    if needed.saturating_add(SPARE_BYTES) > free {
        return Err(CopyError::NoRoom { needed, free });
    }
    let target = free_name(directory);
    let part = target.with_added_extension(&PART[1..]);
    let copied = copy(directory, &part, &is_left_out)
        .and_then(|()| fs::rename(&part, &target))
        .and_then(|()| File::open(directory)?.sync_all());
    match copied {
        Ok(()) => Ok(target),
        Err(error) => {
            // The error that matters is the first one.
            let _ = remove_parts(directory);
            Err(error.into())
        }
    }
}

/// Removes the copies that were not finished; returns their size in bytes.
fn remove_parts(directory: &Path) -> io::Result<u64> {
    let mut freed = 0;
    for item in fs::read_dir(directory)? {
        let item = item?;
        let name = item.file_name();
        let name = name.to_string_lossy();
        if is_copy(&name) && name.ends_with(PART) {
            freed += bytes(&item.path(), &|_| false)?;
            fs::remove_dir_all(item.path())?;
        }
    }
    Ok(freed)
}

/// Returns a name in the directory that no copy has.
fn free_name(directory: &Path) -> PathBuf {
    let named = |number: u64| directory.join(format!("{NAME}{number}"));
    let mut numbers = 1_u64..;
    let free = numbers.find(|number| !named(*number).exists());
    named(free.unwrap_or(u64::MAX))
}

/// Returns the size of what is copied, in bytes.
fn bytes(from: &Path, is_left_out: &dyn Fn(&str) -> bool) -> io::Result<u64> {
    let mut sum = 0_u64;
    for item in fs::read_dir(from)? {
        let item = item?;
        let (name, kind) = (item.file_name(), item.file_type()?);
        if is_left_out(&name.to_string_lossy()) {
            continue;
        }
        sum = sum.saturating_add(match kind.is_dir() {
            true => bytes(&item.path(), &|_| false)?,
            false => fs::metadata(item.path())?.len(),
        });
    }
    Ok(sum)
}

/// Copies a directory; everything is on disk when this returns.
fn copy(from: &Path, to: &Path, is_left_out: &dyn Fn(&str) -> bool) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(to)?;
    for item in fs::read_dir(from)? {
        let item = item?;
        let (name, target) = (item.file_name(), to.join(item.file_name()));
        if name == LOCK || is_left_out(&name.to_string_lossy()) {
            continue;
        }
        if item.file_type()?.is_dir() {
            copy(&item.path(), &target, &|_| false)?;
        } else {
            fs::copy(item.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ROOM: u64 = u64::MAX;

    /// Returns a directory that a node has used.
    fn used() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::create_dir_all(path.join("log")).unwrap();
        fs::create_dir_all(path.join("damaged-1")).unwrap();
        fs::create_dir_all(path.join("lost+found")).unwrap();
        for name in [
            "state.db",
            "lock",
            "log/1.segment",
            "log/lock",
            "damaged-1/why",
        ] {
            fs::write(path.join(name), name).unwrap();
        }
        directory
    }

    fn names(directory: &Path) -> BTreeSet<String> {
        let names = fs::read_dir(directory).unwrap();
        let name = |item: io::Result<fs::DirEntry>| item.unwrap().file_name().into_string();
        names.map(|item| name(item).unwrap()).collect()
    }

    fn made(directory: &Path, free: u64) -> Result<PathBuf, CopyError> {
        make_within(directory, &|name| name.starts_with("damaged-"), free)
    }

    #[test]
    fn a_copy_is_in_the_directory_and_has_no_other_copy() {
        let directory = used();
        let path = directory.path();
        for number in 1..=3 {
            let copied = made(path, ROOM).unwrap();
            assert_eq!(copied, path.join(format!("before-recover-{number}")));
            let has = BTreeSet::from(["state.db".to_owned(), "log".to_owned()]);
            assert_eq!(names(&copied), has);
            assert_eq!(names(&copied.join("log")).len(), 1, "no lock");
            assert_eq!(fs::read(copied.join("state.db")).unwrap(), b"state.db");
        }
        for name in ["before-recover-1", "before-recover-12.part"] {
            assert!(is_copy(name), "{name}");
        }
        for name in ["before-recover-", "before-recover-x", "state.db"] {
            assert!(!is_copy(name), "{name}");
        }
    }

    #[test]
    fn nothing_is_copied_onto_a_disk_that_would_be_full() {
        let directory = used();
        let path = directory.path();
        let before = names(path);
        // Both files and the lock of the log are counted, what is left out is not.
        let needed = ["state.db", "lock", "log/1.segment", "log/lock"]
            .concat()
            .len() as u64;
        let refused = made(path, needed + SPARE_BYTES - 1).unwrap_err();
        assert!(
            matches!(refused, CopyError::NoRoom { needed: asked, .. } if asked == needed),
            "{refused}"
        );
        assert_eq!(names(path), before);
        made(path, needed + SPARE_BYTES).unwrap();
    }

    #[test]
    fn a_copy_that_fails_or_is_killed_leaves_nothing() {
        let directory = used();
        let path = directory.path();
        // Killed before: what is left of it is removed, and its room counts.
        fs::create_dir(path.join("before-recover-1.part")).unwrap();
        fs::write(path.join("before-recover-1.part/state.db"), "half").unwrap();
        // A link to a directory cannot be copied as a file.
        std::os::unix::fs::symlink(path.join("log"), path.join("linked")).unwrap();
        let failed = made(path, ROOM);
        assert!(matches!(failed, Err(CopyError::Io(_))), "{failed:?}");
        assert!(!names(path).iter().any(|name| is_copy(name)));
        fs::remove_file(path.join("linked")).unwrap();
        made(path, ROOM).unwrap();
    }
}
