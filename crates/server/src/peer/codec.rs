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
    };
    let has_witness = members.nodes.values().any(|member| member.witness);
    let set = |voters: &std::collections::BTreeSet<u64>| peer::VoterSet {
        node_ids: voters.iter().copied().collect(),
    };
    peer::Membership {
        configs: members.voters.iter().map(set).collect(),
        members: members.nodes.iter().map(member).collect(),
        // Every build can apply a membership without witnesses. Bytes that are stored already must
        // not change: the chain has them.
        needs_version: match has_witness {
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
        } = member;
        (
            node_id,
            Member {
                peer_address,
                client_address,
                witness,
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
