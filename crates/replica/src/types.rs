//! Types in which a replica answers the node around it.

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use conclave_core::{Answer, ClusterVersion};

/// A member of the cluster: its addresses, and what it keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// host:port of its listener for peers.
    pub peer_address: String,
    /// host:port of its listener for clients.
    pub client_address: String,
    /// Whether it is a witness: it keeps the log, and of the state what concerns the cluster alone.
    pub witness: bool,
    /// Whether it was set aside: it lost its vote, or is about to, because acknowledgements waited
    /// for it, and gets it back once it has caught up.
    pub set_aside: bool,
}

impl Member {
    /// Returns whether this member is reached where `other` is.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        *self == self.moved_to(other)
    }

    /// Returns this member at the addresses of `place`.
    #[must_use]
    pub fn moved_to(&self, place: &Self) -> Self {
        Self {
            peer_address: place.peer_address.clone(),
            client_address: place.client_address.clone(),
            ..self.clone()
        }
    }
}

/// The members of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// One set of voters, or two while the membership changes.
    pub voters: Vec<BTreeSet<u64>>,
    /// Every member, voters and learners.
    pub nodes: BTreeMap<u64, Member>,
}

impl Members {
    /// Returns the voters that are full nodes, of both sets while the membership changes.
    #[must_use]
    pub fn full_voters(&self) -> BTreeSet<u64> {
        let mut voters = self.all_voters();
        voters.retain(|node| !self.is_witness(*node));
        voters
    }

    /// Returns whether this member is a witness.
    #[must_use]
    pub fn is_witness(&self, node: u64) -> bool {
        self.nodes.get(&node).is_some_and(|member| member.witness)
    }
}

/// A command was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer of the rules.
    pub answer: Answer,
    /// The log entry in which it was decided; a retry gets that of the first answer.
    pub index: u64,
}

/// A command did not get through. Asking again with the same request number is always safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Refused before it was proposed: too much is under way.
    #[error("too much is under way")]
    Busy,
    /// This node does not lead, and was asked not to forward. The command may still commit if it
    /// was proposed just before the leadership was lost.
    #[error("this node does not lead")]
    NotLeader {
        /// The leader that it knows.
        leader: Option<u64>,
    },
    /// There was no leader to forward the command to for the whole time.
    #[error("no leader within {waited:?}")]
    NoLeader {
        /// How long was waited.
        waited: Duration,
    },
    /// No answer in time. The entry may still commit.
    #[error("no outcome within {waited:?}")]
    OutcomeUnknown {
        /// How long was waited.
        waited: Duration,
    },
    /// The cluster version does not have such a command. Nothing was proposed.
    #[error("this needs cluster version {needed}, which the cluster does not have yet")]
    VersionTooLow {
        /// The version that has it.
        needed: ClusterVersion,
    },
    /// The node is stopping or has stopped. The entry may still commit.
    #[error("the node is stopping")]
    Stopping,
}

/// A read could not be made as fresh as it has to be. It may be repeated here or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed in time that it leads.
    #[error("no leader within {waited:?}")]
    NoLeader {
        /// How long was waited.
        waited: Duration,
    },
    /// This node did not apply far enough in time.
    #[error("this node has not caught up within {waited:?}")]
    Behind {
        /// How long was waited.
        waited: Duration,
    },
    /// This node does not lead, and was asked not to ask the leader.
    #[error("this node does not lead")]
    NotLeader {
        /// The leader that it knows.
        leader: Option<u64>,
    },
    /// The node is stopping or has stopped.
    #[error("the node is stopping")]
    Stopping,
}

/// Role of a node in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The node proposes.
    Leader,
    /// The node follows and votes.
    Follower,
    /// The node asks for votes.
    Candidate,
    /// The node follows and does not vote.
    Learner,
    /// The node has stopped.
    Stopped,
}

/// Membership of a node, by the newest membership in a replica's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeMembership {
    /// The node votes, in the old or in the new set if the membership changes.
    Voter,
    /// The node follows without a vote.
    Learner,
    /// The node is no member, as far as is known here: the others may know more.
    Unknown,
}

/// Status of a replica, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The replica's role.
    pub role: Role,
    /// The replica's term.
    pub term: u64,
    /// The last entry in its log; 0 if none.
    pub log_index_last: u64,
    /// The last entry that is gone from its log because its database has it; 0 if none.
    pub purged_index: u64,
    /// The last entry that it knows to be committed; 0 if none.
    pub commit_index: u64,
    /// The last entry that is in its database; 0 if none.
    pub applied_index: u64,
    /// The leader that it knows.
    pub leader: Option<u64>,
    /// The members of the cluster, as far as it knows.
    pub members: Members,
    /// Whether that is for good: until a change of them is committed, it may be taken back, and
    /// the majorities of before count, too.
    pub members_settled: bool,
}
