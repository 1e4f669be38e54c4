//! What a node needs to find back to its cluster if its other files are damaged: who it was, and
//! where the others are.
//!
//! Always true: it is only read to come back as a new node. It says where to ask, and nothing that
//! the node votes or answers with follows from it.

use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::Duration};

use conclave_replica::Member;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    sealed::{self, SealError},
    shared::Shared,
};

/// The file in a node's directory.
const FILE: &str = "peers.json";
/// How often is looked whether something has changed.
const EVERY: Duration = Duration::from_millis(500);

/// Who a node was, and who belonged to its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WayBack {
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

impl WayBack {
    /// What the directory says; nothing if that is missing or damaged.
    pub(crate) fn load(directory: &Path) -> io::Result<Option<Self>> {
        match sealed::read(&directory.join(FILE)) {
            Ok(found) => Ok(found),
            Err(SealError::Io(error)) => Err(error),
            Err(error @ (SealError::Damaged(_) | SealError::Foreign(_))) => {
                tracing::warn!(%error, file = FILE, "a file is of no use");
                Ok(None)
            }
        }
    }

    /// Is there, whole, after this.
    pub(crate) fn store(&self, directory: &Path) -> io::Result<()> {
        sealed::write(&directory.join(FILE), self)
    }

    /// Whether the directory has one, damaged or not: then it was a node's.
    pub(crate) fn is_there(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    fn of(shared: &Shared) -> Self {
        let members = shared.replica.status().members;
        let node = shared.identity.node;
        let wants_vote = shared.identity.wish().is_some_and(|wish| wish.voter);
        let place = |(node, member): (u64, Member)| {
            let place = Place {
                peer_address: member.peer_address,
                client_address: member.client_address,
            };
            (node, place)
        };
        Self {
            node,
            node_first: shared.identity.node_first(),
            voter: wants_vote || members.all_voters().contains(&node),
            members: shared.members().into_iter().map(place).collect(),
        }
    }
}

/// Notes who belongs to the cluster whenever that has changed.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut noted = None;
    loop {
        let now = WayBack::of(&shared);
        // Until the log has said who belongs to the cluster nobody is known.
        if noted.as_ref() != Some(&now) && !shared.replica.status().members.nodes.is_empty() {
            let directory = shared.identity.directory().to_owned();
            let written = now.clone();
            let done = tokio::task::spawn_blocking(move || written.store(&directory)).await;
            match done {
                Ok(Ok(())) => noted = Some(now),
                Ok(Err(error)) => tracing::warn!(%error, "the members were not noted"),
                Err(error) => tracing::warn!(%error, "the members were not noted"),
            }
        }
        sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        assert_eq!(WayBack::load(directory).unwrap(), None);
        let known = WayBack {
            node: 3,
            voter: true,
            members: BTreeMap::from([(3, Place::default())]),
            ..WayBack::default()
        };
        known.store(directory).unwrap();
        assert_eq!(WayBack::load(directory).unwrap(), Some(known));
        std::fs::write(directory.join(FILE), "{}").unwrap();
        assert_eq!(WayBack::load(directory).unwrap(), None);
        assert!(WayBack::is_there(directory));
    }
}
