//! Changes the membership through the log.
//!
//! A change of one voter is one entry. A replacement of a voter is two entries, and so is a change
//! of two voters while acknowledgements wait for all: first both sets of voters (a joint
//! configuration), then the new set alone. The finisher (`finisher.rs`) of the
//! node that leads writes the second entry, also when an earlier leader wrote the first one.
//!
//! Always true: one change at a time; a change starts from a committed membership with one set of
//! voters; a leader that dies or loses leadership at any moment leaves nothing that the next
//! leader does not finish. A node that does not lead changes nothing.

use std::time::Duration;

use conclave_core::{AckPolicy, NodeId};
use openraft::{Instant as _, async_runtime::watch::WatchReceiver as _};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    Change, ChangeError, MEMBERS_MAX, Member, Members, Refusal, Replica, Role,
    convert::LogId,
    membership::finisher::{AGAIN, NewestMembership, NotWritten, joint, set_member, write},
};

/// Entries that a node may lack when it becomes a voter or the leader: it has them within a
/// heartbeat or two.
const LAG_MAX: u64 = 1000;
/// Time in which the node that is to lead has to answer a heartbeat: several heartbeats.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// How often is looked whether it has.
const ANSWER_POLL: Duration = Duration::from_millis(10);

impl Replica {
    /// Changes the membership and returns the membership after that. A leader that is about to
    /// lose its vote transfers leadership first, and the change fails with
    /// [`ChangeError::NotLeader`].
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn change_members(
        &self,
        change: &Change,
        limit: Duration,
    ) -> Result<Members, ChangeError> {
        let deadline = Instant::now() + limit;
        loop {
            let (members, at) = self.settled(deadline).await?;
            let Some(after) = members.after(change).map_err(ChangeError::Refused)? else {
                return Ok(members);
            };
            self.allows(change, &members, &at, deadline).await?;
            if let Some((node, member)) = marked_otherwise(&members, &after) {
                // The engine changes a member and the voters in two entries.
                let written = set_member(&self.inner.raft, node, member, &at);
                match timeout_at(deadline, written).await {
                    Ok(Ok(())) => {}
                    Ok(Err(NotWritten::NotYet)) => sleep(AGAIN).await,
                    Ok(Err(NotWritten::Error(error))) => return Err(error),
                    Err(_) => return Err(ChangeError::OutcomeUnknown { waited: limit }),
                }
                continue;
            }
            let votes = |node: &u64| members.all_voters().contains(node);
            let next = match change {
                Change::Replace { old, .. } if votes(old) => joint(&members, &after),
                Change::Promote(_) | Change::Remove(_) if self.needs_both(&members, &after) => {
                    joint(&members, &after)
                }
                _ => after.clone(),
            };
            let written = write(&self.inner.raft, &next, &at);
            match timeout_at(deadline, written).await {
                Ok(Ok(())) if next.voters.len() == 1 => return Ok(after),
                // The finisher writes the second entry; the next round waits for it.
                Ok(Ok(())) => {}
                Ok(Err(NotWritten::NotYet)) => sleep(AGAIN).await,
                Ok(Err(NotWritten::Error(error))) => return Err(error),
                Err(_) => return Err(ChangeError::OutcomeUnknown { waited: limit }),
            }
        }
    }

    /// Returns the membership before and after a change, without changing it; `None` if the
    /// change has happened already.
    ///
    /// # Errors
    /// See [`ChangeError`]. What only a leader that is about to change it needs is not checked.
    pub async fn preview_change(
        &self,
        change: &Change,
        limit: Duration,
    ) -> Result<(Members, Option<Members>), ChangeError> {
        let deadline = Instant::now() + limit;
        let (members, at) = self.settled(deadline).await?;
        let after = members.after(change).map_err(ChangeError::Refused)?;
        if let (Change::Add { node, .. }, Some(_)) = (change, &after) {
            self.is_number_free(*node, &at, deadline).await?;
        }
        Ok((members, after))
    }

    /// Waits until the membership is committed and has one set of voters, and returns it with its
    /// entry.
    async fn settled(&self, deadline: Instant) -> Result<(Members, Option<LogId>), ChangeError> {
        let mut metrics = self.inner.raft.server_metrics();
        loop {
            let seen = NewestMembership::new(&metrics.borrow_and_update());
            if !seen.leads {
                return Err(ChangeError::NotLeader {
                    leader: seen.leader,
                });
            }
            if seen.committed && seen.members.voters.len() == 1 {
                return Ok((seen.members, seen.at));
            }
            match timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(ChangeError::Stopping),
                Err(_) => return Err(ChangeError::UnderWay),
            }
        }
    }

    /// Checks what the membership alone does not show.
    async fn allows(
        &self,
        change: &Change,
        members: &Members,
        at: &Option<LogId>,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        match change {
            Change::Add { node, .. } => self.is_number_free(*node, at, deadline).await,
            Change::Promote(node) => self.nearly_caught_up(*node),
            Change::Demote(node) | Change::Remove(node) | Change::Replace { old: node, .. }
                if *node == self.node() =>
            {
                let left = deadline.saturating_duration_since(Instant::now());
                self.step_down(left).await;
                let leader = *self.leader().borrow();
                Err(ChangeError::NotLeader {
                    leader: leader.filter(|leader| *leader != self.node()),
                })
            }
            Change::Replace { old, new } if members.all_voters().contains(old) => {
                self.nearly_caught_up(*new)
            }
            Change::Demote(_) | Change::Remove(_) | Change::Replace { .. } => Ok(()),
        }
    }

    /// Returns whether a change must not be made without both of two voters. One of them could
    /// commit it alone, and go on with a third; the other would take itself for the one without
    /// which nothing is acknowledged.
    fn needs_both(&self, before: &Members, after: &Members) -> bool {
        let voters = before.all_voters();
        self.ack_policy() == AckPolicy::All && voters.len() == 2 && voters != after.all_voters()
    }

    /// Checks that no node has had this number, and that it follows those that were given. The
    /// state knows every number up to the membership that the change starts from.
    async fn is_number_free(
        &self,
        node: u64,
        at: &Option<LogId>,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        let index = at.as_ref().map_or(0, |at| at.index());
        let left = deadline.saturating_duration_since(Instant::now());
        let applied = self.wait_applied(index, left).await;
        applied.map_err(|_| ChangeError::UnderWay)?;
        let reader = self.reader();
        let known = spawn_blocking(move || reader.nodes()).await;
        let known = known.map_err(|_| ChangeError::Stopping)?;
        let known = known.map_err(|error| ChangeError::Broken(error.to_string()))?;
        let last = known.last.0;
        if known.retired.contains(&NodeId(node)) {
            return Err(ChangeError::Refused(Refusal::NumberRetired(node)));
        }
        if node > last.saturating_add(MEMBERS_MAX as u64) {
            return Err(ChangeError::Refused(Refusal::NumberTooFar { node, last }));
        }
        Ok(())
    }

    /// Transfers leadership to a voter and returns the leader after that. `None`: to the voter
    /// with the most of the log.
    ///
    /// # Errors
    /// See [`ChangeError`]. If the voter does not answer or lacks too much of the log, this node
    /// goes on leading.
    pub async fn transfer_leader(
        &self,
        to: Option<u64>,
        limit: Duration,
    ) -> Result<u64, ChangeError> {
        let deadline = Instant::now() + limit;
        let status = self.status();
        if status.role != Role::Leader {
            return Err(ChangeError::NotLeader {
                leader: status.leader,
            });
        }
        match to {
            Some(node) if node == self.node() => return Ok(node),
            Some(node) if !status.members.all_voters().contains(&node) => {
                return Err(ChangeError::Refused(Refusal::NoSuchNode(node)));
            }
            Some(node) if status.members.is_witness(node) => {
                return Err(ChangeError::Refused(Refusal::Witness(node)));
            }
            Some(node) => {
                self.answers(node, deadline.min(Instant::now() + ANSWER_LIMIT))
                    .await?;
                self.nearly_caught_up(node)?;
            }
            None => {}
        }
        self.step_down_for(to, deadline.saturating_duration_since(Instant::now()))
            .await;
        let leader = *self.leader().borrow();
        match (to, leader) {
            (Some(wanted), leader) if leader != to => {
                Err(ChangeError::NotTakenOver { wanted, leader })
            }
            (_, Some(leader)) if leader != self.node() => Ok(leader),
            _ => Err(ChangeError::OutcomeUnknown { waited: limit }),
        }
    }

    /// Waits until the node has answered a heartbeat that was sent after the call.
    async fn answers(&self, node: u64, deadline: Instant) -> Result<(), ChangeError> {
        let began = Instant::now();
        let sent = self.inner.raft.trigger().heartbeat().await;
        sent.map_err(|_| ChangeError::Stopping)?;
        loop {
            let silent = self.silence_of(node).unwrap_or(Duration::MAX);
            if silent <= began.elapsed() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ChangeError::NoAnswer { node });
            }
            sleep(ANSWER_POLL).await;
        }
    }

    /// Returns the time since the last heartbeat was sent that the node has answered; `None` if
    /// there is none, or if this node does not lead.
    pub(crate) fn silence_of(&self, node: u64) -> Option<Duration> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let heard = metrics.heartbeat.as_ref()?.get(&node)?.as_ref()?;
        Some(heard.elapsed())
    }

    fn nearly_caught_up(&self, node: u64) -> Result<(), ChangeError> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics
            .replication
            .as_ref()
            .and_then(|of| of.get(&node))
            .and_then(|id| id.as_ref().map(|id| id.index()));
        let last = metrics.last_log_index.unwrap_or(0);
        let entries = last.saturating_sub(matched.unwrap_or(0));
        match matched {
            Some(_) if entries <= LAG_MAX => Ok(()),
            _ => Err(ChangeError::LearnerBehind { node, entries }),
        }
    }
}

/// Returns the member that is set aside before or after a change, and not the other way.
fn marked_otherwise(before: &Members, after: &Members) -> Option<(u64, Member)> {
    let mut members = after.nodes.iter();
    let marked = |(node, member): &(&u64, &Member)| {
        let before = before.nodes.get(node);
        before.is_some_and(|before| before.set_aside != member.set_aside)
    };
    members
        .find(marked)
        .map(|(node, member)| (*node, member.clone()))
}
