//! Whose data directory this is: one node's, one process's at a time.
//!
//! Always true: a directory that was made for one node is never used by another, and never by two
//! processes at once.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use conclave_replica::Member;
use serde::{Deserialize, Serialize};

/// The format of a data directory that this version makes and reads.
const FORMAT: u32 = 1;
/// Where it stands.
const FILE: &str = "identity.json";

/// A data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another process has it.
    #[error("the data directory {directory} is in use by another process")]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// It was made for another node.
    #[error("the data directory {directory} belongs to node {owner}, not to node {node}")]
    OtherNode {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        owner: u64,
        /// Who wanted it.
        node: u64,
    },
    /// A newer version made it, or it is damaged.
    #[error("{file} cannot be understood: {why}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file system refuses.
    #[error("the data directory {directory} cannot be used")]
    Io {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    cluster_id: String,
    node: u64,
    /// Whether it came into a cluster that was there: then its log comes from others only.
    #[serde(default)]
    joined: bool,
}

/// A node's identity, and its claim to the directory for as long as this lives.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) cluster_id: String,
    pub(crate) node: u64,
    /// Whether it came into a cluster that was there.
    pub(crate) joined: bool,
    _lock: File,
}

/// The cluster of a directory that is new.
pub(crate) enum Origin<'a> {
    /// It is made with these members.
    Made(&'a BTreeMap<u64, Member>),
    /// It is there already, with this name.
    Joined(&'a str),
}

impl Identity {
    /// Whether a directory has an identity already.
    pub(crate) fn is_in(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    /// Claims `directory` for `node`; makes it if it is not there. What is stored in it wins over
    /// `origin`: addresses may have changed since.
    pub(crate) fn take(
        directory: &Path,
        node: u64,
        origin: &Origin<'_>,
    ) -> Result<Self, IdentityError> {
        let failed = |source| IdentityError::Io {
            directory: directory.to_owned(),
            source,
        };
        let mut maker = fs::DirBuilder::new();
        maker
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        let lock = private_file(&directory.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(IdentityError::InUse {
                    directory: directory.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let file = directory.join(FILE);
        let stored = match fs::read(&file) {
            Ok(bytes) => read(&file, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let stored = Stored {
                    format: FORMAT,
                    cluster_id: match origin {
                        Origin::Made(members) => name_of_cluster(members),
                        Origin::Joined(name) => (*name).to_owned(),
                    },
                    node,
                    joined: matches!(origin, Origin::Joined(_)),
                };
                write(directory, &file, &stored).map_err(failed)?;
                stored
            }
            Err(error) => return Err(failed(error)),
        };
        if stored.node != node {
            let (directory, owner) = (directory.to_owned(), stored.node);
            return Err(IdentityError::OtherNode {
                directory,
                owner,
                node,
            });
        }
        Ok(Self {
            cluster_id: stored.cluster_id,
            node,
            joined: stored.joined,
            _lock: lock,
        })
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn read(file: &Path, bytes: &[u8]) -> Result<Stored, IdentityError> {
    let unreadable = |why: String| IdentityError::Unreadable {
        file: file.to_owned(),
        why,
    };
    let stored: Stored =
        serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    match stored.format {
        FORMAT => Ok(stored),
        newer => Err(unreadable(format!(
            "it has format {newer}, this version reads {FORMAT}"
        ))),
    }
}

/// Writes the file whole or not at all.
fn write(directory: &Path, file: &Path, stored: &Stored) -> io::Result<()> {
    let draft = directory.join("identity.json.new");
    let mut written = private_file(&draft)?;
    written.set_len(0)?;
    written.write_all(serde_json::to_string_pretty(stored)?.as_bytes())?;
    written.sync_all()?;
    fs::rename(&draft, file)?;
    File::open(directory)?.sync_all()
}

/// Every node of a cluster is started with the same members, so every one finds the same name.
fn name_of_cluster(members: &BTreeMap<u64, Member>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (node, member) in members {
        hasher.update(format!("{node}={}\n", member.peer_address).as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(port: u16) -> BTreeMap<u64, Member> {
        let peer_address = format!("127.0.0.1:{port}");
        BTreeMap::from([(
            1,
            Member {
                peer_address,
                client_address: String::new(),
            },
        )])
    }

    #[test]
    fn a_directory_keeps_its_node_and_its_cluster() {
        let directory = tempfile::tempdir().unwrap();
        let first = Identity::take(directory.path(), 1, &Origin::Made(&members(1))).unwrap();
        let name = first.cluster_id.clone();
        drop(first);
        let again = Identity::take(directory.path(), 1, &Origin::Made(&members(2))).unwrap();
        assert_eq!(
            again.cluster_id, name,
            "new addresses do not make a new cluster"
        );
        drop(again);
        let other = Identity::take(directory.path(), 2, &Origin::Made(&members(1)));
        assert!(matches!(
            other,
            Err(IdentityError::OtherNode {
                owner: 1,
                node: 2,
                ..
            })
        ));
    }

    #[test]
    fn a_directory_has_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = Identity::take(directory.path(), 1, &Origin::Made(&members(1))).unwrap();
        let second = Identity::take(directory.path(), 1, &Origin::Made(&members(1)));
        assert!(matches!(second, Err(IdentityError::InUse { .. })));
        drop(first);
        Identity::take(directory.path(), 1, &Origin::Made(&members(1))).unwrap();
    }

    #[test]
    fn a_node_that_has_joined_keeps_that_for_good() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!Identity::is_in(directory.path()));
        let first = Identity::take(directory.path(), 4, &Origin::Joined("abc")).unwrap();
        assert!(first.joined);
        drop(first);
        assert!(Identity::is_in(directory.path()));
        let again = Identity::take(directory.path(), 4, &Origin::Made(&members(1))).unwrap();
        assert_eq!((&*again.cluster_id, again.joined), ("abc", true));
    }

    #[test]
    fn a_damaged_or_newer_identity_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(Identity::take(directory.path(), 1, &Origin::Made(&members(1))).unwrap());
        let file = directory.path().join(FILE);
        for text in ["", "{", r#"{"format":2,"cluster_id":"x","node":1}"#] {
            fs::write(&file, text).unwrap();
            let refused = Identity::take(directory.path(), 1, &Origin::Made(&members(1)));
            assert!(
                matches!(refused, Err(IdentityError::Unreadable { .. })),
                "{text}"
            );
        }
    }
}
