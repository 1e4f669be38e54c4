//! The format of log entries, given to the replica: protobuf by the wire crate.

use std::collections::BTreeMap;

use bytes::Bytes;
use conclave_core::{Batch, ClusterVersion, VersionRange};
use conclave_replica::{Codec, CodecError, Member, Members};
use conclave_wire::{batch, peer};
use prost::Message as _;

/// Codec of entries; see the head of this file.
pub(crate) struct WireCodec {
    /// Newest cluster version that this node applies.
    newest: ClusterVersion,
}

impl WireCodec {
    /// Creates the codec of a node that applies these versions.
    pub(crate) fn of(versions: VersionRange) -> Self {
        let newest = versions.newest;
        Self { newest }
    }
}

impl Codec for WireCodec {
    fn encode_batch(&self, batch: &Batch) -> Bytes {
        batch::encode(batch)
    }

    fn decode_batch(&self, bytes: &Bytes) -> Result<Batch, CodecError> {
        let decoded = batch::decode(bytes.clone(), self.newest);
        decoded.map_err(|error| CodecError(error.into()))
    }

    fn encode_members(&self, members: &Members) -> Bytes {
        members_out(members).encode_to_vec().into()
    }

    fn decode_members(&self, bytes: &Bytes) -> Result<Members, CodecError> {
        let decoded = peer::Membership::decode(bytes.clone());
        let membership = decoded.map_err(|error| CodecError(error.into()))?;
        let is_known = batch::check_version(membership.needs_version, self.newest);
        is_known.map_err(|error| CodecError(error.into()))?;
        Ok(members_in(membership))
    }
}

pub(crate) fn members_out(members: &Members) -> peer::Membership {
    let member = |(node, member): (&u64, &Member)| peer::Member {
        node_id: *node,
        peer_address: member.peer_address.clone(),
        client_address: member.client_address.clone(),
        witness: member.witness,
        set_aside: member.set_aside,
    };
    let is_later = |member: &Member| member.witness || member.set_aside;
    let set = |voters: &std::collections::BTreeSet<u64>| peer::VoterSet {
        node_ids: voters.iter().copied().collect(),
    };
    peer::Membership {
        configs: members.voters.iter().map(set).collect(),
        members: members.nodes.iter().map(member).collect(),
        // Bytes that are stored already must not change, because the chain has them: what every
        // build can apply needs none.
        needs_version: match members.nodes.values().any(is_later) {
            true => ClusterVersion::WITNESSES.0,
            false => 0,
        },
    }
}

pub(crate) fn members_in(membership: peer::Membership) -> Members {
    let node = |member: peer::Member| {
        let peer::Member {
            node_id,
            peer_address,
            client_address,
            witness,
            set_aside,
        } = member;
        (
            node_id,
            Member {
                peer_address,
                client_address,
                witness,
                set_aside,
            },
        )
    };
    Members {
        voters: membership
            .configs
            .into_iter()
            .map(|set| set.node_ids.into_iter().collect())
            .collect(),
        nodes: membership
            .members
            .into_iter()
            .map(node)
            .collect::<BTreeMap<_, _>>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_membership_with_a_node_set_aside_needs_version_3() {
        let codec = WireCodec::of(VersionRange::BUILD);
        let member = |set_aside| Member {
            set_aside,
            ..Member::default()
        };
        for (set_aside, needed) in [(false, 0), (true, ClusterVersion::ACK_POLICY.0)] {
            let members = Members {
                voters: vec![[1].into()],
                nodes: [(1, member(false)), (2, member(set_aside))].into(),
            };
            assert_eq!(members_out(&members).needs_version, needed);
            let bytes = codec.encode_members(&members);
            assert_eq!(codec.decode_members(&bytes).unwrap(), members);
            let older = WireCodec::of(VersionRange::BUILD.up_to(ClusterVersion(2)));
            assert_eq!(older.decode_members(&bytes).is_err(), set_aside);
        }
    }

    #[test]
    fn a_membership_of_a_later_build_is_refused_not_misread() {
        let codec = WireCodec::of(VersionRange::BUILD);
        let newest = VersionRange::BUILD.newest.0;
        let encoded = |needs_version| {
            let later = peer::Membership {
                needs_version,
                ..peer::Membership::default()
            };
            Bytes::from(later.encode_to_vec())
        };
        assert!(codec.decode_members(&encoded(newest)).is_ok());
        let refused = codec.decode_members(&encoded(newest + 1)).unwrap_err();
        assert!(refused.to_string().contains("cluster version"), "{refused}");
    }
}
