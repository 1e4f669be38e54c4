//! Writes memberships to the log, and finishes a replacement that another leader began.
//!
//! Always true: a membership is written only in the place of the one that it was made from; a
//! leader that dies between the two entries of a replacement leaves nothing that the next leader
//! does not finish.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    ChangeMembers, EntryPayload, ServerState,
    async_runtime::watch::WatchReceiver as _,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
    raft::Precondition,
};
use tokio::time::{sleep, timeout};

use crate::{
    ChangeError, Member, Members,
    apply::Raft,
    convert::{LogId, TypeConfig, members_in, members_out},
};

/// Pause before an entry is offered to the engine again, which is not ready for it yet.
pub(crate) const AGAIN: Duration = Duration::from_millis(20);
/// Time in which an entry of the finisher is committed; after that it looks again at what is so.
const FINISH_LIMIT: Duration = Duration::from_secs(1);

/// Finishes joint configurations for as long as the node runs.
pub(crate) struct Finisher {
    pub(crate) raft: Raft,
}

impl Finisher {
    /// Writes the second entry of each replacement while this node leads; ends with the engine.
    pub(crate) async fn run(self) {
        let mut metrics = self.raft.server_metrics();
        loop {
            let seen = NewestMembership::new(&metrics.borrow_and_update());
            if seen.leads && seen.committed && seen.members.voters.len() > 1 {
                let members = finished(&seen.members);
                let written = write(&self.raft, &members, &seen.at);
                match timeout(FINISH_LIMIT, written).await {
                    Ok(Ok(())) => {
                        let voters = members.all_voters();
                        tracing::info!(?voters, "replacement finished");
                    }
                    Ok(Err(NotWritten::Error(ChangeError::Stopping))) => return,
                    Ok(Err(NotWritten::Error(error))) => {
                        tracing::debug!(%error, "failed to finish the replacement; retrying");
                    }
                    Ok(Err(NotWritten::NotYet)) | Err(_) => {}
                }
                sleep(AGAIN).await;
            } else if metrics.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The newest membership in the log of this node, which may not be committed.
pub(crate) struct NewestMembership {
    pub(crate) leads: bool,
    pub(crate) leader: Option<u64>,
    pub(crate) members: Members,
    pub(crate) at: Option<LogId>,
    pub(crate) committed: bool,
}

impl NewestMembership {
    pub(crate) fn new(metrics: &openraft::metrics::RaftServerMetrics<TypeConfig>) -> Self {
        let newest = &metrics.membership_config;
        Self {
            leads: metrics.state == ServerState::Leader,
            leader: metrics.current_leader,
            members: members_out(newest.membership()),
            at: *newest.log_id(),
            committed: newest.log_id() == metrics.committed_membership_config.log_id(),
        }
    }
}

/// Returns the first of two entries: both sets of voters, and all nodes of both.
pub(crate) fn joint(before: &Members, after: &Members) -> Members {
    let voters = [before.all_voters(), after.all_voters()];
    Members {
        voters: voters.into(),
        nodes: before.nodes.clone(),
    }
}

/// Returns the second entry of a replacement: the last set of voters. A voter of an earlier set
/// that is not in the last one leaves the cluster: only replacements make two sets.
fn finished(joint: &Members) -> Members {
    let voters: BTreeSet<u64> = joint.voters.last().cloned().unwrap_or_default();
    let replaced = joint.all_voters();
    let stays = |node: &u64| voters.contains(node) || !replaced.contains(node);
    let nodes = joint.nodes.clone().into_iter();
    Members {
        nodes: nodes.filter(|(node, _)| stays(node)).collect(),
        voters: vec![voters],
    }
}

/// The reason why an entry is not written, or not known to be.
pub(crate) enum NotWritten {
    /// The engine is not ready for it, or another change came first: look again.
    NotYet,
    Error(ChangeError),
}

/// Writes one entry with this membership, if the newest one is still the one of entry `at`, and
/// waits until it is committed.
pub(crate) async fn write(
    raft: &Raft,
    members: &Members,
    at: &Option<LogId>,
) -> Result<(), NotWritten> {
    let broken = |error: String| NotWritten::Error(ChangeError::Broken(error));
    let members = members_in(members.clone()).map_err(|error| broken(error.to_string()))?;
    let unchanged = Precondition::LastMembershipLogId {
        last_membership_log_id: *at,
    };
    let written = raft.append_membership(members, EntryPayload::Blank, [unchanged]);
    written.await.map(drop).map_err(not_written)
}

/// Writes one entry in which a member is this one, if the newest membership is still the one of
/// entry `at`, and waits until it is committed.
pub(crate) async fn set_member(
    raft: &Raft,
    node: u64,
    member: Member,
    at: &Option<LogId>,
) -> Result<(), NotWritten> {
    let unchanged = Precondition::LastMembershipLogId {
        last_membership_log_id: *at,
    };
    let change = ChangeMembers::SetNodes(BTreeMap::from([(node, member)]));
    let written = raft.change_membership_if(change, true, [unchanged]);
    written.await.map(drop).map_err(not_written)
}

impl From<NotWritten> for ChangeError {
    fn from(error: NotWritten) -> Self {
        match error {
            NotWritten::NotYet => Self::UnderWay,
            NotWritten::Error(error) => error,
        }
    }
}

type Failed = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

fn not_written(error: Failed) -> NotWritten {
    let broken = |error: String| NotWritten::Error(ChangeError::Broken(error));
    let error = match error {
        RaftError::Fatal(_) => return NotWritten::Error(ChangeError::Stopping),
        RaftError::APIError(error) => error,
    };
    match error {
        // Without a leader: this one has to hear from a majority first.
        ClientWriteError::ForwardToLeader(to) if to.leader_id.is_none() => NotWritten::NotYet,
        ClientWriteError::ForwardToLeader(to) | ClientWriteError::LogEntryDiscarded(to) => {
            NotWritten::Error(ChangeError::NotLeader {
                leader: to.leader_id,
            })
        }
        ClientWriteError::PreconditionFailed(_)
        | ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_),
        ) => NotWritten::NotYet,
        ClientWriteError::ChangeMembershipError(
            error @ (ChangeMembershipError::EmptyMembership(_)
            | ChangeMembershipError::LearnerNotFound(_)
            | ChangeMembershipError::UnsupportedMembershipTransition(_)
            | ChangeMembershipError::NodeMetadataChanged(_)),
        ) => broken(error.to_string()),
    }
}
