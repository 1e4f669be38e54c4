//! openraft's view of the network: its calls, translated to [`Peer`](crate::Peer).

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use futures::{FutureExt as _, Stream, StreamExt as _, future, stream};
use openraft::{
    OptionalSend,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{RPCOption, RPCTypes, RaftNetworkFactory, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
        TransferLeaderRequest, VoteRequest, VoteResponse,
    },
    storage::Snapshot,
};

use crate::{
    Codec, Lane, Member, PeerError, Transport,
    convert::{Leader, TypeConfig, Vote, log_id_in, log_id_out, vote_in, vote_out},
    replication::pipeline::{Line, Pipeline},
    snapshot::{offer::SnapshotData, store::SnapshotStore},
    transport,
};

/// How long a follower may answer nothing while it syncs entries. The engine would give it one
/// heartbeat interval, and a busy disk would then look like a dead peer. Heartbeats keep that
/// limit.
const APPEND_LIMIT: Duration = Duration::from_secs(1);

pub(crate) struct Network {
    pub(crate) node: u64,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) codec: Arc<dyn Codec>,
    /// Addresses of members according to this node's configuration; those in the log are used for
    /// members that the configuration does not know.
    pub(crate) members: BTreeMap<u64, Member>,
    pub(crate) store: SnapshotStore,
    /// Whether this node is a witness.
    pub(crate) witness: bool,
}

impl Network {
    fn connect(&self, target: u64, member: &Member, lane: Lane) -> Connection {
        let member = self.members.get(&target).unwrap_or(member);
        Connection {
            node: self.node,
            target,
            append_limit: (lane == Lane::Log).then_some(APPEND_LIMIT),
            line: Line::new(
                self.transport.peer(target, member, lane),
                self.codec.clone(),
            ),
            store: self.store.clone(),
            witness: self.witness,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, member: &Member) -> Connection {
        self.connect(target, member, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, member: &Member) -> Connection {
        self.connect(target, member, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, member: &Member) -> Connection {
        self.connect(target, member, Lane::Snapshot)
    }
}

/// Outcome of one append, or of several.
type Appended = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

pub(crate) struct Connection {
    node: u64,
    target: u64,
    append_limit: Option<Duration>,
    line: Line,
    store: SnapshotStore,
    witness: bool,
}

impl Connection {
    fn rpc_error(&self, error: PeerError, action: RPCTypes) -> RPCError<TypeConfig> {
        rpc_error((self.node, self.target), error, action)
    }

    async fn ask_vote(
        &self,
        request: VoteRequest<TypeConfig>,
        pre_vote: bool,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = transport::VoteRequest {
            vote: vote_out(&request.vote),
            last: request.last_log_id.as_ref().map(log_id_out),
            pre_vote,
            leader_transfer: request.leadership_transfer,
        };
        let response = self
            .line
            .peer
            .vote(request, option.hard_ttl())
            .await
            .map_err(|error| self.rpc_error(error, RPCTypes::Vote))?;
        Ok(VoteResponse {
            vote: vote_in(response.vote),
            vote_granted: response.granted,
            last_log_id: response.last.map(log_id_in),
        })
    }
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let mut answers = self.stream_append(stream::iter([rpc]), option).await?;
        let answer = answers.next().await.transpose()?;
        let none = || NetworkError::from_string("the stream has ended");
        Ok(answer.ok_or_else(none)?.into())
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        let nodes = (self.node, self.target);
        let limit = self.append_limit.unwrap_or(option.hard_ttl());
        let pipeline = Pipeline::new(&mut self.line, input, limit);
        let answers = stream::unfold(pipeline, move |mut pipeline| async move {
            let answer = pipeline.next().await?;
            let failed = |error| rpc_error(nodes, error, RPCTypes::AppendEntries);
            Some((answer.map_err(failed), pipeline))
        });
        Box::pin(future::ready(Ok(Box::pin(answers) as BoxStream<'s, _>)))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(rpc, false, &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(rpc, true, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Leader, u64, Member, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let unreadable =
            |error: std::io::Error| StreamingError::Unreachable(Unreachable::new(&error));
        if self.witness {
            // Every full member has what its log lacks, so that only one that joins asks for it.
            let why = "a witness has no state to send: it is waiting for another leader";
            return Err(unreadable(std::io::Error::other(why)));
        }
        let cancel = Box::pin(cancel);
        let made = snapshot.snapshot.into_file().await.map_err(unreadable)?;
        let offer = made.offer(vote_out(&vote), &*self.line.codec);
        let offer = offer.map_err(unreadable)?;
        let sent = self.line.peer.install_snapshot(offer, option.hard_ttl());
        futures::select_biased! {
            sent = sent.fuse() => match sent {
                Ok(vote) => {
                    self.store.received();
                    Ok(SnapshotResponse::new(vote_in(vote)))
                }
                Err(error) => {
                    if matches!(error, PeerError::BadSnapshot(_)) {
                        self.store.forget();
                    }
                    Err(self.rpc_error(error, RPCTypes::InstallSnapshot).into())
                }
            },
            closed = cancel.fuse() => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<openraft::raft::TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let from = vote_out(request.from_leader());
        let last = request.last_log_id().map(log_id_out);
        self.line
            .peer
            .timeout_now(from, *request.to_node_id(), last, option.hard_ttl())
            .await
            .map_err(|error| self.rpc_error(error, RPCTypes::TransferLeader))?;
        Ok(Ok(()))
    }
}

/// Returns what the failure of a call between these nodes, from and to, is to the engine.
fn rpc_error((id, target): (u64, u64), error: PeerError, action: RPCTypes) -> RPCError<TypeConfig> {
    match error {
        PeerError::Unreachable(_) => RPCError::Unreachable(Unreachable::new(&error)),
        PeerError::Failed(_) | PeerError::BadSnapshot(_) => {
            RPCError::Network(NetworkError::new(&error))
        }
        PeerError::Timeout(timeout) => RPCError::Timeout(Timeout {
            action,
            id,
            target,
            timeout,
        }),
    }
}
