//! The format of log entries, given to the replica: protobuf by the wire crate.

use std::collections::BTreeMap;

use bytes::Bytes;
use conclave_core::Batch;
use conclave_replica::{Codec, CodecError, Member, Members};
use conclave_wire::{batch, peer};
use prost::Message as _;

/// Codec of entries; see the head of this file.
pub(crate) struct WireCodec;

impl Codec for WireCodec {
    fn encode_batch(&self, batch: &Batch) -> Bytes {
        batch::encode(batch)
    }

    fn decode_batch(&self, bytes: &Bytes) -> Result<Batch, CodecError> {
        batch::decode(bytes.clone()).map_err(|error| CodecError(error.into()))
    }

    fn encode_members(&self, members: &Members) -> Bytes {
        members_out(members).encode_to_vec().into()
    }

    fn decode_members(&self, bytes: &Bytes) -> Result<Members, CodecError> {
        let decoded = peer::Membership::decode(bytes.clone());
        decoded
            .map(members_in)
            .map_err(|error| CodecError(error.into()))
    }
}

pub(crate) fn members_out(members: &Members) -> peer::Membership {
    let member = |(node, member): (&u64, &Member)| peer::Member {
        node_id: *node,
        peer_address: member.peer_address.clone(),
        client_address: member.client_address.clone(),
    };
    let set = |voters: &std::collections::BTreeSet<u64>| peer::VoterSet {
        node_ids: voters.iter().copied().collect(),
    };
    peer::Membership {
        configs: members.voters.iter().map(set).collect(),
        members: members.nodes.iter().map(member).collect(),
    }
}

pub(crate) fn members_in(membership: peer::Membership) -> Members {
    let node = |member: peer::Member| {
        let peer::Member {
            node_id,
            peer_address,
            client_address,
        } = member;
        (
            node_id,
            Member {
                peer_address,
                client_address,
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
