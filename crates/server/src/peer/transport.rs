//! Calls peers over gRPC, with one connection for each peer and lane.
//!
//! Always true: every call ends by its limit. A peer that stops answering is one line in the log,
//! and one more when it answers again, however many calls fail in between.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use conclave_core::{Command, Timestamp};
use conclave_replica::{
    AppendRequest, AppendResponse, Lane, Member, Outcome, Peer, PeerError, ProposeError, ReadError,
    SnapshotOffer, Transport, VoteRequest, VoteResponse,
};
use conclave_storage::log::{LogId, Vote};
use conclave_wire::{
    Problem, batch,
    peer::{self, peer_service_client::PeerServiceClient},
    v1,
};
use futures::future::BoxFuture;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue, transport::Channel};

use crate::{
    auth::credential::{self, Credential},
    peer::{
        connect::{connect_lazily, failure_of},
        convert::{self, Cluster, cluster_in},
        digest_points::{Points, points_in},
        membership::ChangeRequest,
        reachability::Reachability,
        snapshots,
    },
    tls::Security,
};

/// Maximum size of a message between nodes in bytes: the largest entry and what is around it.
pub(crate) const PEER_MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Makes and keeps the connections of one node.
pub(crate) struct GrpcTransport {
    node: u64,
    cluster_id: String,
    /// Word of this node's incarnation.
    incarnation: u64,
    security: Security,
    /// Addresses of members that are not reached where the caller thinks.
    moved: Mutex<BTreeMap<u64, String>>,
    peers: Mutex<BTreeMap<(u64, Lane), Arc<GrpcPeer>>>,
    /// State that all lanes of a peer share.
    reachable: Mutex<BTreeMap<u64, Arc<Reachability>>>,
    snapshots: Arc<snapshots::Sender>,
}

impl GrpcTransport {
    pub(crate) fn new(
        node: u64,
        cluster_id: String,
        incarnation: u64,
        security: Security,
        snapshots: snapshots::Sender,
    ) -> Self {
        Self {
            node,
            cluster_id,
            incarnation,
            security,
            moved: Mutex::default(),
            peers: Mutex::default(),
            reachable: Mutex::default(),
            snapshots: Arc::new(snapshots),
        }
    }

    /// Returns the connection to a peer, which is made when it is first used.
    pub(crate) fn grpc_peer(&self, node: u64, member: &Member, lane: Lane) -> Arc<GrpcPeer> {
        let mut peers = self.peers.lock().unwrap_or_else(|error| error.into_inner());
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let address = moved.get(&node).unwrap_or(&member.peer_address);
        let known = peers.get(&(node, lane));
        if let Some(known) = known.filter(|known| known.is_at(address)) {
            return known.clone();
        }
        let address = address.clone();
        drop(moved);
        let mut reachable = self
            .reachable
            .lock()
            .unwrap_or_else(|error| error.into_inner());
        let reachable = reachable
            .entry(node)
            .or_insert_with(|| Arc::new(Reachability::new(node)));
        let peer = Arc::new(GrpcPeer {
            envelope: self.envelope(node),
            security: self.security.clone(),
            line: RwLock::new(self.line(node, address)),
            reachable: reachable.clone(),
            appends: tokio::sync::Mutex::default(),
            snapshots: self.snapshots.clone(),
        });
        peers.insert((node, lane), peer.clone());
        peer
    }

    /// Uses this address for a node from now on, also for existing lanes.
    pub(crate) fn redirect(&self, node: u64, address: &str) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.insert(node, address.to_owned());
        drop(moved);
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        for ((_, _), peer) in peers.iter().filter(|((other, _), _)| *other == node) {
            let mut line = peer.line.write().unwrap_or_else(PoisonError::into_inner);
            if line.address != address {
                *line = self.line(node, address.to_owned());
            }
        }
    }

    fn line(&self, node: u64, address: String) -> Line {
        line_to(&self.security, node, address)
    }

    /// Returns the envelope of a request to this node.
    pub(crate) fn envelope(&self, target_node_id: u64) -> peer::Envelope {
        peer::Envelope {
            cluster_id: self.cluster_id.clone(),
            source_node_id: self.node,
            target_node_id,
            source_incarnation: self.incarnation,
        }
    }

    /// Returns the envelope of a request to a node whose number is not known.
    pub(crate) fn envelope_for_any_node(&self) -> peer::Envelope {
        self.envelope(0)
    }
}

impl Transport for GrpcTransport {
    fn peer(&self, node: u64, member: &Member, lane: Lane) -> Arc<dyn Peer> {
        self.grpc_peer(node, member, lane)
    }
}

/// One lane to one peer.
pub(crate) struct GrpcPeer {
    envelope: peer::Envelope,
    security: Security,
    line: RwLock<Line>,
    reachable: Arc<Reachability>,
    /// Stream of entries, while it is not in use.
    appends: tokio::sync::Mutex<Option<Appends>>,
    snapshots: Arc<snapshots::Sender>,
}

/// Address of a peer, and the connection to it.
struct Line {
    address: String,
    /// Generation of what this node proved when the connection was made.
    generation: u64,
    /// `None` if the address is invalid.
    channel: Option<Channel>,
}

fn line_to(security: &Security, node: u64, address: String) -> Line {
    Line {
        generation: security.tls.generation(),
        channel: connect_lazily(&address, &security.dial(node)),
        address,
    }
}

/// An open stream of entries: one response for each request.
struct Appends {
    generation: u64,
    requests: mpsc::Sender<peer::AppendEntriesRequest>,
    responses: Streaming<peer::AppendEntriesResponse>,
}

pub(crate) type Service = PeerServiceClient<Channel>;

impl GrpcPeer {
    /// Returns the envelope of a request to the peer.
    pub(crate) fn envelope(&self) -> peer::Envelope {
        self.envelope.clone()
    }

    pub(crate) async fn call<T, F>(
        &self,
        limit: Duration,
        call: impl FnOnce(Service) -> F,
    ) -> Result<T, PeerError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let outcome = match tokio::time::timeout(limit, call(self.service()?)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(failure_of(&status)),
            Err(_) => Err(PeerError::Timeout(limit)),
        };
        self.reachable.note(outcome.as_ref().err());
        outcome
    }

    fn is_at(&self, address: &str) -> bool {
        let line = self.line.read().unwrap_or_else(PoisonError::into_inner);
        line.address == address
    }

    /// Sends the announcement of this node.
    pub(crate) async fn announce(
        &self,
        request: peer::AnnounceRequest,
        limit: Duration,
    ) -> Result<peer::AnnounceResponse, PeerError> {
        let request = peer::AnnounceRequest {
            envelope: Some(self.envelope.clone()),
            ..request
        };
        let call = |mut service: Service| async move { service.announce(request).await };
        self.call(limit, call).await
    }

    fn service(&self) -> Result<Service, PeerError> {
        self.renew_line();
        let line = self.line.read().unwrap_or_else(PoisonError::into_inner);
        let Some(channel) = line.channel.clone() else {
            let sentence = format!("{} is not an address", line.address);
            return Err(PeerError::Unreachable(sentence));
        };
        Ok(PeerServiceClient::new(channel)
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX))
    }

    /// Makes another connection if this node can prove more than when it was made.
    fn renew_line(&self) {
        let generation = self.security.tls.generation();
        let line = self.line.read().unwrap_or_else(PoisonError::into_inner);
        if line.generation == generation {
            return;
        }
        drop(line);
        let mut line = self.line.write().unwrap_or_else(PoisonError::into_inner);
        let address = line.address.clone();
        *line = line_to(&self.security, self.envelope.target_node_id, address);
    }

    /// Sends a request on this lane's stream and receives its response. The stream is put back only
    /// after that: a stream that was left in the middle is dropped, and the next request opens
    /// another.
    async fn append_on_stream(
        &self,
        request: peer::AppendEntriesRequest,
    ) -> Result<peer::AppendEntriesResponse, PeerError> {
        let mut place = self.appends.lock().await;
        let generation = self.security.tls.generation();
        let open = place.take().filter(|open| open.generation == generation);
        let mut appends = match open {
            Some(appends) => appends,
            None => {
                let (requests, queue) = mpsc::channel(1);
                let opened = self
                    .service()?
                    .append_entries(ReceiverStream::new(queue))
                    .await;
                let responses = opened.map_err(|status| failure_of(&status))?.into_inner();
                Appends {
                    generation,
                    requests,
                    responses,
                }
            }
        };
        let gone = || PeerError::Failed("the stream has ended".to_owned());
        appends.requests.send(request).await.map_err(|_| gone())?;
        let response = appends.responses.message().await;
        let response = response
            .map_err(|status| failure_of(&status))?
            .ok_or_else(gone)?;
        *place = Some(appends);
        Ok(response)
    }

    /// Sends gossip to the peer.
    pub(crate) async fn gossip(
        &self,
        news: peer::gossip_request::News,
        limit: Duration,
    ) -> Result<(), PeerError> {
        let request = peer::GossipRequest {
            envelope: Some(self.envelope.clone()),
            news: Some(news),
        };
        let call = |mut service: Service| async move { service.gossip(request).await };
        self.call(limit, call).await.map(|_| ())
    }

    /// Asks the peer, as the leader, for another membership.
    pub(crate) async fn change_members(
        &self,
        request: &ChangeRequest,
        credential: &Credential,
        limit: Duration,
    ) -> Result<v1::ChangeMembersResponse, Problem> {
        let request = peer::ChangeMembersRequest {
            envelope: Some(self.envelope.clone()),
            request: Some(request.to_wire()),
        };
        let request = on_behalf(request, credential, limit);
        let call = |mut service: Service| async move { service.change_members(request).await };
        let response = self.ask(limit, call).await?.response;
        response.ok_or_else(no_leader)
    }

    /// Asks the peer, as the leader, to transfer leadership.
    pub(crate) async fn transfer_leader(
        &self,
        to: u64,
        credential: &Credential,
        limit: Duration,
    ) -> Result<u64, Problem> {
        let request = peer::TransferLeaderRequest {
            envelope: Some(self.envelope.clone()),
            to_node_id: to,
        };
        let request = on_behalf(request, credential, limit);
        let call = |mut service: Service| async move { service.transfer_leader(request).await };
        Ok(self.ask(limit, call).await?.leader_node_id)
    }

    /// Sends one command to the peer, as the leader, with the client's credential.
    pub(crate) async fn forward_proven(
        &self,
        command: &Command,
        credential: &Credential,
        limit: Duration,
    ) -> Result<Result<Outcome, ProposeError>, Problem> {
        let request = peer::ForwardRequest {
            envelope: Some(self.envelope.clone()),
            commands: vec![batch::encode_command(command)],
        };
        let request = on_behalf(request, credential, limit);
        let call = |mut service: Service| async move { service.forward(request).await };
        let outcome = self.ask(limit, call).await?.outcomes.pop();
        Ok(convert::outcome_in(outcome.unwrap_or_default(), limit))
    }

    /// Asks the peer which cluster it belongs to.
    pub(crate) async fn describe(&self, limit: Duration) -> Result<Cluster, PeerError> {
        let call = |mut service: Service| async move {
            service
                .describe_cluster(peer::DescribeClusterRequest {})
                .await
        };
        // A node that answers this may refuse everything else, and then it does not count as
        // reached.
        match tokio::time::timeout(limit, call(self.service()?)).await {
            Ok(Ok(response)) => Ok(cluster_in(response.into_inner())),
            Ok(Err(status)) => Err(failure_of(&status)),
            Err(_) => Err(PeerError::Timeout(limit)),
        }
    }

    /// Makes a call for an administrator, who gets the peer's refusal.
    async fn ask<T, F>(
        &self,
        limit: Duration,
        call: impl FnOnce(Service) -> F,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let service = self.service().map_err(|_| no_leader())?;
        match tokio::time::timeout(limit, call(service)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Problem::from_status(&status).unwrap_or_else(no_leader)),
            Err(_) => Err(no_leader()),
        }
    }

    /// Asks the peer for its status.
    pub(crate) async fn status(
        &self,
        limit: Duration,
    ) -> Result<peer::GetNodeStatusResponse, PeerError> {
        let request = peer::GetNodeStatusRequest {
            envelope: Some(self.envelope.clone()),
        };
        self.call(limit, |mut service| async move {
            service.get_node_status(request).await
        })
        .await
    }
}

impl GrpcPeer {
    /// Asks the peer for the digests of its state.
    pub(crate) async fn digests(&self, limit: Duration) -> Result<Points, PeerError> {
        let request = peer::GetDigestsRequest {
            envelope: Some(self.envelope.clone()),
        };
        let call = |mut service: Service| async move { service.get_digests(request).await };
        self.call(limit, call).await.map(points_in)
    }

    /// Has the peer hold its state after entry `log_index`, or examine what it holds.
    pub(crate) async fn check(
        &self,
        log_index: u64,
        hold: bool,
        limit: Duration,
    ) -> Result<peer::CheckNodeResponse, PeerError> {
        let request = peer::CheckNodeRequest {
            envelope: Some(self.envelope.clone()),
            log_index,
            hold,
        };
        let call = |mut service: Service| async move { service.check_node(request).await };
        self.call(limit, call).await
    }
}

/// Returns a request with the client's credential: the leader does not trust a node without a vote
/// that an administrator or the owner of a session asks, and verifies the credential itself.
fn on_behalf<T>(message: T, credential: &Credential, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    let header = credential.to_header();
    if let Some(mut header) = header.and_then(|header| MetadataValue::try_from(header).ok()) {
        header.set_sensitive(true);
        request.metadata_mut().insert(credential::HEADER, header);
    }
    request
}

fn no_leader() -> Problem {
    Problem::NoLeader {
        nodes_reachable: None,
    }
}

impl Peer for GrpcPeer {
    fn append(
        &self,
        request: AppendRequest,
        limit: Duration,
    ) -> BoxFuture<'_, Result<AppendResponse, PeerError>> {
        let request = convert::append_out(self.envelope.clone(), request);
        Box::pin(async move {
            let deadline = Instant::now() + limit;
            let outcome = match timeout_at(deadline, self.append_on_stream(request)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(PeerError::Timeout(limit)),
            };
            self.reachable.note(outcome.as_ref().err());
            convert::appended_in(outcome?)
        })
    }

    fn vote(
        &self,
        request: VoteRequest,
        limit: Duration,
    ) -> BoxFuture<'_, Result<VoteResponse, PeerError>> {
        let request = convert::vote_request_out(self.envelope.clone(), &request);
        Box::pin(async move {
            let call = |mut service: Service| async move { service.request_vote(request).await };
            convert::voted_in(self.call(limit, call).await?)
        })
    }

    fn timeout_now(
        &self,
        from: Vote,
        to: u64,
        last: Option<LogId>,
        limit: Duration,
    ) -> BoxFuture<'_, Result<(), PeerError>> {
        let request = peer::TimeoutNowRequest {
            envelope: Some(self.envelope.clone()),
            from_leader: Some(convert::vote_out(from)),
            to_node_id: to,
            last_log_id: last.map(convert::log_id_out),
        };
        Box::pin(async move {
            let call = |mut service: Service| async move { service.timeout_now(request).await };
            self.call(limit, call).await.map(|_| ())
        })
    }

    fn install_snapshot(
        &self,
        offer: SnapshotOffer,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Vote, PeerError>> {
        Box::pin(async move {
            let (service, envelope) = (self.service()?, self.envelope.clone());
            self.snapshots.send(service, envelope, offer, limit).await
        })
    }

    fn forward(
        &self,
        commands: Vec<Command>,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Vec<Result<Outcome, ProposeError>>, PeerError>> {
        let commands = commands.iter().map(batch::encode_command).collect();
        let envelope = Some(self.envelope.clone());
        Box::pin(async move {
            let mut request = Request::new(peer::ForwardRequest { envelope, commands });
            request.set_timeout(limit);
            let call = |mut service: Service| async move { service.forward(request).await };
            let response = self.call(limit, call).await?;
            let outcomes = response.outcomes.into_iter();
            Ok(outcomes
                .map(|outcome| convert::outcome_in(outcome, limit))
                .collect())
        })
    }

    fn read_index(
        &self,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Result<u64, ReadError>, PeerError>> {
        let request = peer::ReadIndexRequest {
            envelope: Some(self.envelope.clone()),
        };
        Box::pin(async move {
            let call = |mut service: Service| async move { service.read_index(request).await };
            self.call(limit, call).await.map(convert::read_index_in)
        })
    }

    fn clock(&self, limit: Duration) -> BoxFuture<'_, Result<Timestamp, PeerError>> {
        Box::pin(async move {
            let status = self.status(limit).await?;
            Ok(Timestamp(status.clock_ms))
        })
    }
}
