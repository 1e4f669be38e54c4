//! Writes the peers file (`peers_file.rs`) whenever the members of the cluster, or their addresses,
//! have changed.
//!
//! Always true: nothing is written before the log has said which nodes belong to the cluster.

use std::{sync::Arc, time::Duration};

use conclave_replica::Member;
use tokio::time::sleep;

use crate::{
    context::shared::Shared,
    identity::peers_file::{PeersFile, Place},
};

/// How often this node looks for a change.
const EVERY: Duration = Duration::from_millis(500);

/// Writes the members of the cluster whenever they have changed.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut noted = None;
    loop {
        let now = known_now(&shared);
        // Until the log has said which nodes belong to the cluster, no member is known.
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

/// Returns the peers that this node knows now.
fn known_now(shared: &Shared) -> PeersFile {
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
    PeersFile {
        node,
        node_first: shared.identity.node_first(),
        voter: wants_vote || members.all_voters().contains(&node),
        members: shared.members().into_iter().map(place).collect(),
    }
}
