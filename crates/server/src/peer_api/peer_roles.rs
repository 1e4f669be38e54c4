//! Defines which machine may make which call of the peer port: one row for each call.
//!
//! A machine is judged by what this node's log says of it and by its certificate, for each request
//! and each message of a stream. The certificate is needed where the log of this node may be
//! behind: a leader that was added meanwhile must still be able to reach a node that has never
//! heard of it, and only a node with the authority's key can sign itself as a key holder.
//!
//! Always true: no machine makes a call without a row.

use conclave_replica::NodeMembership;

use crate::{
    context::node_context::NodeContext,
    tls::{Caller, PeerNames, Presented},
};

/// Standing of a machine with this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The machine votes.
    Voter,
    /// The machine has the key of the authority, but does not vote as far as this node knows: it is
    /// to vote, or this node is behind.
    KeyHolder,
    /// The machine follows without a vote.
    Learner,
    /// The machine has a certificate of the cluster, and this node's log does not know it.
    Unknown,
    /// The machine was removed.
    Removed,
    /// The machine has presented no certificate of the cluster.
    Unauthenticated,
}

impl Standing {
    /// Returns the word for this standing in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Voter => "a voter",
            Self::KeyHolder => "a key holder that does not vote",
            Self::Learner => "a learner",
            Self::Unknown => "not a known member",
            Self::Removed => "a removed node",
            Self::Unauthenticated => "unauthenticated",
        }
    }

    /// Returns whether what such a machine asks for needs the proof that a client or an operator
    /// has asked for it. Only a node that takes part in decisions is believed without.
    pub(crate) fn needs_proof(self) -> bool {
        !matches!(self, Self::Voter | Self::KeyHolder)
    }
}

use Standing::{KeyHolder, Learner, Removed, Unauthenticated, Unknown, Voter};

/// Nodes that take part in decisions, even if this node does not know that yet.
const DECIDERS: &[Standing] = &[Voter, KeyHolder];
/// Members of the cluster.
const MEMBERS: &[Standing] = &[Voter, KeyHolder, Learner];
/// All machines that have a certificate and were not removed: the answers of such a call are no
/// secret.
const KNOWN: &[Standing] = &[Voter, KeyHolder, Learner, Unknown];
/// Also nodes that were removed, which learn of their removal this way.
const CERTIFIED: &[Standing] = &[Voter, KeyHolder, Learner, Unknown, Removed];
/// All machines: the proof that such a call needs is in its request.
const ALL: &[Standing] = &[Voter, KeyHolder, Learner, Unknown, Removed, Unauthenticated];

/// A call of the peer port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerCall {
    /// Path of the call.
    pub(crate) path: &'static str,
    may: &'static [Standing],
}

macro_rules! calls {
    ($($name:ident $path:literal $may:ident)*) => {
        $(pub(crate) const $name: PeerCall = PeerCall { path: $path, may: $may };)*
        /// Every call of the peer port.
        #[cfg(test)]
        const CALLS: &[PeerCall] = &[$($name),*];
    };
}

calls! {
    APPEND_ENTRIES "conclave.peer.v1.PeerService/AppendEntries" DECIDERS
    REQUEST_VOTE "conclave.peer.v1.PeerService/RequestVote" DECIDERS
    TIMEOUT_NOW "conclave.peer.v1.PeerService/TimeoutNow" DECIDERS
    GET_SNAPSHOT_PROGRESS "conclave.peer.v1.PeerService/GetSnapshotProgress" DECIDERS
    INSTALL_SNAPSHOT "conclave.peer.v1.PeerService/InstallSnapshot" DECIDERS
    FORWARD "conclave.peer.v1.PeerService/Forward" MEMBERS
    READ_INDEX "conclave.peer.v1.PeerService/ReadIndex" MEMBERS
    GOSSIP "conclave.peer.v1.PeerService/Gossip" MEMBERS
    CHANGE_MEMBERS "conclave.peer.v1.PeerService/ChangeMembers" MEMBERS
    TRANSFER_LEADER "conclave.peer.v1.PeerService/TransferLeader" MEMBERS
    FINALIZE_UPGRADE "conclave.peer.v1.PeerService/FinalizeUpgrade" MEMBERS
    DRAIN_NODE "conclave.peer.v1.PeerService/DrainNode" MEMBERS
    DESCRIBE_CLUSTER "conclave.peer.v1.PeerService/DescribeCluster" CERTIFIED
    GET_NODE_STATUS "conclave.peer.v1.PeerService/GetNodeStatus" KNOWN
    GET_DIGESTS "conclave.peer.v1.PeerService/GetDigests" MEMBERS
    CHECK_NODE "conclave.peer.v1.PeerService/CheckNode" MEMBERS
    DIGEST_ROWS "conclave.peer.v1.PeerService/DigestRows" MEMBERS
    OFFER_SESSION "conclave.peer.v1.PeerService/OfferSession" MEMBERS
    ANNOUNCE "conclave.peer.v1.PeerService/Announce" KNOWN
    RENEW_CERTIFICATES "conclave.peer.v1.PeerService/RenewCertificates" MEMBERS
    GET_AUTHORITY_KEY "conclave.peer.v1.PeerService/GetAuthorityKey" DECIDERS
    PREPARE_ROTATION "conclave.peer.v1.PeerService/PrepareRotation" DECIDERS
    JOIN "conclave.peer.v1.JoinService/Join" ALL
    INTRODUCE "conclave.peer.v1.JoinService/Introduce" ALL
}

impl PeerCall {
    /// Returns whether a machine of this standing may make the call.
    pub(crate) fn is_for(self, standing: Standing) -> bool {
        self.may.contains(&standing)
    }

    /// Returns the name of the call without its service.
    pub(crate) fn name(self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}

impl NodeContext {
    /// Returns the standing of the machine that makes a call.
    pub(crate) fn standing(&self, caller: &Caller) -> Standing {
        let Presented::Node(names) = caller.shown else {
            return Unauthenticated;
        };
        self.standing_of(names)
    }

    fn standing_of(&self, names: PeerNames) -> Standing {
        if !self.security.tls.trusts(names.signed_by) {
            return Unauthenticated;
        }
        if self.is_retired(names.node) {
            return Removed;
        }
        judged(self.replica.membership_of(names.node), names)
    }
}

fn judged(place: NodeMembership, names: PeerNames) -> Standing {
    match place {
        NodeMembership::Voter => Voter,
        _ if names.key_holder => KeyHolder,
        NodeMembership::Learner => Learner,
        NodeMembership::Unknown => Unknown,
    }
}

#[cfg(test)]
mod tests {
    use conclave_wire::DESCRIPTORS;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_call_of_the_peer_port_has_one_row() {
        let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
        let mut calls: Vec<String> = files
            .iter()
            .filter(|file| file.package() == "conclave.peer.v1")
            .flat_map(|file| &file.service)
            .flat_map(|service| {
                let path = |method| format!("conclave.peer.v1.{}/{method}", service.name());
                let names = service.method.iter().map(|method| method.name().to_owned());
                names.map(path).collect::<Vec<_>>()
            })
            .collect();
        let mut rows: Vec<&str> = CALLS.iter().map(|call| call.path).collect();
        calls.sort_unstable();
        rows.sort_unstable();
        assert_eq!(calls, rows);
    }

    #[test]
    fn consensus_calls_and_the_key_are_only_for_voters_and_keepers() {
        let decide = [
            APPEND_ENTRIES,
            REQUEST_VOTE,
            TIMEOUT_NOW,
            GET_SNAPSHOT_PROGRESS,
            INSTALL_SNAPSHOT,
            GET_AUTHORITY_KEY,
            PREPARE_ROTATION,
        ];
        for call in CALLS {
            let is_deciding = decide.contains(call);
            assert!(call.is_for(Voter) && call.is_for(KeyHolder), "{call:?}");
            assert_eq!(call.is_for(Learner), !is_deciding, "{call:?}");
            let to_all = [JOIN, INTRODUCE].contains(call);
            assert_eq!(call.is_for(Unauthenticated), to_all, "{call:?}");
            let removed = to_all || *call == DESCRIBE_CLUSTER;
            assert_eq!(call.is_for(Removed), removed, "{call:?}");
            let unknown = removed || [GET_NODE_STATUS, ANNOUNCE].contains(call);
            assert_eq!(call.is_for(Unknown), unknown, "{call:?}");
        }
    }

    #[test]
    fn only_voters_and_key_holders_are_believed_without_proof() {
        for standing in ALL {
            let is_believed = DECIDERS.contains(standing);
            assert_eq!(standing.needs_proof(), !is_believed, "{standing:?}");
        }
    }

    #[test]
    fn a_keeper_certificate_allows_consensus_calls_of_unknown_nodes() {
        let node = PeerNames {
            node: 9,
            ..PeerNames::default()
        };
        let key_holder = PeerNames {
            key_holder: true,
            ..node
        };
        for (place, without, with) in [
            (NodeMembership::Voter, Voter, Voter),
            (NodeMembership::Learner, Learner, KeyHolder),
            (NodeMembership::Unknown, Unknown, KeyHolder),
        ] {
            assert_eq!(judged(place, node), without);
            assert_eq!(judged(place, key_holder), with);
            assert!(APPEND_ENTRIES.is_for(with));
        }
    }
}
