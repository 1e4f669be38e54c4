//! Records elections and changes of the members among the recent events of this node.

use std::{sync::Arc, time::Duration};

use conclave_replica::Members;
use conclave_wire::v1;
use tokio::time::timeout;

use crate::context::node_context::NodeContext;

/// Pause between two looks at the members, which change seldom.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Records what changes, until the caller aborts it.
pub(crate) async fn watch(shared: Arc<NodeContext>) {
    let mut leader = shared.replica.leader();
    let (mut known_leader, mut known_members) = (None, None);
    loop {
        let leader_now = *leader.borrow_and_update();
        let status = shared.replica.status();
        if known_leader != leader_now {
            known_leader = leader_now;
            let details = v1::NodeEvent {
                subject_node_id: leader_now.unwrap_or(0),
                term: status.term,
                ..v1::NodeEvent::default()
            };
            let kind = v1::NodeEventKind::LeaderChanged;
            shared.recent_events.record_with(kind, details);
        }
        let members_now = numbers(&status.members);
        // What a node finds when it starts is no change.
        if known_members
            .as_ref()
            .is_some_and(|known| *known != members_now)
        {
            let (voter_node_ids, learner_node_ids) = members_now.clone();
            let details = v1::NodeEvent {
                term: status.term,
                voter_node_ids,
                learner_node_ids,
                ..v1::NodeEvent::default()
            };
            let kind = v1::NodeEventKind::MembersChanged;
            shared.recent_events.record_with(kind, details);
        }
        known_members = Some(members_now);
        if let Ok(Err(_)) = timeout(LOOK_EVERY, leader.changed()).await {
            return;
        }
    }
}

/// Returns the numbers of the voters and of the learners.
fn numbers(members: &Members) -> (Vec<u64>, Vec<u64>) {
    let voters = members.all_voters();
    let learners = members.nodes.keys().copied();
    let learners = learners.filter(|node| !voters.contains(node)).collect();
    (voters.into_iter().collect(), learners)
}
