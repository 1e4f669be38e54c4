//! The calls of a peer that the cluster makes: gossip, membership, leadership, digests.
//!
//! The calls of the replica are in `lane.rs`, and so is the connection.
//!
//! Always true: every call ends by its limit. A change of the cluster carries the credential of
//! the operator who asks for it, and a refusal of the leader reaches that operator.

use std::time::Duration;

use conclave_core::{Command, TokenHash};
use conclave_replica::{Outcome, PeerError, ProposeError, current_traces};
use conclave_wire::{Problem, batch, peer, request::TOKEN_BYTES, v1};
use tonic::{Request, metadata::MetadataValue};

use crate::{
    auth::credential::{self, Credential},
    peer::{
        connect::failure_of,
        convert::{self, Cluster, cluster_in},
        digest_points::{Points, points_in},
        lane::{GrpcPeer, Service, name_traces, no_leader},
        membership::ChangeRequest,
    },
};

impl GrpcPeer {
    /// Sends the announcement of this node.
    pub(crate) async fn announce(
        &self,
        request: peer::AnnounceRequest,
        limit: Duration,
    ) -> Result<peer::AnnounceResponse, PeerError> {
        let request = peer::AnnounceRequest {
            envelope: Some(self.envelope()),
            ..request
        };
        let call = |mut service: Service| async move { service.announce(request).await };
        self.call(limit, call).await
    }

    /// Sends gossip to the peer.
    pub(crate) async fn gossip(
        &self,
        news: peer::gossip_request::News,
        limit: Duration,
    ) -> Result<(), PeerError> {
        let request = peer::GossipRequest {
            envelope: Some(self.envelope()),
            news: Some(news),
        };
        let call = |mut service: Service| async move { service.gossip(request).await };
        self.call(limit, call).await.map(|_| ())
    }

    /// Has the peer keep a session for the browser that shows the ticket with this hash.
    pub(crate) async fn offer_session(
        &self,
        ticket: TokenHash,
        token: [u8; TOKEN_BYTES],
        limit: Duration,
    ) -> Result<(), PeerError> {
        let request = peer::OfferSessionRequest {
            envelope: Some(self.envelope()),
            ticket_hash: ticket.0.to_vec().into(),
            token: token.to_vec().into(),
        };
        let call = |mut service: Service| async move { service.offer_session(request).await };
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
            envelope: Some(self.envelope()),
            request: Some(request.to_wire()),
            newest_version: request.newest.map_or(0, |newest| newest.0),
            witness: request.adds_witness(),
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
            envelope: Some(self.envelope()),
            to_node_id: to,
        };
        let request = on_behalf(request, credential, limit);
        let call = |mut service: Service| async move { service.transfer_leader(request).await };
        Ok(self.ask(limit, call).await?.leader_node_id)
    }

    /// Asks the peer, as the leader, to raise the cluster version; returns it.
    pub(crate) async fn finalize_upgrade(
        &self,
        cluster_version: u32,
        credential: &Credential,
        limit: Duration,
    ) -> Result<u32, Problem> {
        let request = peer::FinalizeUpgradeRequest {
            envelope: Some(self.envelope()),
            cluster_version,
        };
        let request = on_behalf(request, credential, limit);
        let call = |mut service: Service| async move { service.finalize_upgrade(request).await };
        Ok(self.ask(limit, call).await?.cluster_version)
    }

    /// Has the peer leave its clients, or ends that.
    pub(crate) async fn drain_node(
        &self,
        request: v1::DrainNodeRequest,
        credential: &Credential,
        limit: Duration,
    ) -> Result<v1::DrainNodeResponse, Problem> {
        let request = peer::DrainNodeRequest {
            envelope: Some(self.envelope()),
            request: Some(request),
        };
        let request = on_behalf(request, credential, limit);
        let call = |mut service: Service| async move { service.drain_node(request).await };
        let response = self.ask(limit, call).await?.response;
        response.ok_or_else(no_leader)
    }

    /// Sends commands of one session to the peer, as the leader, with the client's credential;
    /// returns the outcomes if all of them have one.
    pub(crate) async fn forward_proven(
        &self,
        commands: &[Command],
        credential: &Credential,
        limit: Duration,
    ) -> Result<Result<Vec<Outcome>, ProposeError>, Problem> {
        let request = peer::ForwardRequest {
            envelope: Some(self.envelope()),
            commands: commands.iter().map(batch::encode_command).collect(),
        };
        let mut request = on_behalf(request, credential, limit);
        name_traces(&mut request, &current_traces());
        let call = |mut service: Service| async move { service.forward(request).await };
        let mut outcomes = self.ask(limit, call).await?.outcomes;
        outcomes.resize_with(commands.len(), Default::default);
        let outcome = |outcome| convert::outcome_in(outcome, limit);
        Ok(outcomes.into_iter().map(outcome).collect())
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

    /// Asks the peer for the digests of its state.
    pub(crate) async fn digests(&self, limit: Duration) -> Result<Points, PeerError> {
        let request = peer::GetDigestsRequest {
            envelope: Some(self.envelope()),
        };
        let call = |mut service: Service| async move { service.get_digests(request).await };
        self.call(limit, call).await.map(points_in)
    }

    /// Has the peer check its log and the file of its state.
    pub(crate) async fn check(
        &self,
        limit: Duration,
    ) -> Result<peer::CheckNodeResponse, PeerError> {
        let request = peer::CheckNodeRequest {
            envelope: Some(self.envelope()),
        };
        let call = |mut service: Service| async move { service.check_node(request).await };
        self.call(limit, call).await
    }

    /// Asks the peer for digests of rows.
    pub(crate) async fn digest_rows(
        &self,
        request: peer::DigestRowsRequest,
        limit: Duration,
    ) -> Result<peer::DigestRowsResponse, PeerError> {
        let request = peer::DigestRowsRequest {
            envelope: Some(self.envelope()),
            ..request
        };
        let call = |mut service: Service| async move { service.digest_rows(request).await };
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
