//! Admits a replica that waits, and moves a member to other addresses.
//!
//! Always true: only the leader commits addresses, and only while no other change is under way.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::timeout;

use crate::{
    ChangeError, Member, Replica, StartError,
    engine::bootstrap,
    membership::finisher::{NewestMembership, set_member},
};

impl Replica {
    /// Returns whether this replica takes part.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.inner.participation.check().is_ok()
    }

    /// Lets a replica take part that was started without. An empty log is bootstrapped now, if
    /// the configuration says so.
    ///
    /// # Errors
    /// [`StartError::Engine`] if the engine has stopped.
    pub async fn admit(&self) -> Result<(), StartError> {
        if self.inner.config.bootstrap {
            bootstrap(&self.inner.raft, &self.inner.config).await?;
        }
        self.inner.participation.admit();
        self.inner.raft.runtime_config().elect(true);
        Ok(())
    }

    /// Returns the index up to which `node` has acknowledged the log to this leader, in this term.
    /// `None` if this replica does not lead, or nothing was acknowledged.
    #[must_use]
    pub fn acknowledged_by(&self, node: u64) -> Option<u64> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref()?.get(&node)?.as_ref()?;
        Some(matched.index())
    }

    /// Commits other addresses of a member, if this node leads.
    ///
    /// # Errors
    /// See [`ChangeError`]; asking again is safe.
    pub async fn move_member(
        &self,
        node: u64,
        member: Member,
        limit: Duration,
    ) -> Result<(), ChangeError> {
        let now = {
            let metrics = self.inner.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            NewestMembership::new(&metrics)
        };
        if !now.leads {
            let leader = now.leader;
            return Err(ChangeError::NotLeader { leader });
        }
        if now.members.voters.len() > 1 {
            return Err(ChangeError::UnderWay);
        }
        match now.members.nodes.get(&node) {
            Some(known) if !known.is_at(&member) => {
                let member = known.moved_to(&member);
                let written = set_member(&self.inner.raft, node, member, &now.at);
                match timeout(limit, written).await {
                    Ok(written) => written.map_err(ChangeError::from),
                    Err(_) => Err(ChangeError::OutcomeUnknown { waited: limit }),
                }
            }
            // It is so, or the member is gone.
            Some(_) | None => Ok(()),
        }
    }
}
