//! Transfers leadership to the preferred leader, the node that an administrator has named, while
//! that node is healthy.
//!
//! Always true: leadership is transferred only to a voter that answers, has nearly everything, has
//! room on its disk and is not drained, and has done so for a while; a preference never makes a
//! cluster elect in vain.

use std::{sync::Arc, time::Duration};

use conclave_core::NodeId;
use conclave_replica::{Lane, Role};
use tokio::time::sleep;

use crate::{context::node_context::NodeContext, protocol::problems};

/// How often the leader looks whether another node is preferred.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Number of looks in a row for which the node must have been healthy.
const LOOKS_WELL: u32 = 3;
/// Maximum lag of the node, in entries.
pub(crate) const LAG_MAX: u64 = 1000;
/// How long the node may take to report its status.
const STATUS_LIMIT: Duration = Duration::from_millis(500);
/// How long a transfer may take.
const TRANSFER_LIMIT: Duration = Duration::from_secs(2);

/// Transfers leadership to the preferred leader, whenever this node leads and that node is healthy.
pub(crate) async fn keep(shared: Arc<NodeContext>) {
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
        tracing::info!(node, "transferring leadership to the preferred leader");
        let done = shared.replica.transfer_leader(Some(node), TRANSFER_LIMIT);
        if let Err(error) = done.await {
            let problem = problems::of_change(&error);
            tracing::warn!(node, %problem, "failed to transfer leadership");
        }
    }
}

/// Returns the voter that is preferred over this node as the leader.
fn wanted(shared: &NodeContext) -> Option<u64> {
    let status = shared.replica.status();
    let NodeId(node) = shared.preferred_leader()?;
    let is_other = status.role == Role::Leader && node != shared.identity.node;
    (is_other && status.members.all_voters().contains(&node)).then_some(node)
}

async fn is_well(shared: &NodeContext, node: u64) -> bool {
    let Some(member) = shared.replica.member(node) else {
        return false;
    };
    let peer = shared.transport.grpc_peer(node, &member, Lane::Calls);
    let last = shared.replica.status().log_index_last;
    let status = peer.status(STATUS_LIMIT).await;
    status.is_ok_and(|status| {
        let is_near = status.applied_index.saturating_add(LAG_MAX) >= last;
        is_near && !status.low_space && !status.draining && !status.witness
    })
}
