//! The files of an export: a directory, a ZIP archive, or one file.
//!
//! Names are keys and never paths: a file of an archive is read where it lies and extracted to
//! nowhere, and what lies outside of a directory cannot be named.
//!
//! Always true: no more comes out of a file of an archive than [`RATIO_MAX`] times its packed
//! length and [`SLACK_BYTES`], whatever the archive says; symbolic links are not followed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use zip::ZipArchive;

use crate::error::ImportError;

/// How many bytes may come out of one packed byte: text is packed to a tenth, a bomb to a
/// thousandth.
const RATIO_MAX: u64 = 200;
/// Bytes that may come out of every file besides: a short one of equal lines is no bomb.
const SLACK_BYTES: u64 = 1 << 20;
/// Files of one export: far more than a conversation for each account has.
const FILES_MAX: usize = 4_000_000;
/// Levels of directories. Slack has two.
const DEPTH_MAX: usize = 3;

/// The files of an export by name, with `/` between the parts.
pub(crate) struct Tree {
    root: Root,
    /// What a file is called where it lies.
    names: BTreeMap<String, Place>,
}

enum Root {
    Disk,
    Archive(Box<ZipArchive<BufReader<File>>>),
}

enum Place {
    Path(PathBuf),
    Number(usize),
}

impl Tree {
    /// Looks at what is there.
    pub(crate) fn open(path: &Path) -> Result<Self, ImportError> {
        let read = |source| ImportError::Read {
            file: path.display().to_string(),
            source,
        };
        if path.is_dir() {
            let mut names = BTreeMap::new();
            list(path, "", DEPTH_MAX, &mut names).map_err(read)?;
            return Self::rooted(Root::Disk, names, path);
        }
        let mut file = File::open(path).map_err(read)?;
        let mut magic = [0; 4];
        let is_archive = match file.read_exact(&mut magic) {
            Ok(()) => magic.starts_with(b"PK"),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(read(error)),
        };
        if !is_archive {
            let name = path.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            let names = BTreeMap::from([(name, Place::Path(path.to_owned()))]);
            return Self::rooted(Root::Disk, names, path);
        }
        let file = File::open(path).map_err(read)?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
        let mut names = BTreeMap::new();
        if archive.len() > FILES_MAX {
            return Err(ImportError::Archive("it has too many files".to_owned()));
        }
        for number in 0..archive.len() {
            let Some(name) = archive.name_for_index(number) else {
                continue;
            };
            // Directories, and what one system adds for its own use.
            if name.ends_with('/') || name.starts_with("__MACOSX/") {
                continue;
            }
            if !is_plain(name) {
                let why = format!("it has a file with the name {name:?}");
                return Err(ImportError::Archive(why));
            }
            if names
                .insert(name.to_owned(), Place::Number(number))
                .is_some()
            {
                let why = format!("it has two files with the name {name:?}");
                return Err(ImportError::Archive(why));
            }
        }
        Self::rooted(Root::Archive(Box::new(archive)), names, path)
    }

    /// Takes a directory that holds everything off the names.
    fn rooted(
        root: Root,
        names: BTreeMap<String, Place>,
        path: &Path,
    ) -> Result<Self, ImportError> {
        if names.is_empty() {
            return Err(ImportError::Unknown {
                path: path.to_owned(),
                why: "there is no file in it".to_owned(),
            });
        }
        let top = names.keys().next().and_then(|name| name.split_once('/'));
        let prefix = top.map(|(top, _)| format!("{top}/"));
        let prefix = prefix.filter(|prefix| names.keys().all(|name| name.starts_with(prefix)));
        let names = match prefix {
            None => names,
            Some(prefix) => names
                .into_iter()
                .map(|(name, place)| (name[prefix.len()..].to_owned(), place))
                .collect(),
        };
        Ok(Self { root, names })
    }

    /// Returns the names of all files, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Returns whether there is a file with this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Opens a file.
    pub(crate) fn read(&mut self, name: &str) -> Result<Box<dyn Read + '_>, ImportError> {
        let read = |source| ImportError::Read {
            file: name.to_owned(),
            source,
        };
        match (self.names.get(name), &mut self.root) {
            (Some(Place::Path(path)), _) => {
                let file = File::open(path).map_err(read)?;
                Ok(Box::new(BufReader::with_capacity(256 * 1024, file)))
            }
            (Some(Place::Number(number)), Root::Archive(archive)) => {
                let file = archive.by_index(*number).map_err(broken)?;
                let left = file.compressed_size().saturating_mul(RATIO_MAX);
                let left = left.saturating_add(SLACK_BYTES);
                Ok(Box::new(BufReader::with_capacity(
                    256 * 1024,
                    Bounded { file, left },
                )))
            }
            _ => Err(read(io::ErrorKind::NotFound.into())),
        }
    }
}

fn broken(error: zip::result::ZipError) -> ImportError {
    ImportError::Archive(error.to_string())
}

/// Returns whether a name is a path below the top, as every writer of archives makes it.
fn is_plain(name: &str) -> bool {
    !name.contains(['\\', '\0'])
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

fn list(
    directory: &Path,
    prefix: &str,
    depth: usize,
    names: &mut BTreeMap<String, Place>,
) -> io::Result<()> {
    for item in fs::read_dir(directory)? {
        let item = item?;
        let kind = item.file_type()?;
        let name = format!("{prefix}{}", item.file_name().to_string_lossy());
        if kind.is_dir() && depth > 1 {
            list(&item.path(), &format!("{name}/"), depth - 1, names)?;
        } else if kind.is_file() {
            if names.len() >= FILES_MAX {
                return Err(io::Error::other("there are too many files"));
            }
            names.insert(name, Place::Path(item.path()));
        }
    }
    Ok(())
}

/// A file of an archive of which no more comes than it may.
struct Bounded<R> {
    file: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                let why = "far more comes out of it than an export packs into so few bytes";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
        let made = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ZipWriter::new(made.reopen().unwrap());
        for (name, content) in files {
            writer
                .start_file(*name, SimpleFileOptions::default())
                .unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap();
        made
    }

    fn content(tree: &mut Tree, name: &str) -> String {
        let mut text = String::new();
        tree.read(name).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn an_archive_and_a_directory_have_the_same_names() {
        let files: [(&str, &[u8]); 3] = [
            ("export/users.json", b"[]"),
            ("export/general/2020-01-01.json", b"[1]"),
            ("__MACOSX/export/._users.json", b"x"),
        ];
        let packed = archive(&files);
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in &files[..2] {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        for path in [
            packed.path(),
            directory.path(),
            &directory.path().join("export"),
        ] {
            let mut tree = Tree::open(path).unwrap();
            let names: Vec<_> = tree.names().collect();
            assert_eq!(names, ["general/2020-01-01.json", "users.json"]);
            assert_eq!(content(&mut tree, "general/2020-01-01.json"), "[1]");
            assert!(tree.read("../users.json").is_err());
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in [
            "../users.json",
            "a/../../b",
            "/etc/passwd",
            "a\\b",
            "a//b",
            "./a",
        ] {
            let packed = archive(&[(name, b"[]"), ("users.json", b"[]")]);
            let refused = Tree::open(packed.path())
                .err()
                .map(|error| error.to_string());
            assert!(
                refused.is_some_and(|why| why.contains("a file with the name")),
                "{name}"
            );
        }
    }

    #[test]
    fn a_link_in_a_directory_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("users.json"), "[]").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("channels.json")).unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        assert_eq!(tree.names().collect::<Vec<_>>(), ["users.json"]);
    }

    #[test]
    fn a_bomb_ends_with_an_error_after_few_bytes() {
        let packed = archive(&[("users.json", &vec![b' '; 16 << 20]), ("b", b"x")]);
        let mut tree = Tree::open(packed.path()).unwrap();
        let mut read = 0;
        let mut reader = tree.read("users.json").unwrap();
        let mut buffer = vec![0; 1 << 16];
        let error = loop {
            match reader.read(&mut buffer) {
                Ok(0) => panic!("it was read to its end"),
                Ok(bytes) => read += bytes,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(read < 8 << 20, "{read}");
    }

    #[test]
    fn what_is_no_archive_is_a_file_and_a_damaged_one_is_an_error() {
        let made = tempfile::NamedTempFile::new().unwrap();
        fs::write(made.path(), "{}\n").unwrap();
        assert_eq!(Tree::open(made.path()).unwrap().names().count(), 1);
        fs::write(made.path(), "PK\x03\x04 and no more").unwrap();
        assert!(matches!(
            Tree::open(made.path()),
            Err(ImportError::Archive(_))
        ));
        fs::write(made.path(), "").unwrap();
        assert_eq!(Tree::open(made.path()).unwrap().names().count(), 1);
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(
            Tree::open(empty.path()),
            Err(ImportError::Unknown { .. })
        ));
    }
}
