//! Writes the peers file (`peers_file.rs`) whenever the members of the cluster, or their addresses,
//! have changed.
//!
//! Always true: nothing is written before the log has said which nodes belong to the cluster.

use std::{sync::Arc, time::Duration};

use conclave_replica::Member;
use tokio::time::sleep;

use crate::{
    context::node_context::NodeContext,
    identity::peers_file::{MemberAddresses, PeersFile},
};

/// How often this node looks for a change.
const EVERY: Duration = Duration::from_millis(500);

/// Writes the members of the cluster whenever they have changed.
pub(crate) async fn keep(shared: Arc<NodeContext>) {
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
                Ok(Err(error)) => tracing::warn!(%error, "failed to write the peers file"),
                Err(error) => tracing::warn!(%error, "failed to write the peers file"),
            }
        }
        sleep(EVERY).await;
    }
}

/// Returns the peers that this node knows now.
fn known_now(shared: &NodeContext) -> PeersFile {
    let members = shared.replica.status().members;
    let node = shared.identity.node;
    let wants_vote = shared
        .identity
        .pending_role()
        .is_some_and(|pending_role| pending_role.voter);
    let place = |(node, member): (u64, Member)| {
        let place = MemberAddresses {
            peer_address: member.peer_address,
            client_address: member.client_address,
        };
        (node, place)
    };
    PeersFile {
        node,
        node_first: shared.identity.node_first(),
        voter: wants_vote || members.all_voters().contains(&node),
        witness: Some(shared.identity.witness),
        members: shared.members().into_iter().map(place).collect(),
    }
}
