//! The peers file: what a node needs to find back to its cluster if its other files are damaged,
//! which node it was and where the other nodes are. `peers_file_writer.rs` keeps it up to date.
//!
//! Always true: it is only read to come back as a new node. It holds addresses to ask at, and
//! nothing that the node votes or answers with follows from it.

use std::{collections::BTreeMap, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::files::checksummed::{self, ChecksumError};

/// File in a node's directory.
const FILE: &str = "peers.json";
/// Identity of a node, and the nodes that belonged to its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeersFile {
    pub(crate) node: u64,
    /// Number that the node had first, if it was repaired since.
    #[serde(default)]
    pub(crate) node_first: Option<u64>,
    /// Whether the node voted, or was to vote.
    pub(crate) voter: bool,
    /// Whether the node kept the log alone; `None` if an earlier version wrote the file.
    #[serde(default)]
    pub(crate) witness: Option<bool>,
    /// Every member with its addresses.
    pub(crate) members: BTreeMap<u64, MemberAddresses>,
}

/// Addresses of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberAddresses {
    pub(crate) peer_address: String,
    pub(crate) client_address: String,
}

impl PeersFile {
    /// Reads the file of a directory; returns `None` if it is missing or damaged.
    pub(crate) fn load(directory: &Path) -> io::Result<Option<Self>> {
        match checksummed::read(&directory.join(FILE)) {
            Ok(found) => Ok(found),
            Err(ChecksumError::Io(error)) => Err(error),
            Err(error @ (ChecksumError::Damaged(_) | ChecksumError::Foreign(_))) => {
                tracing::warn!(%error, file = FILE, "ignoring an unreadable file");
                Ok(None)
            }
        }
    }

    /// Writes the file, which is on disk as a whole when this returns.
    pub(crate) fn store(&self, directory: &Path) -> io::Result<()> {
        checksummed::write(&directory.join(FILE), self)
    }

    /// Returns whether the directory has the file, damaged or not: then it belonged to a node.
    pub(crate) fn is_there(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_peers_file_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        assert_eq!(PeersFile::load(directory).unwrap(), None);
        let known = PeersFile {
            node: 3,
            voter: true,
            members: BTreeMap::from([(3, MemberAddresses::default())]),
            ..PeersFile::default()
        };
        known.store(directory).unwrap();
        assert_eq!(PeersFile::load(directory).unwrap(), Some(known));
        std::fs::write(directory.join(FILE), "{}").unwrap();
        assert_eq!(PeersFile::load(directory).unwrap(), None);
        assert!(PeersFile::is_there(directory));
    }
}
