//! A file that the user names for a result, until it is whole.
//!
//! It is written beside its place under another name, and gets its own at the end. Always true: a
//! run that fails or is refused leaves what was there, and nothing but a regular file is replaced.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// A file without its name, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    file: NamedTempFile,
    /// Where the file is put, without symbolic links.
    path: PathBuf,
}

impl Draft {
    /// Makes the file, with at most the permissions `mode`. What is at `path` stays as it is.
    ///
    /// # Errors
    /// If something else than a regular file is at `path`, such as a directory or a device, or the
    /// directory cannot be written.
    pub(crate) fn begin(path: &Path, mode: u32) -> io::Result<Self> {
        let path = match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            found => found?,
        };
        if path.exists() && !path.is_file() {
            let kind = io::ErrorKind::InvalidInput;
            return Err(io::Error::new(kind, "it is not a regular file"));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory_of(&path))?;
        Ok(Self { file, path })
    }

    /// Returns the file, to be written.
    pub(crate) fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Returns where the file is until it has its name.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Syncs the file and gives it its name; an earlier file of that name is replaced.
    ///
    /// # Errors
    /// If the disk refuses it: then the earlier file is still there.
    pub(crate) fn replace(self) -> io::Result<()> {
        self.file().sync_all()?;
        self.file.persist(&self.path).map_err(|error| error.error)?;
        synced(&self.path)
    }

    /// Syncs the file and gives it its name, which no other file may have.
    ///
    /// # Errors
    /// `AlreadyExists` if another file has the name, or what the disk refuses.
    pub(crate) fn put(self) -> io::Result<()> {
        self.file().sync_all()?;
        let put = self.file.persist_noclobber(&self.path);
        put.map_err(|error| error.error)?;
        synced(&self.path)
    }

    /// Does the same as [`Draft::put`], for a file that cannot be made again: if it does not get
    /// its name it stays where it was written, which is returned as well.
    pub(crate) fn put_or_keep(self) -> Result<(), (io::Error, PathBuf)> {
        let written = self.path().to_owned();
        let kept = |error: io::Error, file: NamedTempFile| {
            // Only the handle can be lost here: the file is on disk.
            let _ = file.keep();
            (error, written)
        };
        if let Err(error) = self.file().sync_all() {
            return Err(kept(error, self.file));
        }
        match self.file.persist_noclobber(&self.path) {
            Ok(_) => synced(&self.path).map_err(|error| (error, self.path.clone())),
            Err(refused) => Err(kept(refused.error, refused.file)),
        }
    }
}

fn directory_of(file: &Path) -> &Path {
    let parent = file.parent();
    let named = parent.filter(|parent| !parent.as_os_str().is_empty());
    named.unwrap_or(Path::new("."))
}

fn synced(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::fs::symlink};

    use super::*;

    fn written(path: &Path) -> Draft {
        let draft = Draft::begin(path, 0o600).unwrap();
        draft.file().write_all(b"new").unwrap();
        draft
    }

    fn names(directory: &Path) -> Vec<String> {
        let items = fs::read_dir(directory).unwrap();
        let names = items.map(|item| item.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_there_stays_until_the_new_file_is_whole() {
        let made = tempfile::tempdir().unwrap();
        let (file, link) = (made.path().join("report"), made.path().join("link"));
        fs::write(&file, "old").unwrap();
        symlink(&file, &link).unwrap();
        let read = || fs::read_to_string(&file).unwrap();

        drop(written(&file));
        assert_eq!(read(), "old", "of a run that has failed");
        let refused = written(&file).put().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(
            (read(), names(made.path())),
            (
                "old".to_owned(),
                vec!["link".to_owned(), "report".to_owned()]
            )
        );
        let (refused, kept) = written(&file).put_or_keep().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(
            (read(), fs::read_to_string(kept).unwrap()),
            ("old".to_owned(), "new".to_owned())
        );

        written(&link).replace().unwrap();
        assert_eq!(read(), "new");
        assert!(link.is_symlink(), "the link stays one");
        let puts: [fn(Draft) -> io::Result<()>; 2] = [Draft::put, |draft| {
            draft.put_or_keep().map_err(|(error, _)| error)
        }];
        for put in puts {
            fs::remove_file(&file).unwrap();
            put(written(&file)).unwrap();
            assert_eq!(read(), "new");
        }
    }

    #[test]
    fn a_device_or_a_directory_is_not_replaced() {
        let made = tempfile::tempdir().unwrap();
        let link = made.path().join("null");
        symlink("/dev/null", &link).unwrap();
        for path in [Path::new("/dev/null"), &link, made.path()] {
            let refused = Draft::begin(path, 0o600).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{path:?}");
        }
        let missing = made.path().join("missing/report");
        let refused = Draft::begin(&missing, 0o600).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }
}
