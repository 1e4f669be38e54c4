//! Records which node a data directory belongs to: one node, and one process at a time.
//!
//! Always true: a directory that was made for one node is never used by another, and never by two
//! processes at once.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::files::checksummed::{self, ChecksumError};

/// Format of a data directory that this version makes and reads.
const FORMAT: u32 = 1;
/// File that holds it.
pub(crate) const FILE: &str = "identity.json";

/// A data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another process uses the directory.
    #[error("the data directory {directory} is in use by another process")]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory was made for another node.
    #[error("the data directory {directory} belongs to node {owner}, not to node {node}")]
    OtherNode {
        /// The directory.
        directory: PathBuf,
        /// Number of the node that the directory belongs to.
        owner: u64,
        /// Number of the node that wanted it.
        node: u64,
    },
    /// The file is not what was written: the node has lost its identity.
    #[error("{file} is damaged: {why}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// How the damage shows.
        why: String,
    },
    /// The directory was made for a full node, and is to be a witness's.
    #[error("the data directory {directory} belongs to a full node, not to a witness")]
    NotAWitness {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory is another user's: what this process writes its node could not read.
    #[error(
        "the data directory {directory} belongs to user {owner}, and this command runs as user \
         {user}"
    )]
    OtherUser {
        /// The directory.
        directory: PathBuf,
        /// Number of the user that runs the node.
        owner: u32,
        /// Number of the user that runs this process.
        user: u32,
    },
    /// A restore or an import into the directory was interrupted: it belongs to no node yet.
    #[error("a restore or an import into {directory} was interrupted")]
    Unfinished {
        /// The directory.
        directory: PathBuf,
    },
    /// A newer version made the file.
    #[error("{file} cannot be understood: {why}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What is wrong with the file.
        why: String,
    },
    /// The lock cannot be taken: the file is another user's, for example root's.
    #[error("the lock file {file} cannot be opened")]
    Lock {
        /// The file.
        file: PathBuf,
        /// Cause of the failure.
        #[source]
        source: io::Error,
    },
    /// The file system refuses.
    #[error("the data directory {directory} cannot be used")]
    Io {
        /// The directory.
        directory: PathBuf,
        /// Cause of the failure.
        #[source]
        source: io::Error,
    },
}

/// Content of the identity file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    format: u32,
    pub(crate) cluster_id: String,
    pub(crate) node: u64,
    /// Whether the node joined an existing cluster: then its log comes from other nodes only.
    #[serde(default)]
    pub(crate) joined: bool,
    /// Role that the node still has to ask for.
    #[serde(default)]
    pub(crate) pending_role: Option<PendingRole>,
    /// Initial members that made the cluster together with this node, if they found each other.
    #[serde(default)]
    pub(crate) initial_members: Vec<InitialMember>,
    /// Number that the node had first, if it was repaired since: flags may still name it.
    #[serde(default)]
    pub(crate) node_first: Option<u64>,
    /// Whether the node keeps the log alone.
    #[serde(default)]
    pub(crate) witness: bool,
}

/// Role that a node is to get after it has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingRole {
    /// Whether the node is to vote.
    pub(crate) voter: bool,
    /// Number of the member whose place it takes; 0 if none.
    pub(crate) replaces: u64,
}

/// An initial member of a cluster that several nodes have made together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InitialMember {
    pub(crate) node: u64,
    pub(crate) peer_address: String,
    pub(crate) client_address: String,
    /// Instance of its data directory, in hexadecimal digits.
    pub(crate) instance: String,
}

impl Stored {
    /// Returns the identity of a node that makes a cluster.
    pub(crate) fn made(cluster_id: String, node: u64) -> Self {
        Self {
            format: FORMAT,
            cluster_id,
            node,
            joined: false,
            pending_role: None,
            initial_members: Vec::new(),
            node_first: None,
            witness: false,
        }
    }

    /// Returns the same node, alone in a cluster with another name.
    pub(crate) fn alone(&self, cluster_id: String) -> Self {
        Self {
            cluster_id,
            pending_role: None,
            initial_members: Vec::new(),
            ..self.clone()
        }
    }

    /// Returns whether this is the node that flags call `node`.
    fn is(&self, node: u64) -> bool {
        node == self.node || self.node_first == Some(node)
    }

    /// Returns the identity of a node that joined an existing cluster.
    pub(crate) fn joined(cluster_id: String, node: u64, pending_role: Option<PendingRole>) -> Self {
        Self {
            joined: true,
            pending_role,
            ..Self::made(cluster_id, node)
        }
    }
}

/// A directory that belongs to this process until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    directory: PathBuf,
    _lock: File,
}

impl Claim {
    /// Claims `directory`; makes it if it does not exist.
    pub(crate) fn take(directory: &Path) -> Result<Self, IdentityError> {
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
        let file = directory.join("lock");
        let lock = private_file(&file).map_err(|source| IdentityError::Lock { file, source })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(IdentityError::InUse {
                    directory: directory.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
        })
    }

    /// Returns the node that the directory belongs to, if there is one yet.
    pub(crate) fn stored(&self) -> Result<Option<Stored>, IdentityError> {
        let file = self.directory.join(FILE);
        let stored = match checksummed::read::<Stored>(&file) {
            Ok(stored) => stored,
            Err(ChecksumError::Io(source)) => return Err(self.failed(source)),
            Err(ChecksumError::Damaged(why)) => {
                let why = why.to_owned();
                return Err(IdentityError::Damaged { file, why });
            }
            Err(ChecksumError::Foreign(why)) => {
                return Err(IdentityError::Unreadable { file, why });
            }
        };
        match stored {
            Some(stored) if stored.format != FORMAT => {
                let format = stored.format;
                let why = format!("it has format {format}, this version reads {FORMAT}");
                Err(IdentityError::Unreadable { file, why })
            }
            stored => Ok(stored),
        }
    }

    /// Returns the directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory a new node's.
    pub(crate) fn keep(self, stored: Stored) -> Result<Identity, IdentityError> {
        write(&self.directory, &stored).map_err(|source| self.failed(source))?;
        Ok(self.identity(stored))
    }

    /// Returns the identity of a directory that belonged to a node before. `node`: the number in
    /// the flags, if there is one. `witness`: whether they ask for a witness.
    pub(crate) fn again(
        self,
        stored: Stored,
        node: Option<u64>,
        witness: bool,
    ) -> Result<Identity, IdentityError> {
        if witness && !stored.witness {
            return Err(IdentityError::NotAWitness {
                directory: self.directory,
            });
        }
        match node {
            Some(node) if !stored.is(node) => Err(IdentityError::OtherNode {
                directory: self.directory,
                owner: stored.node,
                node,
            }),
            _ => Ok(self.identity(stored)),
        }
    }

    fn identity(self, stored: Stored) -> Identity {
        Identity {
            cluster_id: stored.cluster_id.clone(),
            node: stored.node,
            joined: stored.joined,
            witness: stored.witness,
            stored: Mutex::new(stored),
            claim: self,
        }
    }

    pub(crate) fn failed(&self, source: io::Error) -> IdentityError {
        IdentityError::Io {
            directory: self.directory.clone(),
            source,
        }
    }
}

/// A node's identity, and its claim to the directory until this is dropped.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) cluster_id: String,
    pub(crate) node: u64,
    /// Whether the node joined an existing cluster.
    pub(crate) joined: bool,
    /// Whether the node is a witness: it keeps the log alone.
    pub(crate) witness: bool,
    stored: Mutex<Stored>,
    claim: Claim,
}

impl Identity {
    /// Returns the role that the node still has to ask for.
    pub(crate) fn pending_role(&self) -> Option<PendingRole> {
        self.lock().pending_role
    }

    /// Returns the directory, which no other process uses meanwhile.
    pub(crate) fn directory(&self) -> &Path {
        &self.claim.directory
    }

    /// Returns the claim to the directory.
    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Returns the number that the node had first, if it was repaired since.
    pub(crate) fn node_first(&self) -> Option<u64> {
        self.lock().node_first
    }

    /// Returns the initial members that made the cluster together.
    pub(crate) fn initial_members(&self) -> Vec<InitialMember> {
        self.lock().initial_members.clone()
    }

    /// Removes the pending role, which is granted or no longer possible. An administrator that
    /// takes the vote away later must not see it asked for again.
    pub(crate) fn clear_pending_role(&self) -> Result<(), IdentityError> {
        let mut stored = self.lock();
        stored.pending_role = None;
        write(&self.claim.directory, &stored).map_err(|source| self.claim.failed(source))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stored> {
        // Valid after every statement that changes it.
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
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

pub(crate) fn write(directory: &Path, stored: &Stored) -> io::Result<()> {
    checksummed::write(&directory.join(FILE), stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(directory: &Path, stored: Stored) -> Identity {
        Claim::take(directory).unwrap().keep(stored).unwrap()
    }

    #[test]
    fn a_directory_keeps_its_node_and_its_cluster() {
        let directory = tempfile::tempdir().unwrap();
        drop(kept(directory.path(), Stored::made("abc".to_owned(), 1)));
        let claim = Claim::take(directory.path()).unwrap();
        let stored = claim.stored().unwrap().unwrap();
        let again = claim.again(stored.clone(), None, false).unwrap();
        assert_eq!((&*again.cluster_id, again.node), ("abc", 1));
        drop(again);
        let other = Claim::take(directory.path())
            .unwrap()
            .again(stored, Some(2), false);
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
        let first = kept(directory.path(), Stored::made("abc".to_owned(), 1));
        let second = Claim::take(directory.path());
        assert!(matches!(second, Err(IdentityError::InUse { .. })));
        drop(first);
        Claim::take(directory.path()).unwrap();
    }

    #[test]
    fn a_lock_that_cannot_be_opened_is_named() {
        let directory = tempfile::tempdir().unwrap();
        // A directory in place of the file, because root may open any file.
        fs::create_dir(directory.path().join("lock")).unwrap();
        let refused = Claim::take(directory.path()).unwrap_err();
        assert!(matches!(refused, IdentityError::Lock { .. }));
        assert!(refused.to_string().contains("/lock"), "{refused}");
    }

    #[test]
    fn a_joined_node_keeps_its_pending_role_until_it_is_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let pending_role = PendingRole {
            voter: true,
            replaces: 3,
        };
        drop(kept(
            directory.path(),
            Stored::joined("abc".to_owned(), 4, Some(pending_role)),
        ));
        for expected in [Some(pending_role), None] {
            let claim = Claim::take(directory.path()).unwrap();
            let stored = claim.stored().unwrap().unwrap();
            let again = claim.again(stored, Some(4), false).unwrap();
            assert!(again.joined);
            assert_eq!(again.pending_role(), expected);
            again.clear_pending_role().unwrap();
        }
    }

    #[test]
    fn a_damaged_identity_is_distinguished_from_a_newer_format() {
        let directory = tempfile::tempdir().unwrap();
        drop(kept(directory.path(), Stored::made("abc".to_owned(), 1)));
        let file = directory.path().join(FILE);
        let good = fs::read_to_string(&file).unwrap();
        // Another number would be another node.
        let other = good.replace("\"node\": 1", "\"node\": 2");
        assert_ne!(other, good);
        for text in ["", "{", &*other] {
            fs::write(&file, text).unwrap();
            let refused = Claim::take(directory.path()).unwrap().stored();
            assert!(
                matches!(refused, Err(IdentityError::Damaged { .. })),
                "{text}"
            );
        }
        let newer = Stored {
            format: FORMAT + 1,
            ..Stored::made("abc".to_owned(), 1)
        };
        write(directory.path(), &newer).unwrap();
        let refused = Claim::take(directory.path()).unwrap().stored();
        assert!(matches!(refused, Err(IdentityError::Unreadable { .. })));
    }

    #[test]
    fn a_repaired_node_still_accepts_its_first_number() {
        let directory = tempfile::tempdir().unwrap();
        let stored = Stored {
            node_first: Some(3),
            ..Stored::joined("abc".to_owned(), 7, None)
        };
        drop(kept(directory.path(), stored.clone()));
        for (said, is_it) in [
            (Some(3), true),
            (Some(7), true),
            (None, true),
            (Some(4), false),
        ] {
            let claim = Claim::take(directory.path()).unwrap();
            assert_eq!(
                claim.again(stored.clone(), said, false).is_ok(),
                is_it,
                "{said:?}"
            );
        }
    }
}
