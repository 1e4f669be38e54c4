//! The replica's reports to the node around it: its status and its members, its times, its contact
//! with a leader, how far it is behind, and where it keeps snapshots.
//!
//! Always true: a node that is cut off counts from the last time that a leader spoke to it, or, if
//! it takes itself for the leader, from the last time that a majority answered it.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use conclave_core::{AckPolicy, ClusterVersion, Now, Timestamp, VersionRange};
use openraft::{Instant as _, ServerState, async_runtime::watch::WatchReceiver as _};

use crate::{
    ClockStatus, Member, NodeMembership, Pace, Replica, Role, Status, convert::members_out,
    snapshot::offer,
};

impl Replica {
    /// Returns the cluster version after the last entry that this node has decided.
    #[must_use]
    pub fn cluster_version(&self) -> ClusterVersion {
        self.inner.version.get()
    }

    /// Returns whether the log has said a cluster version, as far as this node has decided it.
    #[must_use]
    pub fn has_cluster_version(&self) -> bool {
        self.inner.version.is_said()
    }

    /// Returns which voters acknowledgements wait for, after the last entry that this node has
    /// decided.
    #[must_use]
    pub fn ack_policy(&self) -> AckPolicy {
        self.inner.gate.policy()
    }

    /// Returns the cluster versions that this node applies.
    #[must_use]
    pub fn versions(&self) -> VersionRange {
        self.inner.config.versions
    }

    /// Returns where a member is reached: by this node's configuration, else by the log.
    #[must_use]
    pub fn member(&self, node: u64) -> Option<Member> {
        let known = self.inner.config.members.get(&node).cloned();
        known.or_else(|| self.status().members.nodes.get(&node).cloned())
    }

    /// Returns what this replica knows of a node, without copying anything.
    #[must_use]
    pub fn membership_of(&self, node: u64) -> NodeMembership {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        if membership
            .get_joint_config()
            .iter()
            .any(|set| set.contains(&node))
        {
            NodeMembership::Voter
        } else if membership.get_node(&node).is_some() {
            NodeMembership::Learner
        } else {
            let config = &self.inner.config;
            let is_new = membership.get_joint_config().iter().all(BTreeSet::is_empty);
            // Initial members vote before the log says so.
            match is_new && config.bootstrap && config.members.contains_key(&node) {
                true => NodeMembership::Voter,
                false => NodeMembership::Unknown,
            }
        }
    }

    /// Returns whether the task of the consensus engine answers within `limit`.
    pub async fn is_responsive(&self, limit: Duration) -> bool {
        let asked = self.inner.raft.with_raft_state(|_| ());
        matches!(tokio::time::timeout(limit, asked).await, Ok(Ok(())))
    }

    /// Returns the status of this replica.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let role = match (&metrics.running_state, metrics.state) {
            (Err(_), _) | (_, ServerState::Shutdown) => Role::Stopped,
            (_, ServerState::Leader) => Role::Leader,
            (_, ServerState::Follower) => Role::Follower,
            (_, ServerState::Candidate) => Role::Candidate,
            (_, ServerState::Learner) => Role::Learner,
        };
        let applied_index = *self.inner.applied.borrow();
        let set_at = metrics.membership_config.log_id().as_ref();
        let mut members = members_out(metrics.membership_config.membership());
        if members.nodes.is_empty() && self.inner.config.bootstrap {
            // It is not bootstrapped before it takes part.
            members.nodes = self.inner.config.members.clone();
            members.voters = vec![members.nodes.keys().copied().collect()];
        }
        Status {
            role,
            term: metrics.current_term,
            log_index_last: metrics.last_log_index.unwrap_or(0),
            purged_index: metrics.purged.as_ref().map_or(0, |id| id.index()),
            commit_index: metrics
                .cluster_committed
                .as_ref()
                .map_or(0, |id| id.index()),
            applied_index,
            leader: metrics.current_leader,
            members,
            members_settled: set_at.is_some_and(|at| at.index() <= applied_index),
        }
    }

    /// Returns how much time has passed and which date it is, as far as this node knows. A state
    /// that was applied later than that is never behind it by more than the way of an entry.
    #[must_use]
    pub fn now(&self) -> Now {
        self.inner.clocks.now()
    }

    /// Returns the time of this node's own clock: right or wrong, for the others to compare.
    #[must_use]
    pub fn own_clock(&self) -> Timestamp {
        self.inner.clocks.own()
    }

    /// Returns the state of this node's own clock.
    #[must_use]
    pub fn clock_status(&self) -> ClockStatus {
        self.inner.clocks.status()
    }

    /// Returns how fast this node works now.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.inner.meter.pace()
    }

    /// Returns how long ago a leader last reached this replica; `None` if none has.
    #[must_use]
    pub fn contact(&self) -> Option<Duration> {
        self.inner.contact.last().map(|at| at.elapsed())
    }

    /// Returns how long ago a leader that has a majority was heard, or a majority answered this
    /// leader. What others have decided since then may be unknown here. A leader that is the only
    /// voter is its own majority, and has no other to hear from.
    #[must_use]
    pub fn cut_off_for(&self) -> Duration {
        let status = self.status();
        let alone = BTreeSet::from([self.inner.config.node]);
        if status.role == Role::Leader && status.members.voters.iter().all(|set| *set == alone) {
            return Duration::ZERO;
        }
        let metrics = self.inner.raft.metrics();
        let acked = {
            let metrics = metrics.borrow_watched();
            metrics.last_quorum_acked.map(|acked| acked.elapsed())
        };
        let heard = self.inner.contact.last_or_start().elapsed();
        acked.map_or(heard, |acked| heard.min(acked))
    }

    /// Returns how many entries that are committed this node has not applied yet. `None` if no
    /// leader says so within `limit`.
    pub async fn entries_behind(&self, limit: Duration) -> Option<u64> {
        let confirmed = tokio::time::timeout(limit, self.inner.reads.confirm()).await;
        let committed = confirmed.ok()?.ok()?.ok()?;
        Some(committed.saturating_sub(*self.applied().borrow()))
    }

    /// Returns where received snapshots are put before [`Replica::on_snapshot`], in files whose
    /// names begin with `receive`; others are removed at the next start.
    #[must_use]
    pub fn snapshots_dir(&self) -> PathBuf {
        offer::directory(&self.inner.config.data)
    }
}
