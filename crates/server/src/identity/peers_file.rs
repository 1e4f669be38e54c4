//! The peers file: what a node needs to find back to its cluster if its other files are damaged,
//! who it was and where the others are. `peers_file_writer.rs` keeps it up to date.
//!
//! Always true: it is only read to come back as a new node. It says where to ask, and nothing that
//! the node votes or answers with follows from it.

use std::{collections::BTreeMap, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::files::checksummed::{self, ChecksumError};

/// The file in a node's directory.
const FILE: &str = "peers.json";
/// Who a node was, and who belonged to its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeersFile {
    pub(crate) node: u64,
    /// The number that it had first, if it was repaired since.
    #[serde(default)]
    pub(crate) node_first: Option<u64>,
    /// Whether it voted, or was to vote.
    pub(crate) voter: bool,
    /// Every member with its addresses.
    pub(crate) members: BTreeMap<u64, Place>,
}

/// Where a member is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) peer_address: String,
    pub(crate) client_address: String,
}

impl PeersFile {
    /// What the directory says; nothing if that is missing or damaged.
    pub(crate) fn load(directory: &Path) -> io::Result<Option<Self>> {
        match checksummed::read(&directory.join(FILE)) {
            Ok(found) => Ok(found),
            Err(ChecksumError::Io(error)) => Err(error),
            Err(error @ (ChecksumError::Damaged(_) | ChecksumError::Foreign(_))) => {
                tracing::warn!(%error, file = FILE, "a file is of no use");
                Ok(None)
            }
        }
    }

    /// Is there, whole, after this.
    pub(crate) fn store(&self, directory: &Path) -> io::Result<()> {
        checksummed::write(&directory.join(FILE), self)
    }

    /// Whether the directory has one, damaged or not: then it was a node's.
    pub(crate) fn is_there(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        assert_eq!(PeersFile::load(directory).unwrap(), None);
        let known = PeersFile {
            node: 3,
            voter: true,
            members: BTreeMap::from([(3, Place::default())]),
            ..PeersFile::default()
        };
        known.store(directory).unwrap();
        assert_eq!(PeersFile::load(directory).unwrap(), Some(known));
        std::fs::write(directory.join(FILE), "{}").unwrap();
        assert_eq!(PeersFile::load(directory).unwrap(), None);
        assert!(PeersFile::is_there(directory));
    }
}
