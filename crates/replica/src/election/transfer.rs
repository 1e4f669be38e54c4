//! Transfers leadership to another voter.
//!
//! Always true: a transfer counts as done only when this node knows another leader, not when the
//! engine has taken the order. A witness never keeps leadership while a full voter answers.

use std::time::Duration;

use openraft::{Instant as _, async_runtime::watch::WatchReceiver as _};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::apply::Raft;

/// How often the leader looks whether the transfer of leadership has happened.
const TRANSFER_POLL: Duration = Duration::from_millis(10);
/// How long a witness tries to hand leadership on before it says that it could not.
const HAND_ON_LIMIT: Duration = Duration::from_secs(2);

/// Transfers leadership from this node.
#[derive(Clone)]
pub(crate) struct Transferrer {
    pub(crate) node: u64,
    pub(crate) raft: Raft,
    /// The leader that this node knows.
    pub(crate) leader: watch::Receiver<Option<u64>>,
    /// How long a follower that has answered counts as alive.
    pub(crate) lease: Duration,
}

impl Transferrer {
    /// Transfers leadership whenever this node has it; ends with the replica. For a witness: it is
    /// elected only if no full voter has as much of the log, and these get it meanwhile.
    pub(crate) async fn never_lead(self) {
        let (node, mut leader) = (self.node, self.leader.clone());
        while leader
            .wait_for(|leader| *leader == Some(node))
            .await
            .is_ok()
        {
            tracing::info!(node, "a witness was elected: handing leadership on");
            if !self.transfer(None, HAND_ON_LIMIT).await {
                tracing::warn!(node, "no full voter has taken leadership over yet");
            }
        }
    }

    /// Transfers leadership, if this node has it, to node `to`, or else to the full follower with
    /// the most of the log. Returns whether another node leads when `limit` has passed.
    pub(crate) async fn transfer(&self, to: Option<u64>, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let node = self.node;
        let mut asked = None;
        loop {
            if self.leader.borrow().is_some_and(|leader| leader != node) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            if let Some(successor) = to.or_else(|| self.most_caught_up_follower()) {
                if asked.replace(successor) != Some(successor) {
                    tracing::info!(node, peer = successor, "transferring leadership");
                }
                if self
                    .raft
                    .trigger()
                    .transfer_leader(successor)
                    .await
                    .is_err()
                {
                    return false;
                }
            }
            let mut leader = self.leader.clone();
            let gone = leader.wait_for(|leader| leader.is_some_and(|leader| leader != node));
            let patience = (Instant::now() + 20 * TRANSFER_POLL).min(deadline);
            let _ = timeout_at(patience, gone).await;
        }
    }

    /// Returns the full voter with the most of the log among those that answer.
    fn most_caught_up_follower(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let is_full = |node: &u64| {
            let member = membership.get_node(node);
            member.is_some_and(|member| !member.witness)
        };
        let voters: Vec<u64> = membership.voter_ids().filter(is_full).collect();
        let replication = metrics.replication.as_ref()?;
        let others = replication
            .iter()
            .filter(|(node, _)| **node != self.node && voters.contains(node));
        // A dead follower of an idle leader has the whole log, too.
        let answers = |node: u64| {
            let heard = metrics.heartbeat.as_ref().and_then(|of| of.get(&node));
            heard.is_some_and(|heard| heard.as_ref().is_some_and(|at| at.elapsed() < self.lease))
        };
        others
            .max_by_key(|(node, matched)| (answers(**node), matched.as_ref().map(|id| id.index())))
            .map(|(id, _)| *id)
    }
}
