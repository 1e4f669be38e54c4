//! Converts messages between nodes: protobuf and the replica's types, in both directions.
//!
//! Payloads of entries are not copied: the bytes that arrive are the bytes that are stored.

use std::time::Duration;

use conclave_replica::{
    AppendRequest, AppendResponse, Members, Outcome, PeerError, ProposeError, ReadError, Role,
    VoteRequest, VoteResponse,
};
use conclave_storage::log::{Entry, EntryKind, LogId, Vote};
use conclave_wire::{Problem, answer, peer};
use tonic::Status;

use crate::peer::codec::members_in;

/// Returns the status for a peer's request in which a part is missing or makes no sense.
pub(crate) fn malformed(what: &str) -> Status {
    Status::invalid_argument(format!("the peer's message is malformed: {what}"))
}

/// Returns the status of a request that the replica of this node could not serve.
pub(crate) fn failed(error: PeerError) -> Status {
    Problem::Broken {
        sentence: error.to_string(),
    }
    .to_status()
}

pub(crate) fn log_id_out(id: LogId) -> peer::LogId {
    peer::LogId {
        term: id.term,
        node_id: id.node,
        index: id.index,
    }
}

pub(crate) fn log_id_in(id: peer::LogId) -> LogId {
    LogId {
        term: id.term,
        node: id.node_id,
        index: id.index,
    }
}

pub(crate) fn vote_out(vote: Vote) -> peer::Vote {
    peer::Vote {
        term: vote.term,
        node_id: vote.node,
        committed: vote.committed,
    }
}

pub(crate) fn vote_in(vote: Option<peer::Vote>) -> Result<Vote, Status> {
    let vote = vote.ok_or_else(|| malformed("no vote"))?;
    Ok(Vote {
        term: vote.term,
        node: vote.node_id,
        committed: vote.committed,
    })
}

fn entry_out(entry: Entry) -> peer::LogEntry {
    let kind = match entry.kind {
        EntryKind::Blank => peer::EntryKind::Blank,
        EntryKind::Commands => peer::EntryKind::Commands,
        EntryKind::Membership => peer::EntryKind::Membership,
    };
    peer::LogEntry {
        id: Some(log_id_out(entry.id)),
        kind: kind.into(),
        payload: entry.bytes,
    }
}

fn entry_in(entry: peer::LogEntry) -> Result<Entry, Status> {
    let kind = match peer::EntryKind::try_from(entry.kind) {
        Ok(peer::EntryKind::Blank) => EntryKind::Blank,
        Ok(peer::EntryKind::Commands) => EntryKind::Commands,
        Ok(peer::EntryKind::Membership) => EntryKind::Membership,
        Ok(peer::EntryKind::Unspecified) | Err(_) => return Err(malformed("an unknown entry")),
    };
    let id = log_id_in(
        entry
            .id
            .ok_or_else(|| malformed("an entry without a place"))?,
    );
    Ok(Entry {
        id,
        kind,
        bytes: entry.payload,
    })
}

pub(crate) fn append_out(
    envelope: peer::Envelope,
    request: AppendRequest,
) -> peer::AppendEntriesRequest {
    peer::AppendEntriesRequest {
        envelope: Some(envelope),
        vote: Some(vote_out(request.vote)),
        previous: request.previous.map(log_id_out),
        entries: request.entries.into_iter().map(entry_out).collect(),
        committed: request.committed.map(log_id_out),
    }
}

pub(crate) fn append_in(request: peer::AppendEntriesRequest) -> Result<AppendRequest, Status> {
    Ok(AppendRequest {
        vote: vote_in(request.vote)?,
        previous: request.previous.map(log_id_in),
        entries: request
            .entries
            .into_iter()
            .map(entry_in)
            .collect::<Result<_, _>>()?,
        committed: request.committed.map(log_id_in),
    })
}

pub(crate) fn appended_out(response: AppendResponse) -> peer::AppendEntriesResponse {
    use peer::append_entries_response::{Conflict, PartialSuccess, Result as Outcome, Success};
    let result = match response {
        AppendResponse::Success => Outcome::Success(Success {}),
        AppendResponse::Partial(upto) => Outcome::Partial(PartialSuccess {
            matching: upto.map(log_id_out),
        }),
        AppendResponse::Conflict => Outcome::Conflict(Conflict {}),
        AppendResponse::HigherVote(vote) => Outcome::HigherVote(vote_out(vote)),
    };
    peer::AppendEntriesResponse {
        result: Some(result),
    }
}

pub(crate) fn appended_in(
    response: peer::AppendEntriesResponse,
) -> Result<AppendResponse, PeerError> {
    use peer::append_entries_response::Result as Outcome;
    Ok(
        match response.result.ok_or_else(|| senseless("no result"))? {
            Outcome::Success(_) => AppendResponse::Success,
            Outcome::Partial(partial) => AppendResponse::Partial(partial.matching.map(log_id_in)),
            Outcome::Conflict(_) => AppendResponse::Conflict,
            Outcome::HigherVote(vote) => {
                AppendResponse::HigherVote(vote_in(Some(vote)).map_err(|_| senseless("no vote"))?)
            }
        },
    )
}

/// Returns the error for a peer's answer that makes no sense.
pub(crate) fn senseless(what: &str) -> PeerError {
    PeerError::Failed(format!("the peer's answer is malformed: {what}"))
}

pub(crate) fn vote_request_out(
    envelope: peer::Envelope,
    request: &VoteRequest,
) -> peer::RequestVoteRequest {
    peer::RequestVoteRequest {
        envelope: Some(envelope),
        vote: Some(vote_out(request.vote)),
        last_log_id: request.last.map(log_id_out),
        pre_vote: request.pre_vote,
        leader_transfer: request.leader_transfer,
    }
}

pub(crate) fn vote_request_in(request: peer::RequestVoteRequest) -> Result<VoteRequest, Status> {
    Ok(VoteRequest {
        vote: vote_in(request.vote)?,
        last: request.last_log_id.map(log_id_in),
        pre_vote: request.pre_vote,
        leader_transfer: request.leader_transfer,
    })
}

pub(crate) fn voted_out(response: &VoteResponse) -> peer::RequestVoteResponse {
    peer::RequestVoteResponse {
        vote: Some(vote_out(response.vote)),
        granted: response.granted,
        last_log_id: response.last.map(log_id_out),
    }
}

pub(crate) fn voted_in(response: peer::RequestVoteResponse) -> Result<VoteResponse, PeerError> {
    Ok(VoteResponse {
        vote: vote_in(response.vote).map_err(|_| senseless("no vote"))?,
        granted: response.granted,
        last: response.last_log_id.map(log_id_in),
    })
}

fn failure(reason: peer::forward_failure::Reason, leader: Option<u64>) -> peer::ForwardFailure {
    peer::ForwardFailure {
        reason: reason.into(),
        leader_id: leader.unwrap_or(0),
    }
}

pub(crate) fn outcome_out(outcome: Result<Outcome, ProposeError>) -> peer::ForwardOutcome {
    use peer::{forward_failure::Reason, forward_outcome::Result as Sent};
    let (result, log_index) = match outcome {
        Ok(outcome) => (Sent::Answer(answer::encode(&outcome.answer)), outcome.index),
        Err(error) => {
            let failure = match error {
                ProposeError::Busy => failure(Reason::Busy, None),
                ProposeError::NotLeader { leader } => failure(Reason::NotLeader, leader),
                ProposeError::NoLeader { .. } => failure(Reason::NotLeader, None),
                ProposeError::OutcomeUnknown { .. } => failure(Reason::Unknown, None),
                // The sender is behind, or this node is: it asks again.
                ProposeError::VersionTooLow { .. } => failure(Reason::NotLeader, None),
                ProposeError::Stopping => failure(Reason::Stopping, None),
            };
            (Sent::Failure(failure), 0)
        }
    };
    peer::ForwardOutcome {
        result: Some(result),
        log_index,
    }
}

pub(crate) fn outcome_in(
    outcome: peer::ForwardOutcome,
    waited: Duration,
) -> Result<Outcome, ProposeError> {
    use peer::{forward_failure::Reason, forward_outcome::Result as Sent};
    let unknown = ProposeError::OutcomeUnknown { waited };
    match outcome.result {
        Some(Sent::Answer(encoded)) => match answer::decode(&encoded) {
            Ok(answer) => Ok(Outcome {
                answer,
                index: outcome.log_index,
            }),
            Err(error) => {
                tracing::warn!(%error, "failed to decode a peer's answer");
                Err(unknown)
            }
        },
        Some(Sent::Failure(failure)) => Err(match Reason::try_from(failure.reason) {
            Ok(Reason::Busy) => ProposeError::Busy,
            Ok(Reason::NotLeader) => ProposeError::NotLeader {
                leader: leader(failure.leader_id),
            },
            Ok(Reason::Stopping) => ProposeError::Stopping,
            Ok(Reason::Unknown | Reason::Unspecified) | Err(_) => unknown,
        }),
        None => Err(unknown),
    }
}

/// Returns a leader's number from a message, in which 0 means none.
pub(crate) fn leader(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

pub(crate) fn read_index_out(result: Result<u64, ReadError>) -> peer::ReadIndexResponse {
    use peer::{forward_failure::Reason, read_index_response::Result as Sent};
    let result = match result {
        Ok(index) => Sent::ReadIndex(index),
        Err(ReadError::NotLeader { leader }) => Sent::Failure(failure(Reason::NotLeader, leader)),
        Err(ReadError::NoLeader { .. } | ReadError::Behind { .. }) => {
            Sent::Failure(failure(Reason::NotLeader, None))
        }
        Err(ReadError::Stopping) => Sent::Failure(failure(Reason::Stopping, None)),
    };
    peer::ReadIndexResponse {
        result: Some(result),
    }
}

pub(crate) fn read_index_in(response: peer::ReadIndexResponse) -> Result<u64, ReadError> {
    use peer::read_index_response::Result as Sent;
    match response.result {
        Some(Sent::ReadIndex(index)) => Ok(index),
        Some(Sent::Failure(failure)) => Err(ReadError::NotLeader {
            leader: leader(failure.leader_id),
        }),
        None => Err(ReadError::NotLeader { leader: None }),
    }
}

/// Description that a member gives of its cluster.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) cluster_id: String,
    pub(crate) members: Members,
}

pub(crate) fn cluster_in(response: peer::DescribeClusterResponse) -> Cluster {
    Cluster {
        cluster_id: response.cluster_id,
        members: members_in(response.membership.unwrap_or_default()),
    }
}

/// Returns the numbers of `conclave.v1.NodeRole`.
pub(crate) fn role_number(role: Role) -> i32 {
    use conclave_wire::v1::NodeRole;
    let role = match role {
        Role::Leader => NodeRole::Leader,
        Role::Follower => NodeRole::Follower,
        Role::Candidate => NodeRole::Candidate,
        Role::Learner => NodeRole::Learner,
        Role::Stopped => NodeRole::Stopped,
    };
    role.into()
}
