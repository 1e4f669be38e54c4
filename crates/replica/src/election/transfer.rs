//! Transfers leadership to another voter.
//!
//! Always true: a transfer counts as done only when this node knows another leader, not when the
//! engine has taken the order.

use std::time::Duration;

use openraft::{Instant as _, async_runtime::watch::WatchReceiver as _};
use tokio::time::{Instant, timeout_at};

use crate::Replica;

/// How often the leader looks whether the transfer of leadership has happened.
const TRANSFER_POLL: Duration = Duration::from_millis(10);

impl Replica {
    /// Transfers leadership, if this node has it, to the follower with the most of the log. Returns
    /// whether another node leads when `limit` has passed.
    pub async fn step_down(&self, limit: Duration) -> bool {
        self.step_down_for(None, limit).await
    }

    /// Transfers leadership likewise, to node `to` if there is one.
    pub(crate) async fn step_down_for(&self, to: Option<u64>, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let node = self.inner.config.node;
        let mut asked = None;
        loop {
            if self
                .inner
                .leader
                .borrow()
                .is_some_and(|leader| leader != node)
            {
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
                    .inner
                    .raft
                    .trigger()
                    .transfer_leader(successor)
                    .await
                    .is_err()
                {
                    return false;
                }
            }
            let mut leader = self.inner.leader.clone();
            let gone = leader.wait_for(|leader| leader.is_some_and(|leader| leader != node));
            let patience = (Instant::now() + 20 * TRANSFER_POLL).min(deadline);
            let _ = timeout_at(patience, gone).await;
        }
    }

    /// Returns the voter with the most of the log among those that answer.
    fn most_caught_up_follower(&self) -> Option<u64> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
        let replication = metrics.replication.as_ref()?;
        let others = replication
            .iter()
            .filter(|(node, _)| **node != self.inner.config.node && voters.contains(node));
        // A dead follower of an idle leader has the whole log, too.
        let lease = Duration::from_millis(self.inner.config.timers.election_max_ms);
        let answers = |node: u64| {
            let heard = metrics.heartbeat.as_ref().and_then(|of| of.get(&node));
            heard.is_some_and(|heard| heard.as_ref().is_some_and(|at| at.elapsed() < lease))
        };
        others
            .max_by_key(|(node, matched)| (answers(**node), matched.as_ref().map(|id| id.index())))
            .map(|(id, _)| *id)
    }
}
