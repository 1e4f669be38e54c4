//! The node that an administrator wants to lead does, while it is well.
//!
//! Always true: leadership is handed over only to a voter that answers, has nearly everything and
//! has room on its disk, and has done so for a while; a preference never makes a cluster elect in
//! vain.

use std::{sync::Arc, time::Duration};

use conclave_core::NodeId;
use conclave_replica::{Lane, Role};
use tokio::time::sleep;

use crate::{context::shared::Shared, problems};

/// How often the leader looks whether another one is wanted.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For how many looks in a row the node must have been well.
const LOOKS_WELL: u32 = 3;
/// How far it may be behind, in entries.
pub(crate) const LAG_MAX: u64 = 1000;
/// How long it may take to say how it is.
const STATUS_LIMIT: Duration = Duration::from_millis(500);
/// How long a hand-over may take.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);

/// Hands leadership to the node that shall have it, whenever this node leads and that one is well.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut looks = 0;
    loop {
        sleep(LOOK_EVERY).await;
        let Some(node) = wanted(&shared) else {
            looks = 0;
            continue;
        };
        looks = match is_well(&shared, node).await {
            true => looks + 1,
            false => 0,
        };
        if looks < LOOKS_WELL {
            continue;
        }
        looks = 0;
        tracing::info!(node, "leadership goes to the preferred node");
        let done = shared.replica.transfer_leader(Some(node), HAND_OVER_LIMIT);
        if let Err(error) = done.await {
            let problem = problems::of_change(&error);
            tracing::warn!(node, %problem, "leadership could not be handed over");
        }
    }
}

/// The voter that shall lead instead of this node.
fn wanted(shared: &Shared) -> Option<u64> {
    let status = shared.replica.status();
    let NodeId(node) = shared.preferred_leader()?;
    let is_other = status.role == Role::Leader && node != shared.identity.node;
    (is_other && status.members.all_voters().contains(&node)).then_some(node)
}

async fn is_well(shared: &Shared, node: u64) -> bool {
    let Some(member) = shared.replica.member(node) else {
        return false;
    };
    let peer = shared.transport.grpc_peer(node, &member, Lane::Calls);
    let last = shared.replica.status().log_index_last;
    let status = peer.status(STATUS_LIMIT).await;
    status.is_ok_and(|status| !status.low_space && status.applied_index + LAG_MAX >= last)
}
