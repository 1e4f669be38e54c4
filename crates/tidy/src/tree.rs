//! Reads the tree: all text files of the repository that are ours.
//!
//! Build output, fetched packages, hidden folders other than those of CI and files that are not
//! UTF-8 are left out. Paths are relative to the root and use `/`.

use std::{fs, io, path::Path};

/// Folders that hold nothing written by hand.
const FOLDERS_SKIPPED: [&str; 4] = ["target", "node_modules", "dist", "conclave-data"];

/// Files in the tree: far more than there are, so that a loop in the tree ends.
const FILES_MAX: usize = 20_000;

/// Bytes of a file that is still text written by hand.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// One text file.
#[derive(Clone, Debug)]
pub struct File {
    /// Relative to the root.
    pub path: String,
    /// The whole of it.
    pub text: String,
}

/// Reads all files below a root, sorted by path.
pub fn read_tree(root: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() {
                name.clone()
            } else {
                format!("{folder}/{name}")
            };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                let hidden = name.starts_with('.') && ![".ci", ".github"].contains(&name.as_str());
                if !hidden && !FOLDERS_SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name == ".git" {
                // In a second working tree it is a file that names the first one.
            } else if kind.is_file() && entry.metadata()?.len() <= FILE_BYTES_MAX {
                // Another program may be removing it at this moment, and pictures are not text.
                if let Ok(text) = fs::read_to_string(entry.path()) {
                    files.push(File { path, text });
                }
            }
            assert!(
                files.len() <= FILES_MAX,
                "the tree has more than {FILES_MAX} files"
            );
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}
