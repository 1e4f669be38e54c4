//! Calls between machines of which one does not belong to the cluster yet: the caller knows only
//! the address of the other, and perhaps the fingerprint of its authority.
//!
//! Always true: every call ends by its limit.

use std::time::Duration;

use conclave_replica::PeerError;
use conclave_tls::Fingerprint;
use conclave_wire::{
    Problem,
    peer::{self, join_service_client::JoinServiceClient, peer_service_client::PeerServiceClient},
};
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    identity::join_token::JoinToken,
    peer::{
        connect::{connect_lazily, failure_of},
        convert::{Cluster, cluster_in},
    },
    tls::{Dial, Security},
};

/// How a machine verifies that it has reached the cluster.
pub(crate) struct Trust(Dial);

impl Trust {
    /// Trusts the nodes that have the key of the authority of the cluster in which the token was
    /// made.
    pub(crate) fn of_token(token: &JoinToken) -> Self {
        Self(Dial::by_fingerprint(Fingerprint(token.authority)))
    }

    /// Trusts the nodes that have a certificate of the cluster.
    pub(crate) fn of(security: &Security) -> Self {
        Self(security.dial_any_node())
    }

    /// Trusts the nodes that have the key of the cluster's authority: only these may receive a
    /// secret.
    pub(crate) fn of_key_holders(security: &Security) -> Self {
        Self(security.dial_any_key_holder())
    }

    fn channel(&self, address: &str) -> Result<Channel, PeerError> {
        let unreachable = || PeerError::Unreachable(format!("{address} is not an address"));
        connect_lazily(address, &self.0).ok_or_else(unreachable)
    }
}

/// Reason why a machine was not admitted.
pub(crate) enum JoinError {
    /// The refusal is final.
    Refused(Problem),
    /// Asking again may help.
    Later(String),
}

/// Asks the node at this address which cluster it belongs to.
pub(crate) async fn describe(
    address: &str,
    trust: &Trust,
    limit: Duration,
) -> Result<Cluster, PeerError> {
    let mut service = PeerServiceClient::new(trust.channel(address)?);
    let call = service.describe_cluster(peer::DescribeClusterRequest {});
    within(limit, call).await.map(cluster_in)
}

/// Asks the node at this address how far it is in making a cluster.
pub(crate) async fn introduce(
    address: &str,
    trust: &Trust,
    join_key: &[u8],
    limit: Duration,
) -> Result<peer::IntroduceResponse, PeerError> {
    let mut service = JoinServiceClient::new(trust.channel(address)?);
    let request = peer::IntroduceRequest {
        join_key: join_key.to_vec().into(),
    };
    within(limit, service.introduce(request)).await
}

/// Asks the node at this address to admit this machine.
pub(crate) async fn join(
    address: &str,
    trust: &Trust,
    request: peer::JoinRequest,
    limit: Duration,
) -> Result<peer::JoinResponse, JoinError> {
    let later = |error: PeerError| JoinError::Later(error.to_string());
    let mut service = JoinServiceClient::new(trust.channel(address).map_err(later)?);
    let mut request = Request::new(request);
    request.set_timeout(limit);
    let call = service.join(request);
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(match Problem::from_status(&status) {
            Some(problem @ Problem::Refused { .. }) => JoinError::Refused(problem),
            _ => later(failure_of(&status)),
        }),
        Err(_) => Err(later(PeerError::Timeout(limit))),
    }
}

/// Sends the announcement of this node to a node of its cluster whose number is not known.
pub(crate) async fn announce(
    address: &str,
    dial: &Dial,
    request: peer::AnnounceRequest,
    limit: Duration,
) -> Result<peer::AnnounceResponse, PeerError> {
    let mut service = PeerServiceClient::new(channel(address, dial)?);
    within(limit, service.announce(request)).await
}

/// Asks the node at this address for its status.
pub(crate) async fn status(
    address: &str,
    dial: &Dial,
    envelope: peer::Envelope,
    limit: Duration,
) -> Result<peer::GetNodeStatusResponse, PeerError> {
    let mut service = PeerServiceClient::new(channel(address, dial)?);
    let request = peer::GetNodeStatusRequest {
        envelope: Some(envelope),
    };
    within(limit, service.get_node_status(request)).await
}

fn channel(address: &str, dial: &Dial) -> Result<Channel, PeerError> {
    let unreachable = || PeerError::Unreachable(format!("{address} is not an address"));
    connect_lazily(address, dial).ok_or_else(unreachable)
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, PeerError> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(failure_of(&status)),
        Err(_) => Err(PeerError::Timeout(limit)),
    }
}
