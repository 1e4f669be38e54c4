//! Takes the clients of this node to the others, for as long as it is drained or until it has
//! stopped.
//!
//! The node first stops being ready, then another voter leads, then streams are told to go on
//! elsewhere, each with the token that resumes it. Calls are served for a while longer, so that
//! load balancers and clients that know one address notice; then each is refused with `GOING_AWAY`.
//!
//! Always true: the node goes on voting and replicating. It leads while it leaves only if no other
//! voter can. What an operator asks for ends with the process: a node that starts serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use conclave_core::{AuditAct, NodeId};
use conclave_replica::{Lane, NodeMembership, Role};
use conclave_wire::{Problem, Reason, v1};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    auth::credential::Credential,
    cluster::{leader::preferred::LAG_MAX, membership::Margin},
    context::{audit::ToNote, call::Call, draining::Stage, node_context::NodeContext},
    protocol::problems,
};

/// Longest time for which a node that leaves looks for a voter that leads in its place.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);
/// How long one transfer may take.
const TRANSFER_LIMIT: Duration = Duration::from_millis(500);
/// Pause before a transfer that has failed is tried again.
const AGAIN: Duration = Duration::from_millis(20);
/// How long another node may take to answer a request to drain it.
const PEER_LIMIT: Duration = Duration::from_secs(1);
/// How often a node that is away looks whether it was elected all the same.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a voter reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    is_draining: bool,
    has_room: bool,
    applied_index: u64,
}

/// Leaves whenever the node is asked to, and comes back; never ends. Calls are served for `grace`
/// after streams were sent away.
pub(crate) async fn keep(shared: Arc<NodeContext>, grace: Duration) {
    let mut stage = shared.draining.subscribe();
    loop {
        // The context, and so the sender, outlives this task.
        let _ = stage.wait_for(|stage| *stage != Stage::Serving).await;
        let node = shared.identity.node;
        tracing::info!(node, "leaving: clients go on with the other nodes");
        hand_over(&shared).await;
        shared.live.stop();
        let is_back = timeout(grace, stage.wait_for(|stage| *stage == Stage::Serving));
        if is_back.await.is_err() {
            shared.draining.go();
            while shared.draining.stage() != Stage::Serving {
                hand_over(&shared).await;
                let is_back = stage.wait_for(|stage| *stage == Stage::Serving);
                let _ = timeout(LOOK_EVERY, is_back).await;
            }
        }
        shared.live.go_on();
        tracing::info!(node, "serving clients again");
    }
}

/// Has another voter lead, if this node leads and another one can.
async fn hand_over(shared: &NodeContext) {
    let deadline = Instant::now() + HAND_OVER_LIMIT;
    while shared.replica.status().role == Role::Leader && Instant::now() < deadline {
        let Some(node) = successor_of(shared).await else {
            return;
        };
        let done = shared.replica.transfer_leader(Some(node), TRANSFER_LIMIT);
        if let Err(error) = done.await {
            let problem = problems::of_change(&error);
            tracing::debug!(node, %problem, "failed to transfer leadership; trying again");
            sleep(AGAIN).await;
        }
    }
}

/// Asks the voters, and returns the one that leads in the place of this node.
async fn successor_of(shared: &NodeContext) -> Option<u64> {
    let told = told(shared).await;
    let status = shared.replica.status();
    let preferred = shared.preferred_leader().map(|NodeId(node)| node);
    let (voters, last) = (&status.members.voters, status.log_index_last);
    successor(voters, &told, shared.identity.node, last, preferred)
}

/// Returns what each member reports that answers.
async fn told(shared: &NodeContext) -> BTreeMap<u64, Told> {
    let statuses = shared.statuses().await.into_iter();
    let told = statuses.filter_map(|(node, _, status)| {
        let status = status?;
        let told = Told {
            is_draining: status.draining || status.witness,
            has_room: !status.low_space,
            applied_index: status.applied_index,
        };
        Some((node, told))
    });
    told.collect()
}

/// Returns the voter that leads in the place of `own`: one that stays, has nearly everything, and
/// if possible has room on its disk, is preferred, and has most of the log.
fn successor(
    voters: &[BTreeSet<u64>],
    told: &BTreeMap<u64, Told>,
    own: u64,
    log_index_last: u64,
    preferred: Option<u64>,
) -> Option<u64> {
    let votes = |node: &u64| voters.iter().all(|set| set.contains(node));
    let is_near = |told: &Told| told.applied_index.saturating_add(LAG_MAX) >= log_index_last;
    told.iter()
        .filter(|(node, told)| **node != own && votes(node) && !told.is_draining && is_near(told))
        .max_by_key(|(node, told)| {
            let is_preferred = Some(**node) == preferred;
            let applied = told.applied_index;
            (
                told.has_room,
                is_preferred,
                applied,
                std::cmp::Reverse(**node),
            )
        })
        .map(|(node, _)| *node)
}

impl NodeContext {
    /// Begins to drain a member, this node or another one, or ends that; returns how far it is.
    pub(crate) async fn drain_node(
        &self,
        call: Call,
        request: v1::DrainNodeRequest,
    ) -> Result<v1::DrainNodeResponse, Problem> {
        self.for_operators(&call, "DrainNode").await?;
        let node = request.node_id;
        if node == 0 || node == self.identity.node {
            return self.drain_here(&request, &call.credential).await;
        }
        let sentence = format!("node {node} is no member of the cluster");
        let no_such = || Problem::refused(Reason::NoSuchNode, sentence);
        let member = self.replica.member(node).ok_or_else(no_such)?;
        let peer = self.transport.grpc_peer(node, &member, Lane::Calls);
        let limit = call.deadline.left().min(PEER_LIMIT);
        let asked = peer.drain_node(request, &call.credential, limit).await;
        asked.map_err(|problem| match problem {
            // Neither does the call need a leader, nor can another node answer it.
            Problem::NoLeader { .. } => {
                let sentence = format!("node {node} does not answer");
                Problem::refused(Reason::NodeUnreachable, sentence)
            }
            problem => problem,
        })
    }

    /// Begins to drain this node at the request of an operator, or ends that; returns how far it
    /// is. Only what changes something is noted for the audit log, because callers ask again and
    /// again.
    pub(crate) async fn drain_here(
        &self,
        request: &v1::DrainNodeRequest,
        by: &Credential,
    ) -> Result<v1::DrainNodeResponse, Problem> {
        self.refuse_if_stopping()?;
        let was_serving = self.draining.stage() == Stage::Serving;
        let drained = self.drain_or_come_back(request).await;
        if was_serving != request.undrain || drained.is_err() {
            let act = ToNote {
                act: match request.undrain {
                    true => AuditAct::UndrainNode,
                    false => AuditAct::DrainNode,
                },
                target: &format!("node {}", self.identity.node),
                detail: if request.force { "force" } else { "" },
                problem: drained.as_ref().err(),
            };
            self.note_act(by, act).await;
        }
        drained
    }

    async fn drain_or_come_back(
        &self,
        request: &v1::DrainNodeRequest,
    ) -> Result<v1::DrainNodeResponse, Problem> {
        if request.undrain {
            match self.draining.come_back() {
                true => {}
                false => return Err(Problem::GoingAway),
            }
        } else {
            if !request.force && self.draining.stage() == Stage::Serving {
                self.others_suffice().await?;
            }
            self.draining.begin();
        }
        Ok(v1::DrainNodeResponse {
            node_id: self.identity.node,
            draining: self.is_draining(),
            drained: self.draining.stage() == Stage::Away,
            leader_node_id: self.replica.leader().borrow().unwrap_or(0),
            streams: self.live.open_streams(),
        })
    }

    /// Refuses to drain this node if the others could not serve without it: it is about to be
    /// stopped.
    async fn others_suffice(&self) -> Result<(), Problem> {
        let own = self.identity.node;
        let statuses = self.statuses().await;
        let mut staying = self.taking_entries(&statuses);
        staying.remove(&own);
        for (node, _, status) in &statuses {
            if status.as_ref().is_some_and(|told| told.draining) {
                staying.remove(node);
            }
        }
        let voters = self.replica.status().members.voters;
        let is_voter = self.replica.membership_of(own) == NodeMembership::Voter;
        let suffices = |voters: &BTreeSet<u64>| Margin::of(voters, &staying).quorum;
        if !is_voter || voters.iter().all(suffices) {
            return Ok(());
        }
        let sentence = "without this node too few voters answer, take entries and are not drained";
        Err(Problem::refused(Reason::WouldLoseQuorum, sentence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Told = Told {
        is_draining: false,
        has_room: true,
        applied_index: 100,
    };

    fn next(told: &[(u64, Told)], preferred: Option<u64>) -> Option<u64> {
        let voters = vec![BTreeSet::from([1, 2, 3])];
        let told = told.iter().copied().collect();
        successor(&voters, &told, 1, 100, preferred)
    }

    #[test]
    fn a_node_that_leaves_is_followed_by_a_voter_that_stays() {
        let leaving = Told {
            is_draining: true,
            ..FREE
        };
        let low = Told {
            has_room: false,
            ..FREE
        };
        let newer = Told {
            applied_index: 101,
            ..FREE
        };
        assert_eq!(next(&[(1, leaving), (2, FREE), (3, newer)], None), Some(3));
        assert_eq!(
            next(&[(1, leaving), (2, FREE), (3, newer)], Some(2)),
            Some(2)
        );
        assert_eq!(next(&[(1, leaving), (2, FREE), (3, low)], Some(3)), Some(2));
        // A voter without room is better than a pause.
        assert_eq!(next(&[(1, leaving), (2, leaving), (3, low)], None), Some(3));
        assert_eq!(
            next(&[(1, leaving), (2, leaving), (3, leaving)], None),
            None
        );
        assert_eq!(next(&[(1, FREE)], Some(1)), None);
        // Not a voter.
        assert_eq!(next(&[(1, FREE), (4, FREE)], Some(4)), None);
    }

    #[test]
    fn a_voter_that_lacks_much_does_not_follow() {
        let voters = vec![BTreeSet::from([1, 2])];
        let told = BTreeMap::from([(1, FREE), (2, FREE)]);
        let last = 100 + LAG_MAX;
        assert_eq!(successor(&voters, &told, 1, last, None), Some(2));
        assert_eq!(successor(&voters, &told, 1, last + 1, None), None);
    }
}
