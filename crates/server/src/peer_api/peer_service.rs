//! Serves the calls of peers: checks each request and passes it to the replica or the cluster.
//!
//! It decides about no caller itself (`peer_guard.rs`).
//!
//! Always true: nothing is done for a peer of another cluster, or for a request to another node.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_core::TokenHash;
use conclave_replica::AppendRequest;
use conclave_wire::{
    Problem, batch,
    peer::{self, peer_service_server::PeerService},
};
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    auth::credential::Credential,
    base::deadline::Deadline,
    cluster::{gossip, roll_call::hear::HearError, upgrade::version_in},
    context::{call, node_context::NodeContext},
    identity::epoch,
    integrity::rows::{ranges_in, rows_out},
    peer::{
        codec::members_out,
        convert::{self, malformed},
        digest_points::points_out,
        membership::ChangeRequest,
        snapshots::next_part,
    },
    peer_api::{peer_guard::caller, peer_roles, snapshot_install},
    protocol::problems,
    tls::Caller,
};

/// How long forwarded commands may take here; the forwarder asks another node after that.
const FORWARD_LIMIT: Duration = Duration::from_millis(1800);
/// How long the confirmation of a read index may take.
const READ_INDEX_LIMIT: Duration = Duration::from_millis(900);

#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) shared: Arc<NodeContext>,
}

/// One stream of entries, of the peer that has shown this. When it ends, the replica is notified.
struct AppendStream {
    shared: Arc<NodeContext>,
    caller: Caller,
    /// Number of the peer, once a request of it was trusted; 0 before that.
    source: AtomicU64,
}

impl AppendStream {
    /// Checks one request of the stream.
    fn check(&self, mut request: peer::AppendEntriesRequest) -> Result<AppendRequest, Status> {
        let envelope = request.envelope.take();
        let source = envelope.as_ref().map_or(0, |from| from.source_node_id);
        let call = peer_roles::APPEND_ENTRIES;
        self.shared.check_request(&self.caller, call, envelope)?;
        if self.shared.space.is_full() && !request.entries.is_empty() {
            return Err(Problem::NoSpace.into());
        }
        self.source.store(source, Ordering::Relaxed);
        convert::append_in(request)
    }
}

impl Drop for AppendStream {
    fn drop(&mut self) {
        match self.source.load(Ordering::Relaxed) {
            0 => {}
            source => self.shared.replica.connection_lost(source),
        }
    }
}

fn unheard(error: &HearError) -> Status {
    match error {
        HearError::Malformed(what) => malformed(what),
        HearError::TooMany => Status::resource_exhausted(error.to_string()),
        HearError::NotStored(_) => Status::internal(error.to_string()),
    }
}

#[tonic::async_trait]
impl PeerService for Peers {
    type AppendEntriesStream =
        Pin<Box<dyn Stream<Item = Result<peer::AppendEntriesResponse, Status>> + Send>>;

    async fn append_entries(
        &self,
        request: Request<Streaming<peer::AppendEntriesRequest>>,
    ) -> Result<Response<Self::AppendEntriesStream>, Status> {
        let stream = AppendStream {
            shared: self.shared.clone(),
            caller: caller(&request),
            source: AtomicU64::new(0),
        };
        let requests = request.into_inner();
        let requests = requests.map(move |request| stream.check(request?));
        let responses = self.shared.replica.on_appends(requests);
        let responses = responses
            .map(|response| Ok(convert::appended_out(response?.map_err(convert::failed)?)));
        Ok(Response::new(Box::pin(responses)))
    }

    async fn request_vote(
        &self,
        request: Request<peer::RequestVoteRequest>,
    ) -> Result<Response<peer::RequestVoteResponse>, Status> {
        let caller = caller(&request);
        let mut request = request.into_inner();
        self.shared
            .check_request(&caller, peer_roles::REQUEST_VOTE, request.envelope.take())?;
        let request = convert::vote_request_in(request)?;
        let response = self
            .shared
            .replica
            .on_vote(request)
            .await
            .map_err(convert::failed)?;
        Ok(Response::new(convert::voted_out(&response)))
    }

    async fn timeout_now(
        &self,
        request: Request<peer::TimeoutNowRequest>,
    ) -> Result<Response<peer::TimeoutNowResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        self.shared
            .check_request(&caller, peer_roles::TIMEOUT_NOW, request.envelope)?;
        let from = convert::vote_in(request.from_leader)?;
        let last = request.last_log_id.map(convert::log_id_in);
        let heard = self
            .shared
            .replica
            .on_timeout_now(from, request.to_node_id, last)
            .await;
        heard.map_err(convert::failed)?;
        Ok(Response::new(peer::TimeoutNowResponse {}))
    }

    async fn get_snapshot_progress(
        &self,
        request: Request<peer::GetSnapshotProgressRequest>,
    ) -> Result<Response<peer::GetSnapshotProgressResponse>, Status> {
        let caller = caller(&request);
        let mut request = request.into_inner();
        self.shared.check_request(
            &caller,
            peer_roles::GET_SNAPSHOT_PROGRESS,
            request.envelope.take(),
        )?;
        let progress = self.shared.snapshots.progress(&request)?;
        Ok(Response::new(progress))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<peer::InstallSnapshotRequest>>,
    ) -> Result<Response<peer::InstallSnapshotResponse>, Status> {
        use peer::install_snapshot_request::Part;
        let caller = caller(&request);
        let mut parts = request.into_inner();
        let Some(Part::Header(mut header)) = next_part(&mut parts).await? else {
            return Err(malformed("a snapshot without a header"));
        };
        let envelope = header.envelope.take();
        let source = envelope.as_ref().map_or(0, |from| from.source_node_id);
        self.shared
            .check_request(&caller, peer_roles::INSTALL_SNAPSHOT, envelope)?;
        let vote = snapshot_install::receive(&self.shared, source, header, parts).await?;
        Ok(Response::new(peer::InstallSnapshotResponse {
            vote: Some(convert::vote_out(vote)),
        }))
    }

    async fn forward(
        &self,
        request: Request<peer::ForwardRequest>,
    ) -> Result<Response<peer::ForwardResponse>, Status> {
        let caller = caller(&request);
        let (metadata, _, request) = request.into_parts();
        let checked = self
            .shared
            .check_request(&caller, peer_roles::FORWARD, request.envelope)?;
        let commands = request.commands.into_iter().map(batch::decode_command);
        let commands = commands.collect::<Result<Vec<_>, _>>();
        let commands = commands.map_err(|error| malformed(&error.to_string()))?;
        if checked.standing.needs_proof() {
            let deadline = Deadline::after(FORWARD_LIMIT);
            let credential = Credential::in_headers(metadata.as_ref());
            let proven = self.shared.proven(&commands, &credential, deadline).await;
            proven.map_err(|problem| self.shared.refusal_status(&caller, problem))?;
        }
        let may_forward = |command| self.shared.may_forward(checked.names.node, command);
        if !commands.iter().all(may_forward) {
            let why = "this node may not forward this command";
            return Err(Status::permission_denied(why));
        }
        let outcomes = self
            .shared
            .replica
            .propose_here(commands, FORWARD_LIMIT)
            .await;
        let outcomes = outcomes.into_iter().map(convert::outcome_out).collect();
        Ok(Response::new(peer::ForwardResponse { outcomes }))
    }

    async fn read_index(
        &self,
        request: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexResponse>, Status> {
        self.shared.check_request(
            &caller(&request),
            peer_roles::READ_INDEX,
            request.into_inner().envelope,
        )?;
        let index = self.shared.replica.read_index_here(READ_INDEX_LIMIT).await;
        Ok(Response::new(convert::read_index_out(index)))
    }

    async fn gossip(
        &self,
        request: Request<peer::GossipRequest>,
    ) -> Result<Response<peer::GossipResponse>, Status> {
        let caller = caller(&request);
        let mut request = request.into_inner();
        let source = request
            .envelope
            .as_ref()
            .map_or(0, |envelope| envelope.source_node_id);
        self.shared
            .check_request(&caller, peer_roles::GOSSIP, request.envelope.take())?;
        let news = request.news.ok_or_else(|| malformed("no news"))?;
        gossip::hear(&self.shared, source, news).await;
        Ok(Response::new(peer::GossipResponse {}))
    }

    async fn change_members(
        &self,
        request: Request<peer::ChangeMembersRequest>,
    ) -> Result<Response<peer::ChangeMembersResponse>, Status> {
        let call = call::Call::in_headers(request.metadata().as_ref(), None);
        let caller = caller(&request);
        let request = request.into_inner();
        let role = peer_roles::CHANGE_MEMBERS;
        let checked = self.shared.check_request(&caller, role, request.envelope)?;
        let asked = request.request.ok_or_else(|| malformed("no change"))?;
        let (newest, witness) = (version_in(request.newest_version), request.witness);
        let asked =
            ChangeRequest::from_wire(asked).map(|asked| asked.said_by_node(newest, witness));
        let is_own = |asked: &ChangeRequest| self.shared.is_own_place(checked.names, &asked.change);
        if !asked.as_ref().is_ok_and(is_own) {
            self.shared.on_behalf(&caller, role, checked, &call).await?;
        }
        let limit = call.deadline.left();
        let response = self.shared.change_members_here(&asked?, limit).await?;
        Ok(Response::new(peer::ChangeMembersResponse {
            response: Some(response),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<peer::TransferLeaderRequest>,
    ) -> Result<Response<peer::TransferLeaderResponse>, Status> {
        let call = call::Call::in_headers(request.metadata().as_ref(), None);
        let caller = caller(&request);
        let request = request.into_inner();
        let (role, envelope) = (peer_roles::TRANSFER_LEADER, request.envelope);
        let checked = self.shared.check_on_behalf(&caller, role, envelope, &call);
        checked.await?;
        let limit = call.deadline.left();
        let done = self.shared.transfer_leader_here(request.to_node_id, limit);
        let leader_node_id = done.await?;
        Ok(Response::new(peer::TransferLeaderResponse {
            leader_node_id,
        }))
    }

    async fn finalize_upgrade(
        &self,
        request: Request<peer::FinalizeUpgradeRequest>,
    ) -> Result<Response<peer::FinalizeUpgradeResponse>, Status> {
        let call = call::Call::in_headers(request.metadata().as_ref(), None);
        let caller = caller(&request);
        let request = request.into_inner();
        let (role, envelope) = (peer_roles::FINALIZE_UPGRADE, request.envelope);
        let checked = self.shared.check_on_behalf(&caller, role, envelope, &call);
        checked.await?;
        let asked = version_in(request.cluster_version);
        let version = self.shared.raise_here(asked, call.deadline.left()).await?;
        Ok(Response::new(peer::FinalizeUpgradeResponse {
            cluster_version: version.0,
        }))
    }

    async fn drain_node(
        &self,
        request: Request<peer::DrainNodeRequest>,
    ) -> Result<Response<peer::DrainNodeResponse>, Status> {
        let call = call::Call::in_headers(request.metadata().as_ref(), None);
        let caller = caller(&request);
        let request = request.into_inner();
        let (role, envelope) = (peer_roles::DRAIN_NODE, request.envelope);
        let checked = self.shared.check_on_behalf(&caller, role, envelope, &call);
        checked.await?;
        let asked = request.request.ok_or_else(|| malformed("no request"))?;
        let drained = self.shared.drain_here(&asked, &call.credential);
        let response = Some(drained.await?);
        Ok(Response::new(peer::DrainNodeResponse { response }))
    }

    async fn describe_cluster(
        &self,
        request: Request<peer::DescribeClusterRequest>,
    ) -> Result<Response<peer::DescribeClusterResponse>, Status> {
        // Also for a node that was removed, which learns of its removal this way.
        let call = peer_roles::DESCRIBE_CLUSTER;
        self.shared.may_call(&caller(&request), call)?;
        let confirmed = self.shared.replica.read_barrier(READ_INDEX_LIMIT).await;
        confirmed.map_err(|error| problems::of_read(&error))?;
        Ok(Response::new(peer::DescribeClusterResponse {
            cluster_id: self.shared.identity.cluster_id.clone(),
            membership: Some(members_out(&self.shared.replica.status().members)),
        }))
    }

    async fn get_node_status(
        &self,
        request: Request<peer::GetNodeStatusRequest>,
    ) -> Result<Response<peer::GetNodeStatusResponse>, Status> {
        self.shared.check_request(
            &caller(&request),
            peer_roles::GET_NODE_STATUS,
            request.into_inner().envelope,
        )?;
        Ok(Response::new(self.shared.own_status()))
    }

    async fn announce(
        &self,
        request: Request<peer::AnnounceRequest>,
    ) -> Result<Response<peer::AnnounceResponse>, Status> {
        let caller = caller(&request);
        let mut request = request.into_inner();
        let mut envelope = request
            .envelope
            .take()
            .ok_or_else(|| malformed("no envelope"))?;
        let source = envelope.source_node_id;
        if envelope.target_node_id == 0 {
            envelope.target_node_id = self.shared.identity.node;
        }
        let own = &self.shared.identity.cluster_id;
        if epoch::is_past(own, &envelope.cluster_id) {
            // Such a node may be unknown here, or removed: it learns what became of its cluster.
            let call = peer_roles::DESCRIBE_CLUSTER;
            self.shared.is_peer(&caller, call, source)?;
            if self.shared.refused.should_log(source) {
                tracing::warn!(peer = source, "a node from before the recovery is refused");
            }
            return Ok(Response::new(self.shared.recovered_without()));
        }
        // The answer itself says whether the node's incarnation has ended.
        envelope.source_incarnation = 0;
        self.shared
            .check_request(&caller, peer_roles::ANNOUNCE, Some(envelope))?;
        let heard = self.shared.hear(source, request).await;
        heard.map(Response::new).map_err(|error| unheard(&error))
    }

    async fn get_digests(
        &self,
        request: Request<peer::GetDigestsRequest>,
    ) -> Result<Response<peer::GetDigestsResponse>, Status> {
        self.shared.check_request(
            &caller(&request),
            peer_roles::GET_DIGESTS,
            request.into_inner().envelope,
        )?;
        let points = self.shared.own_points().await;
        Ok(Response::new(points_out(points)))
    }

    async fn check_node(
        &self,
        request: Request<peer::CheckNodeRequest>,
    ) -> Result<Response<peer::CheckNodeResponse>, Status> {
        self.shared.check_request(
            &caller(&request),
            peer_roles::CHECK_NODE,
            request.into_inner().envelope,
        )?;
        Ok(Response::new(self.shared.check_here().await?))
    }

    async fn digest_rows(
        &self,
        request: Request<peer::DigestRowsRequest>,
    ) -> Result<Response<peer::DigestRowsResponse>, Status> {
        let caller = caller(&request);
        let mut request = request.into_inner();
        self.shared
            .check_request(&caller, peer_roles::DIGEST_ROWS, request.envelope.take())?;
        let ranges = ranges_in(&request.ranges).ok_or_else(|| malformed("no ranges of rows"))?;
        let (index, exact) = (request.log_index, request.exact);
        let found = self.shared.rows_asked(ranges, index, exact).await?;
        Ok(Response::new(rows_out(&found)))
    }

    async fn offer_session(
        &self,
        request: Request<peer::OfferSessionRequest>,
    ) -> Result<Response<peer::OfferSessionResponse>, Status> {
        let caller = caller(&request);
        let mut request = request.into_inner();
        let envelope = request.envelope.take();
        self.shared
            .check_request(&caller, peer_roles::OFFER_SESSION, envelope)?;
        let (ticket, token) = (
            request.ticket_hash[..].try_into(),
            request.token[..].try_into(),
        );
        let (Ok(ticket), Ok(token)) = (ticket, token) else {
            return Err(malformed("a ticket or a token has not 32 bytes"));
        };
        match self.shared.page_tickets.keep(TokenHash(ticket), token) {
            true => Ok(Response::new(peer::OfferSessionResponse {})),
            false => Err(Problem::Busy.into()),
        }
    }

    async fn renew_certificates(
        &self,
        request: Request<peer::RenewCertificatesRequest>,
    ) -> Result<Response<peer::RenewCertificatesResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let call = peer_roles::RENEW_CERTIFICATES;
        let names = self
            .shared
            .check_request(&caller, call, request.envelope)?
            .names;
        let certificates = self
            .shared
            .renew_certificates(names.node, &request.public_key)?;
        Ok(Response::new(peer::RenewCertificatesResponse {
            certificates: Some(certificates),
        }))
    }

    async fn prepare_rotation(
        &self,
        request: Request<peer::PrepareRotationRequest>,
    ) -> Result<Response<peer::PrepareRotationResponse>, Status> {
        let caller = caller(&request);
        let mut request = request.into_inner();
        let envelope = request.envelope.take();
        self.shared
            .check_request(&caller, peer_roles::PREPARE_ROTATION, envelope)?;
        Ok(Response::new(self.shared.prepare_here(request).await?))
    }

    async fn get_authority_key(
        &self,
        request: Request<peer::GetAuthorityKeyRequest>,
    ) -> Result<Response<peer::GetAuthorityKeyResponse>, Status> {
        let caller = caller(&request);
        let call = peer_roles::GET_AUTHORITY_KEY;
        let names = self
            .shared
            .check_request(&caller, call, request.into_inner().envelope)?
            .names;
        let secret = self.shared.authority_key_for(names.node).await?;
        tracing::info!(
            node = names.node,
            "sent the key of the authority to a voter"
        );
        Ok(Response::new(peer::GetAuthorityKeyResponse {
            cluster_secret: secret.to_bytes().into(),
        }))
    }
}
