//! What the owner of a replica says about elections and leadership.

use std::time::Duration;

use crate::Replica;

impl Replica {
    /// Notes that the connection from another node has broken. If that one leads, this node
    /// campaigns as soon as its lease has run out, and not only after an election timeout.
    pub fn connection_lost(&self, node: u64) {
        self.inner.campaign.lost(node);
    }

    /// Leaves it to the other voters to campaign early, or takes its turn among them again. It is
    /// elected all the same if none of them is.
    pub fn stand_back(&self, stands_back: bool) {
        self.inner.campaign.stand_back(stands_back);
    }

    /// Transfers leadership, if this node has it, to the full follower with the most of the log.
    /// Returns whether another node leads when `limit` has passed.
    pub async fn step_down(&self, limit: Duration) -> bool {
        self.step_down_for(None, limit).await
    }

    /// Transfers leadership likewise, to node `to` if there is one.
    pub(crate) async fn step_down_for(&self, to: Option<u64>, limit: Duration) -> bool {
        self.inner.transferrer.transfer(to, limit).await
    }
}
