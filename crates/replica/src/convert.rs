//! openraft's types and ours, side by side. Nothing of openraft is stored or sent.

use std::{io, sync::Arc};

use bytes::Bytes;
use conclave_core::{Answer, Batch};
use conclave_storage::log;
use openraft::{
    EntryPayload, Membership, StoredMembership,
    raft::responder::Responder,
    vote::{RaftLeaderId as _, leader_id_adv::LeaderId},
};

use crate::{Codec, CodecError, Member, Members, trace::EntryTrace};

/// The types with which openraft is run. By hand, because its macro cannot name a responder.
#[derive(Debug, Clone, Copy, Default, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = Commands;
    type R = Decided;
    type NodeId = u64;
    type Node = Member;
    type Term = u64;
    type LeaderId = Leader;
    type Vote = Vote;
    type Payload = EntryPayload<Commands, u64, Member>;
    type Entry = Entry;
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = Completion<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type Leader = LeaderId<u64, u64>;
pub(crate) type LogId = openraft::LogId<Leader>;
pub(crate) type Vote = openraft::impls::Vote<Leader>;
pub(crate) type Entry = openraft::Entry<Leader, EntryPayload<Commands, u64, Member>>;
pub(crate) type StoredMembers = StoredMembership<Leader, u64, Member>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<Leader, u64, Member>;

/// An encoded batch: the bytes that are logged, replicated and applied are the same ones.
#[derive(Clone)]
pub(crate) struct Commands {
    pub(crate) bytes: Bytes,
    /// The batch in these bytes, on the node that has encoded it.
    pub(crate) batch: Option<Arc<Batch>>,
    /// Where the steps of the entry are noted, on the node that has proposed it, if a call in it is
    /// traced.
    pub(crate) trace: Option<Arc<EntryTrace>>,
}

impl Commands {
    /// Encodes a batch and keeps it.
    pub(crate) fn of(batch: Batch, codec: &dyn Codec) -> Self {
        let bytes = codec.encode_batch(&batch);
        Self {
            bytes,
            batch: Some(Arc::new(batch)),
            trace: None,
        }
    }

    /// Returns the batch.
    pub(crate) fn decode(self, codec: &dyn Codec) -> Result<Arc<Batch>, CodecError> {
        match self.batch {
            Some(batch) => {
                // The other nodes decide what they decode.
                debug_assert!(
                    codec
                        .decode_batch(&self.bytes)
                        .is_ok_and(|same| same == *batch)
                );
                Ok(batch)
            }
            None => codec.decode_batch(&self.bytes).map(Arc::new),
        }
    }
}

impl From<Bytes> for Commands {
    fn from(bytes: Bytes) -> Self {
        Self {
            bytes,
            batch: None,
            trace: None,
        }
    }
}

impl PartialEq for Commands {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Commands {}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Commands({} bytes)", self.bytes.len())
    }
}

impl std::fmt::Display for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

/// The results of the commands of an entry: for each the answer, and the log index of the entry in
/// which it was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decided(pub(crate) Vec<(Answer, u64)>);

/// Receives the outcome of a proposal, wherever that becomes known.
pub(crate) struct Completion<T>(pub(crate) Box<dyn FnOnce(T) + Send>);

impl<T: Send + 'static> Responder<TypeConfig, T> for Completion<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

pub(crate) fn log_id_in(id: log::LogId) -> LogId {
    LogId::new(Leader::new(id.term, id.node), id.index)
}

pub(crate) fn log_id_out(id: &LogId) -> log::LogId {
    let leader = id.committed_leader_id();
    log::LogId {
        term: leader.term,
        node: leader.node_id,
        index: id.index(),
    }
}

pub(crate) fn vote_in(vote: log::Vote) -> Vote {
    if vote.committed {
        Vote::new_committed(vote.term, vote.node)
    } else {
        Vote::new(vote.term, vote.node)
    }
}

pub(crate) fn vote_out(vote: &Vote) -> log::Vote {
    let Vote {
        leader_id,
        committed,
    } = vote;
    log::Vote {
        term: leader_id.term,
        node: leader_id.node_id,
        committed: *committed,
    }
}

pub(crate) fn entry_out(entry: Entry, codec: &dyn Codec) -> log::Entry {
    let id = log_id_out(&entry.log_id);
    let (kind, bytes) = match entry.payload {
        EntryPayload::Blank => (log::EntryKind::Blank, Bytes::new()),
        EntryPayload::Normal(commands) => (log::EntryKind::Commands, commands.bytes),
        EntryPayload::Membership(membership) => (
            log::EntryKind::Membership,
            codec.encode_members(&members_out(&membership)),
        ),
    };
    log::Entry { id, kind, bytes }
}

pub(crate) fn entry_in(entry: log::Entry, codec: &dyn Codec) -> io::Result<Entry> {
    let payload = match entry.kind {
        log::EntryKind::Blank => EntryPayload::Blank,
        log::EntryKind::Commands => EntryPayload::Normal(entry.bytes.into()),
        log::EntryKind::Membership => {
            let members = codec
                .decode_members(&entry.bytes)
                .map_err(io::Error::other)?;
            EntryPayload::Membership(members_in(members)?)
        }
    };
    Ok(Entry {
        log_id: log_id_in(entry.id),
        payload,
    })
}

pub(crate) fn members_out(membership: &Membership<u64, Member>) -> Members {
    Members {
        voters: membership.get_joint_config().clone(),
        nodes: membership
            .nodes()
            .map(|(id, member)| (*id, member.clone()))
            .collect(),
    }
}

pub(crate) fn members_in(members: Members) -> io::Result<Membership<u64, Member>> {
    Membership::new(members.voters, members.nodes).map_err(io::Error::other)
}

/// Returns the membership with the entry that set it, from what storage keeps.
pub(crate) fn stored_members_in(
    at: Option<log::LogId>,
    bytes: &Bytes,
    codec: &dyn Codec,
) -> io::Result<StoredMembers> {
    let members = codec.decode_members(bytes).map_err(io::Error::other)?;
    Ok(StoredMembers::new(at.map(log_id_in), members_in(members)?))
}
