//! The rules of memberships: what a change makes of one, and which changes are refused.
//!
//! Nothing here touches the log; `change.rs` writes the entries.
//!
//! Always true: a change that has happened already is no change.

use std::{collections::BTreeSet, time::Duration};

use crate::{Member, Members};

/// Voters of a cluster at most: more would make every acknowledgement wait for more disks.
pub const VOTERS_MAX: usize = 7;
/// Members of a cluster at most, learners included.
pub const MEMBERS_MAX: usize = 32;

/// A change of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new node becomes a learner.
    Add {
        /// Number of the new node.
        node: u64,
        /// Addresses of the new node.
        member: Member,
        /// The member whose place it takes, and whose addresses it may have.
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
        /// The node that is removed.
        old: u64,
        /// The node that votes from then on, if `old` did.
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
    /// The rules of memberships refuse the change; the same change will be refused again.
    #[error("{0}")]
    Refused(Refusal),
    /// Another change was not committed in time, and this one was not begun. Ask again.
    #[error("another change of the membership is under way")]
    UnderWay,
    /// The node lacks too much of the log to vote or to lead. Ask again later.
    #[error("node {node} still lacks {entries} entries of the log")]
    LearnerBehind {
        /// The node.
        node: u64,
        /// How many entries it lacks.
        entries: u64,
    },
    /// The node does not answer, so it cannot lead. Nothing was changed.
    #[error("node {node} does not answer the leader")]
    NoAnswer {
        /// The node.
        node: u64,
    },
    /// Leadership went to another node than the caller wanted.
    #[error("node {wanted} did not become the leader: {}", leads(*leader))]
    NotTakenOver {
        /// The node that was to lead.
        wanted: u64,
        /// The node that leads.
        leader: Option<u64>,
    },
    /// No outcome in time. Asking again is safe.
    #[error("no outcome within {waited:?}")]
    OutcomeUnknown {
        /// How long was waited.
        waited: Duration,
    },
    /// The consensus engine or the state refused something that it should not refuse.
    #[error("cannot change the membership: {0}")]
    Broken(String),
    /// The node is stopping or has stopped.
    #[error("the node is stopping")]
    Stopping,
}

fn next(number: u64) -> u64 {
    number.saturating_add(1)
}

fn leads(leader: Option<u64>) -> String {
    leader.map_or("there is no leader".to_owned(), |leader| {
        format!("node {leader} is the leader")
    })
}

/// The reason why a membership is invalid.
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
    /// A witness has no state by which it could answer.
    #[error("node {0} is a witness, and does not lead")]
    Witness(u64),
    /// After as many failures as the cluster tolerates there must be a full node among those that
    /// are left.
    #[error("{full} of {voters} voters would be full nodes: there must be at least {needed}")]
    TooFewFull {
        /// Voters that are full nodes.
        full: usize,
        /// All voters.
        voters: usize,
        /// How many full ones there must be.
        needed: usize,
    },
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
    /// A node with this number was removed.
    #[error("node {0} was removed, and no other node may have its number")]
    NumberRetired(u64),
    /// Numbers are given in order; one far ahead would leave few for machines that join.
    #[error("{node} is far above the last node number, {last}: take {}", next(*last))]
    NumberTooFar {
        /// The number that was named.
        node: u64,
        /// The greatest number that a node has or had.
        last: u64,
    },
}

impl Members {
    /// Returns all voters, of both sets while the membership changes.
    #[must_use]
    pub fn all_voters(&self) -> BTreeSet<u64> {
        self.voters.iter().flatten().copied().collect()
    }

    /// Returns the membership after a change, or `None` if the change has happened already.
    /// A joint configuration has to be finished first.
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
                    Some(known) if known.is_at(member) => return Ok(None),
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
                let known = nodes.get_mut(node).ok_or(Refusal::NoSuchNode(*node))?;
                let was_aside = std::mem::take(&mut known.set_aside);
                if !voters.insert(*node) && !was_aside {
                    return Ok(None);
                }
                if voters.len() > VOTERS_MAX {
                    return Err(Refusal::TooManyVoters);
                }
            }
            Change::Demote(node) => {
                let known = nodes.get_mut(node).ok_or(Refusal::NoSuchNode(*node))?;
                let was_aside = std::mem::take(&mut known.set_aside);
                if !voters.remove(node) && !was_aside {
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
        let after = Self {
            voters: vec![voters],
            nodes,
        };
        after.has_enough_full_nodes()?;
        Ok(Some(after))
    }

    /// Refuses a membership in which the failures that it tolerates could take every full node.
    fn has_enough_full_nodes(&self) -> Result<(), Refusal> {
        let voters = self.all_voters();
        let full = voters.iter().filter(|node| !self.is_witness(**node));
        let (full, voters) = (full.count(), voters.len());
        let needed = (voters - 1) / 2 + 1;
        match full >= needed {
            true => Ok(()),
            false => Err(Refusal::TooFewFull {
                full,
                voters,
                needed,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(port: u16) -> Member {
        Member {
            peer_address: format!("h:{port}"),
            client_address: format!("h:{}", port + 1),
            witness: false,
            set_aside: false,
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
    fn a_node_is_added_promoted_demoted_and_removed() {
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
    fn a_node_replaces_another_node_at_its_address() {
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
    fn a_node_damaged_twice_replaces_all_its_earlier_numbers() {
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
    fn a_change_already_in_effect_changes_nothing() {
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
    fn the_failures_that_are_tolerated_never_take_every_full_node() {
        let with_witnesses = |mut members: Members, witnesses: &[u64]| {
            for node in witnesses {
                members.nodes.get_mut(node).unwrap().witness = true;
            }
            members
        };
        let five = with_witnesses(members(&[1, 2, 3, 4], &[5]), &[4, 5]);
        assert!(five.after(&Change::Promote(5)).unwrap().is_some());
        let three = with_witnesses(members(&[1, 2], &[3, 4]), &[3, 4]);
        let three = three.after(&Change::Promote(3)).unwrap().unwrap();
        let refused = |full, voters, needed| {
            Err(Refusal::TooFewFull {
                full,
                voters,
                needed,
            })
        };
        // Of two full nodes and two witnesses one may fail: a full one is left.
        assert!(three.after(&Change::Promote(4)).unwrap().is_some());
        assert!(three.after(&Change::Remove(1)).unwrap().is_some());
        let alone = with_witnesses(members(&[1, 3, 4], &[2]), &[3, 4]);
        assert_eq!(alone.after(&Change::Demote(1)), refused(0, 2, 1));
        let two = with_witnesses(members(&[1, 2, 3, 4], &[]), &[3, 4]);
        assert_eq!(two.after(&Change::Remove(1)), refused(1, 3, 2));
    }

    #[test]
    fn an_operator_ends_that_a_node_is_set_aside() {
        let mut some = members(&[1, 2], &[3]);
        some.nodes.get_mut(&3).unwrap().set_aside = true;
        let stays = some.after(&Change::Demote(3)).unwrap().unwrap();
        assert_eq!(stays, members(&[1, 2], &[3]));
        let votes = some.after(&Change::Promote(3)).unwrap().unwrap();
        assert_eq!(votes, members(&[1, 2, 3], &[]));
        let moved = some.after(&add(3, 30)).unwrap();
        assert_eq!(moved, None, "it is there");
    }

    #[test]
    fn changes_to_an_invalid_cluster_are_refused() {
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
