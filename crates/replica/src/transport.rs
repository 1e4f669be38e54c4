//! What a replica needs of the world: a way to its peers, a format for its entries, and a listener
//! that hears what was applied.
//!
//! All are given from outside, so that this crate knows neither tonic nor protobuf, and a
//! simulated network can take the place of the real one.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use conclave_core::{Batch, Command, Event, Position, Timestamp};
use conclave_storage::log::{Entry, LogId, Vote};
use futures::{future::BoxFuture, stream::BoxStream};
use tokio::sync::mpsc;

use crate::{Member, Members, Outcome, ProposeError, ReadError, Trace};

/// Turns what is stored into bytes and back.
pub trait Codec: Send + Sync + 'static {
    /// Returns the bytes of a batch.
    fn encode_batch(&self, batch: &Batch) -> Bytes;
    /// Returns the batch in these bytes.
    ///
    /// # Errors
    /// If this version does not understand them: the node stops, it never skips an entry.
    fn decode_batch(&self, bytes: &Bytes) -> Result<Batch, CodecError>;
    /// Returns the bytes of a membership.
    fn encode_members(&self, members: &Members) -> Bytes;
    /// Returns the membership in these bytes.
    ///
    /// # Errors
    /// If this version does not understand them.
    fn decode_members(&self, bytes: &Bytes) -> Result<Members, CodecError>;
}

/// Hears what was decided. Called on the thread of the database's one writer: must not wait.
pub trait Listener: Send + Sync + 'static {
    /// Notes that everything up to entry `index` is decided; `events` are the events of the entries
    /// since the last call, in order. The database may have them only later:
    /// [`Written::reaches`](crate::Written::reaches).
    fn decided(&self, index: u64, events: Vec<(Position, Event)>);
    /// Notes that a snapshot has replaced the database: it has everything up to entry `index`, and
    /// the listener has not heard of what happened on the way there.
    fn installed(&self, index: u64);
}

/// Stored bytes cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("a stored entry cannot be understood: {0}")]
pub struct CodecError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Kinds of traffic that must not wait for each other: each has a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Log entries and votes.
    Log,
    /// Signs of life.
    Heartbeat,
    /// Snapshots.
    Snapshot,
    /// Forwarded commands and read indexes.
    Calls,
}

/// Makes connections to peers. Never blocks: a peer is connected when it is first used.
pub trait Transport: Send + Sync + 'static {
    /// Returns a way to `node`.
    fn peer(&self, node: u64, member: &Member, lane: Lane) -> Arc<dyn Peer>;
}

/// Requests on one stream of appends that have no response yet, at most. More would cut the
/// entries that wait into more messages and syncs.
pub const APPENDS_UNANSWERED_MAX: usize = 8;

/// An open stream of appends to one peer. Dropping it abandons what is unanswered.
pub struct Appends {
    /// Takes requests: at least [`APPENDS_UNANSWERED_MAX`] without waiting.
    pub requests: mpsc::Sender<AppendRequest>,
    /// One response for each request, in their order. Nothing follows a failure.
    pub responses: BoxStream<'static, Result<AppendResponse, PeerError>>,
}

/// One peer. Every call ends by its time limit.
pub trait Peer: Send + Sync + 'static {
    /// Opens a stream on which entries are replicated. Its user sets a limit to the responses.
    fn appends(&self, limit: Duration) -> BoxFuture<'_, Result<Appends, PeerError>>;
    /// Asks for a vote, or whether one would be given.
    fn vote(
        &self,
        request: VoteRequest,
        limit: Duration,
    ) -> BoxFuture<'_, Result<VoteResponse, PeerError>>;
    /// Asks the peer to campaign at once: the leader with vote `from` steps back for `to`, which
    /// must have `last` in its log.
    fn timeout_now(
        &self,
        from: Vote,
        to: u64,
        last: Option<LogId>,
        limit: Duration,
    ) -> BoxFuture<'_, Result<(), PeerError>>;
    /// Sends a snapshot; returns the receiver's vote once it is installed or refused. `limit` is
    /// the longest time in which nothing may go on.
    fn install_snapshot(
        &self,
        offer: SnapshotOffer,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Vote, PeerError>>;
    /// Forwards commands to the peer if it leads: one result each, in their order. What it does for
    /// them belongs to these traces.
    fn forward(
        &self,
        commands: Vec<Command>,
        traces: Vec<Trace>,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Vec<Result<Outcome, ProposeError>>, PeerError>>;
    /// Asks the peer, if it leads, up to where a linearizable read must have applied.
    fn read_index(
        &self,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Result<u64, ReadError>, PeerError>>;
    /// Asks what the peer's clock says.
    fn clock(&self, limit: Duration) -> BoxFuture<'_, Result<Timestamp, PeerError>>;
}

/// A peer did not answer. The requested action may or may not have been done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerError {
    /// No connection; nothing was sent. A pause before the next attempt makes sense.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The connection or the peer failed.
    #[error("failed: {0}")]
    Failed(String),
    /// A whole snapshot came and was not what it should be: another one must be made.
    #[error("the snapshot was refused: {0}")]
    BadSnapshot(String),
    /// No answer within the time limit.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Entries for a follower; none is a sign of life.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// The leader's vote.
    pub vote: Vote,
    /// The entry before the first.
    pub previous: Option<LogId>,
    /// The entries.
    pub entries: Vec<Entry>,
    /// Up to where the leader has committed.
    pub committed: Option<LogId>,
}

/// Outcome of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendResponse {
    /// All are on disk.
    Success,
    /// Those up to here are on disk.
    Partial(Option<LogId>),
    /// The entry before the first is not the same there.
    Conflict,
    /// The follower follows a higher vote.
    HigherVote(Vote),
}

/// Asks for a vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteRequest {
    /// The requested vote.
    pub vote: Vote,
    /// The last entry of the candidate's log.
    pub last: Option<LogId>,
    /// Only ask whether it would be granted.
    pub pre_vote: bool,
    /// The leader itself wants this election: its lease does not count.
    pub leader_transfer: bool,
}

/// A vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteResponse {
    /// The voter's vote now.
    pub vote: Vote,
    /// Whether it was granted.
    pub granted: bool,
    /// The last entry of the voter's log.
    pub last: Option<LogId>,
}

/// A snapshot for a follower, or from the leader.
#[derive(Clone, Debug)]
pub struct SnapshotOffer {
    /// The leader's vote.
    pub vote: Vote,
    /// The last entry that it covers.
    pub last: LogId,
    /// The entry that set the membership.
    pub members_at: Option<LogId>,
    /// The membership.
    pub members: Members,
    /// The file. A receiver has verified it against `blake3` and owns it: it may be moved.
    pub file: PathBuf,
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 of the file.
    pub blake3: [u8; 32],
}
