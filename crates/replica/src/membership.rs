//! Changes of the membership: who belongs to the cluster, who votes, who leads.
//!
//! Always true: one change at a time, each committed by a majority of the old voters and of the
//! new ones; a change that was asked for again once it is so changes nothing. Asked of a node
//! that does not lead, nothing happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    ChangeMembers,
    async_runtime::watch::WatchReceiver as _,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
};
use tokio::time::{Instant, timeout_at};

use crate::{Member, Members, Replica, Role};

/// Voters of a cluster at most: more would make every acknowledgement wait for more disks.
pub const VOTERS_MAX: usize = 7;
/// Members of a cluster at most, learners included.
pub const MEMBERS_MAX: usize = 32;
/// Entries that a learner may lack when it becomes a voter: it has them within a heartbeat or two.
const LAG_MAX: u64 = 1000;

/// What shall change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new node becomes a learner.
    Add {
        /// Its number.
        node: u64,
        /// Where it is reached.
        member: Member,
        /// The member whose place it will take, and whose addresses it may have.
        replaces: Option<u64>,
    },
    /// A learner becomes a voter.
    Promote(u64),
    /// A voter becomes a learner.
    Demote(u64),
    /// A node belongs to the cluster no longer.
    Remove(u64),
    /// A learner takes the place of another node, in one step: there is no moment with a voter
    /// less or more.
    Replace {
        /// Who goes.
        old: u64,
        /// Who votes from then on, if `old` did.
        new: u64,
    },
}

/// The membership was not changed, or it is not known whether it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This node does not lead: ask the leader.
    #[error("this node does not lead")]
    NotLeader {
        /// The leader that it knows.
        leader: Option<u64>,
    },
    /// The rules of memberships say no; the same will be refused again.
    #[error("{0}")]
    Refused(Refusal),
    /// Another change is under way. Ask again.
    #[error("another change of the membership is under way")]
    UnderWay,
    /// The learner lacks too much of the log to vote. Ask again later.
    #[error("node {node} still lacks {entries} entries of the log")]
    LearnerBehind {
        /// The learner.
        node: u64,
        /// How many entries it lacks.
        entries: u64,
    },
    /// No outcome in time. Asking again is safe.
    #[error("no outcome within {waited:?}")]
    OutcomeUnknown {
        /// How long was waited.
        waited: Duration,
    },
    /// The node is stopping or has stopped.
    #[error("the node is stopping")]
    Stopping,
}

/// Why a membership cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No member has this number.
    #[error("node {0} does not belong to the cluster")]
    NoSuchNode(u64),
    /// Another node has this number.
    #[error("there is a node {0} with other addresses")]
    NumberTaken(u64),
    /// Another node has one of the addresses.
    #[error("node {0} has this address")]
    AddressTaken(u64),
    /// A cluster without voters decides nothing.
    #[error("node {0} is the last voter")]
    LastVoter(u64),
    /// See [`VOTERS_MAX`].
    #[error("a cluster has at most {VOTERS_MAX} voters")]
    TooManyVoters,
    /// See [`MEMBERS_MAX`].
    #[error("a cluster has at most {MEMBERS_MAX} members")]
    TooManyMembers,
    /// Nodes are numbered from 1.
    #[error("nodes are numbered from 1")]
    NoNumber,
}

impl Members {
    /// Everybody who votes.
    #[must_use]
    pub fn all_voters(&self) -> BTreeSet<u64> {
        self.voters.iter().flatten().copied().collect()
    }

    /// What the membership would be after a change; `None` if it would be the same.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn after(&self, change: &Change) -> Result<Option<Self>, Refusal> {
        let mut voters = self.all_voters();
        let mut nodes = self.nodes.clone();
        match change {
            Change::Add { node: 0, .. } => return Err(Refusal::NoNumber),
            Change::Add {
                node,
                member,
                replaces,
            } => {
                match nodes.get(node) {
                    Some(known) if known == member => return Ok(None),
                    Some(_) => return Err(Refusal::NumberTaken(*node)),
                    None => {}
                }
                let addresses =
                    |member: &Member| [member.peer_address.clone(), member.client_address.clone()];
                let own = addresses(member);
                // A machine that was damaged twice finds its address taken by its own past.
                let is_own_past = |other: &Member| {
                    replaces.is_some() && other.peer_address == member.peer_address
                };
                let mut others = nodes
                    .iter()
                    .filter(|(other, known)| Some(**other) != *replaces && !is_own_past(known));
                if let Some((other, _)) =
                    others.find(|(_, other)| addresses(other).iter().any(|a| own.contains(a)))
                {
                    return Err(Refusal::AddressTaken(*other));
                }
                if nodes.len() >= MEMBERS_MAX {
                    return Err(Refusal::TooManyMembers);
                }
                nodes.insert(*node, member.clone());
            }
            Change::Promote(node) => {
                if !nodes.contains_key(node) {
                    return Err(Refusal::NoSuchNode(*node));
                }
                if !voters.insert(*node) {
                    return Ok(None);
                }
                if voters.len() > VOTERS_MAX {
                    return Err(Refusal::TooManyVoters);
                }
            }
            Change::Demote(node) => {
                if !nodes.contains_key(node) {
                    return Err(Refusal::NoSuchNode(*node));
                }
                if !voters.remove(node) {
                    return Ok(None);
                }
            }
            Change::Remove(node) => {
                if nodes.remove(node).is_none() {
                    return Ok(None);
                }
                voters.remove(node);
            }
            Change::Replace { old, new } => {
                if old == new || !nodes.contains_key(new) {
                    return Err(Refusal::NoSuchNode(*new));
                }
                if nodes.remove(old).is_none() {
                    return Ok(None);
                }
                if voters.remove(old) {
                    voters.insert(*new);
                }
            }
        }
        if voters.is_empty() {
            let last = self.all_voters().first().copied().unwrap_or(0);
            return Err(Refusal::LastVoter(last));
        }
        Ok(Some(Self {
            voters: vec![voters],
            nodes,
        }))
    }
}

impl Replica {
    /// Changes the membership; gives what it is afterwards. A leader that shall not vote any more
    /// hands leadership over first, and the change fails with [`ChangeError::NotLeader`].
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn change_members(
        &self,
        change: &Change,
        limit: Duration,
    ) -> Result<Members, ChangeError> {
        let deadline = Instant::now() + limit;
        let status = self.status();
        if status.role != Role::Leader {
            return Err(ChangeError::NotLeader {
                leader: status.leader,
            });
        }
        if status.members.voters.len() > 1 {
            return Err(ChangeError::UnderWay);
        }
        let Some(after) = status.members.after(change).map_err(ChangeError::Refused)? else {
            return Ok(status.members);
        };
        let one = |node: &u64| BTreeSet::from([*node]);
        let (changes, retain) = match change {
            Change::Add { node, member, .. } => (
                ChangeMembers::AddNodes(BTreeMap::from([(*node, member.clone())])),
                true,
            ),
            Change::Promote(node) => {
                self.nearly_caught_up(*node)?;
                (ChangeMembers::AddVoterIds(one(node)), true)
            }
            Change::Demote(node) | Change::Remove(node) | Change::Replace { old: node, .. }
                if *node == self.node() =>
            {
                let left = deadline.saturating_duration_since(Instant::now());
                self.hand_over(left).await;
                let leader = *self.leader().borrow();
                return Err(ChangeError::NotLeader {
                    leader: leader.filter(|leader| *leader != self.node()),
                });
            }
            Change::Demote(node) => (ChangeMembers::RemoveVoters(one(node)), true),
            Change::Remove(node) if status.members.all_voters().contains(node) => {
                (ChangeMembers::RemoveVoters(one(node)), false)
            }
            Change::Remove(node) => (ChangeMembers::RemoveNodes(one(node)), true),
            Change::Replace { old, new } if status.members.all_voters().contains(old) => {
                self.nearly_caught_up(*new)?;
                (ChangeMembers::ReplaceAllVoters(after.all_voters()), false)
            }
            Change::Replace { old, .. } => (ChangeMembers::RemoveNodes(one(old)), true),
        };
        // In a task of its own: an administrator that goes away must not leave a membership that
        // is half changed.
        let raft = self.inner.raft.clone();
        let changed =
            tokio::spawn(async move { raft.change_membership(changes, retain).await.map(drop) });
        match timeout_at(deadline, changed).await {
            Ok(Ok(Ok(()))) => Ok(after),
            Ok(Ok(Err(error))) => Err(refused(error)),
            Ok(Err(_)) => Err(ChangeError::Stopping),
            Err(_) => Err(ChangeError::OutcomeUnknown { waited: limit }),
        }
    }

    /// Hands leadership to a voter; gives who leads then. `None`: to whoever has most of the log.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn transfer_leader(
        &self,
        to: Option<u64>,
        limit: Duration,
    ) -> Result<u64, ChangeError> {
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
            Some(_) | None => {}
        }
        self.hand_over_to(to, limit).await;
        let leader = *self.leader().borrow();
        match leader.filter(|leader| *leader != self.node()) {
            Some(leader) => Ok(leader),
            None => Err(ChangeError::OutcomeUnknown { waited: limit }),
        }
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

type Failed = RaftError<crate::convert::TypeConfig, ClientWriteError<crate::convert::TypeConfig>>;

pub(crate) fn refused(error: Failed) -> ChangeError {
    match error {
        RaftError::Fatal(_) => ChangeError::Stopping,
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => ChangeError::NotLeader {
            leader: to.leader_id,
        },
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::LearnerNotFound(lost),
        )) => ChangeError::Refused(Refusal::NoSuchNode(lost.node_id)),
        _ => ChangeError::UnderWay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(port: u16) -> Member {
        Member {
            peer_address: format!("h:{port}"),
            client_address: format!("h:{}", port + 1),
        }
    }

    fn add(node: u64, port: u16) -> Change {
        Change::Add {
            node,
            member: member(port),
            replaces: None,
        }
    }

    fn members(voters: &[u64], learners: &[u64]) -> Members {
        let all = voters.iter().chain(learners);
        Members {
            voters: vec![voters.iter().copied().collect()],
            nodes: all
                .map(|node| (*node, member(u16::try_from(*node * 10).unwrap())))
                .collect(),
        }
    }

    #[test]
    fn a_node_comes_as_a_learner_votes_stops_voting_and_goes() {
        let three = members(&[1, 2, 3], &[]);
        let added = three.after(&add(4, 40)).unwrap().unwrap();
        assert_eq!(added, members(&[1, 2, 3], &[4]));
        let promoted = added.after(&Change::Promote(4)).unwrap().unwrap();
        assert_eq!(promoted, members(&[1, 2, 3, 4], &[]));
        let demoted = promoted.after(&Change::Demote(1)).unwrap().unwrap();
        assert_eq!(demoted, members(&[2, 3, 4], &[1]));
        let gone = demoted.after(&Change::Remove(1)).unwrap().unwrap();
        assert_eq!(gone, members(&[2, 3, 4], &[]));
        let at_once = promoted.after(&Change::Remove(1)).unwrap().unwrap();
        assert_eq!(at_once, gone);
    }

    #[test]
    fn a_node_takes_the_place_of_another_and_its_address() {
        let three = members(&[1, 2, 3], &[]);
        let replaces = Change::Add {
            node: 4,
            member: member(30),
            replaces: Some(3),
        };
        let beside = three.after(&replaces).unwrap().unwrap();
        assert_eq!(beside.all_voters(), BTreeSet::from([1, 2, 3]));
        let instead = beside.after(&Change::Replace { old: 3, new: 4 });
        let instead = instead.unwrap().unwrap();
        assert_eq!(instead.all_voters(), BTreeSet::from([1, 2, 4]));
        assert!(!instead.nodes.contains_key(&3));
        let again = instead.after(&Change::Replace { old: 3, new: 4 });
        assert_eq!(again, Ok(None), "it has happened");
        let learner = members(&[1], &[2, 3]).after(&Change::Replace { old: 2, new: 3 });
        assert_eq!(learner.unwrap().unwrap(), members(&[1], &[3]));
        for (old, new) in [(1, 1), (1, 9)] {
            let refused = three.after(&Change::Replace { old, new });
            assert_eq!(refused, Err(Refusal::NoSuchNode(new)));
        }
    }

    #[test]
    fn a_machine_that_was_damaged_twice_takes_the_place_of_all_its_past() {
        let three = members(&[1, 2, 3], &[]);
        let again = |node: u64, old: u64, port: u16| Change::Add {
            node,
            member: member(port),
            replaces: Some(old),
        };
        let once = three.after(&again(4, 3, 30)).unwrap().unwrap();
        // It was damaged before it had its place.
        let twice = once.after(&again(5, 4, 30)).unwrap().unwrap();
        let without = twice.after(&Change::Replace { old: 4, new: 5 });
        let without = without.unwrap().unwrap();
        assert_eq!(without.all_voters(), BTreeSet::from([1, 2, 3]));
        let whole = without.after(&Change::Replace { old: 3, new: 5 });
        let whole = whole.unwrap().unwrap();
        assert_eq!(whole.all_voters(), BTreeSet::from([1, 2, 5]));
        assert_eq!(whole.nodes.len(), 3);
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let some = members(&[1, 2], &[3]);
        for change in [
            add(3, 30),
            Change::Promote(2),
            Change::Demote(3),
            Change::Remove(9),
        ] {
            assert_eq!(some.after(&change), Ok(None), "{change:?}");
        }
    }

    #[test]
    fn what_makes_no_cluster_is_refused() {
        let one = members(&[1], &[2]);
        let refused = |change| one.after(&change).unwrap_err();
        assert_eq!(refused(Change::Remove(1)), Refusal::LastVoter(1));
        assert_eq!(refused(Change::Demote(1)), Refusal::LastVoter(1));
        assert_eq!(refused(Change::Promote(5)), Refusal::NoSuchNode(5));
        assert_eq!(refused(Change::Demote(5)), Refusal::NoSuchNode(5));
        assert_eq!(refused(add(2, 50)), Refusal::NumberTaken(2));
        assert_eq!(refused(add(5, 20)), Refusal::AddressTaken(2));
        assert_eq!(refused(add(0, 50)), Refusal::NoNumber);
        let seven = members(&[1, 2, 3, 4, 5, 6, 7], &[8]);
        assert_eq!(
            seven.after(&Change::Promote(8)),
            Err(Refusal::TooManyVoters)
        );
        let learners: Vec<u64> = (2..=u64::try_from(MEMBERS_MAX).unwrap()).collect();
        let full = members(&[1], &learners);
        let another = add(99, 9900);
        assert_eq!(full.after(&another), Err(Refusal::TooManyMembers));
    }
}
