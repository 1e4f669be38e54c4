//! A witness learns how far the full members have come, so that it purges nothing of the log that
//! one of them lacks.
//!
//! Always true: a member that does not answer counts with what it had when it last did, or with
//! nothing. So a full member that is gone for good keeps the log of every witness from being
//! purged until it is removed from the cluster.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use conclave_replica::Members;
use tokio::time::sleep;

use crate::context::node_context::NodeContext;

/// How often the members are asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Learns how far the full members have come, for as long as this witness runs.
pub(crate) async fn follow_full_members(shared: Arc<NodeContext>) {
    if !shared.identity.witness {
        return;
    }
    let mut applied = BTreeMap::new();
    loop {
        for (node, _, status) in shared.statuses().await {
            if let Some(status) = status {
                applied.insert(node, status.applied_index);
            }
        }
        let members = shared.replica.status().members;
        shared
            .replica
            .full_members_have(least_applied(&members, &applied));
        sleep(ASK_EVERY).await;
    }
}

/// Returns the last entry that every full member is known to have applied; 0 if there is none.
fn least_applied(members: &Members, applied: &BTreeMap<u64, u64>) -> u64 {
    let full = members
        .nodes
        .keys()
        .filter(|node| !members.is_witness(**node));
    let has = |node: &u64| applied.get(node).copied().unwrap_or(0);
    full.map(has).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use conclave_replica::Member;

    use super::*;

    #[test]
    fn what_a_full_member_is_not_known_to_have_is_kept() {
        let member = |witness| Member {
            witness,
            ..Member::default()
        };
        let nodes = [(1, false), (2, false), (3, true)];
        let members = Members {
            nodes: nodes.map(|(node, witness)| (node, member(witness))).into(),
            ..Members::default()
        };
        let least =
            |applied: &[(u64, u64)]| least_applied(&members, &applied.iter().copied().collect());
        assert_eq!(least(&[(1, 9), (2, 7), (3, 1)]), 7);
        assert_eq!(least(&[(1, 9), (3, 8)]), 0, "node 2 has said nothing");
        assert_eq!(least_applied(&Members::default(), &BTreeMap::new()), 0);
    }
}
