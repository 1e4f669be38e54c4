//! One lane to one peer: its connection, its stream of entries, and the calls of the replica.
//!
//! It does not choose the address (`transport.rs`) and knows no other call of the cluster
//! (`calls.rs`).
//!
//! Always true: every call ends by its limit. A connection that was made before this node got new
//! certificates is not used again, and a stream of entries on it ends with the next request. Nor is
//! one on which the peer does not know this node: the next one shows what the peer trusts by then.

use std::{
    future::ready,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use conclave_core::{Command, Timestamp};
use conclave_replica::{
    APPENDS_UNANSWERED_MAX, Appends, Outcome, Peer, PeerError, ProposeError, ReadError,
    SnapshotOffer, Trace, VoteRequest, VoteResponse,
};
use conclave_storage::log::{LogId, Vote};
use conclave_wire::{
    Problem, Reason, batch,
    peer::{self, peer_service_client::PeerServiceClient},
};
use futures::{StreamExt as _, future::BoxFuture};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, metadata::MetadataValue, transport::Channel};

use crate::{
    base::traceparent,
    peer::{
        connect::{connect_lazily, failure_of},
        convert,
        reachability::Reachability,
        snapshots,
    },
    tls::Security,
};

/// Maximum size of a message between nodes in bytes: the largest entry and what is around it.
pub(crate) const PEER_MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One lane to one peer.
pub(crate) struct GrpcPeer {
    envelope: peer::Envelope,
    security: Security,
    line: RwLock<Line>,
    /// Whether the peer has refused what this node proved on the connection.
    refused: Arc<AtomicBool>,
    reachable: Arc<Reachability>,
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

pub(crate) type Service = PeerServiceClient<Channel>;

impl GrpcPeer {
    /// Creates a lane; its connection is made when it is first used.
    pub(super) fn new(
        envelope: peer::Envelope,
        security: Security,
        address: String,
        reachable: Arc<Reachability>,
        snapshots: Arc<snapshots::Sender>,
    ) -> Self {
        Self {
            line: RwLock::new(line_to(&security, envelope.target_node_id, address)),
            envelope,
            security,
            refused: Arc::default(),
            reachable,
            snapshots,
        }
    }

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
        let outcome = match timeout(limit, call(self.service()?)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(noting(&self.refused, &status)),
            Err(_) => Err(PeerError::Timeout(limit)),
        };
        self.reachable.note(outcome.as_ref().err());
        outcome
    }

    pub(super) fn is_at(&self, address: &str) -> bool {
        let line = self.line.read().unwrap_or_else(PoisonError::into_inner);
        line.address == address
    }

    /// Uses this address from now on.
    pub(super) fn redirect(&self, address: &str) {
        let mut line = self.line.write().unwrap_or_else(PoisonError::into_inner);
        if line.address != address {
            let node = self.envelope.target_node_id;
            *line = line_to(&self.security, node, address.to_owned());
        }
    }

    pub(super) fn service(&self) -> Result<Service, PeerError> {
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

    /// Makes another connection if this node can prove more than when it was made, or if what it
    /// proved does not count any more.
    fn renew_line(&self) {
        let generation = self.security.tls.generation();
        let line = self.line.read().unwrap_or_else(PoisonError::into_inner);
        if !self.refused.swap(false, Ordering::AcqRel) && line.generation == generation {
            return;
        }
        drop(line);
        let mut line = self.line.write().unwrap_or_else(PoisonError::into_inner);
        let address = line.address.clone();
        *line = line_to(&self.security, self.envelope.target_node_id, address);
    }

    /// Opens a stream of entries. What is still queued when it is given up is not sent.
    async fn open_appends(&self) -> Result<Appends, PeerError> {
        let (requests, queue) = mpsc::channel(APPENDS_UNANSWERED_MAX);
        let (in_use, given_up) = oneshot::channel::<()>();
        let (envelope, tls) = (self.envelope.clone(), self.security.tls.clone());
        let generation = tls.generation();
        let queue = ReceiverStream::new(queue)
            .take_until(given_up)
            .take_while(move |_| ready(tls.generation() == generation))
            .map(move |request| convert::append_out(envelope.clone(), request));
        let opened = self.service()?.append_entries(queue).await;
        let (reachable, refused) = (self.reachable.clone(), self.refused.clone());
        let response = move |response: Result<_, Status>| {
            let _ = &in_use;
            let response = response.map_err(|status| noting(&refused, &status));
            reachable.note(response.as_ref().err());
            convert::appended_in(response?)
        };
        let opened = opened.map_err(|status| noting(&self.refused, &status));
        let responses = opened?.into_inner();
        Ok(Appends {
            requests,
            responses: Box::pin(responses.map(response)),
        })
    }

    /// Makes a call for an administrator, who gets the peer's refusal.
    pub(super) async fn ask<T, F>(
        &self,
        limit: Duration,
        call: impl FnOnce(Service) -> F,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let service = self.service().map_err(|_| no_leader())?;
        match timeout(limit, call(service)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => {
                note_refusal(&self.refused, &status);
                Err(Problem::from_status(&status).unwrap_or_else(no_leader))
            }
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

/// Returns what a failed call proves, and notes whether the connection is of no more use.
fn noting(refused: &AtomicBool, status: &Status) -> PeerError {
    note_refusal(refused, status);
    failure_of(status)
}

/// Notes if the peer does not know this node by what it has proved on the connection.
fn note_refusal(refused: &AtomicBool, status: &Status) {
    let problem = Problem::from_status(status);
    if problem.is_some_and(|problem| problem.reason() == Reason::NotAPeer) {
        refused.store(true, Ordering::Release);
    }
}

/// Says to which traces a request belongs: one header for each.
pub(super) fn name_traces<T>(request: &mut Request<T>, traces: &[Trace]) {
    for trace in traces {
        if let Ok(header) = MetadataValue::try_from(traceparent::show(trace)) {
            request.metadata_mut().append(traceparent::HEADER, header);
        }
    }
}

pub(super) fn no_leader() -> Problem {
    Problem::NoLeader {
        nodes_reachable: None,
    }
}

impl Peer for GrpcPeer {
    fn appends(&self, limit: Duration) -> BoxFuture<'_, Result<Appends, PeerError>> {
        Box::pin(async move {
            let opened = timeout(limit, self.open_appends()).await;
            let opened = opened.unwrap_or(Err(PeerError::Timeout(limit)));
            self.reachable.note(opened.as_ref().err());
            opened
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
        traces: Vec<Trace>,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Vec<Result<Outcome, ProposeError>>, PeerError>> {
        let commands = commands.iter().map(batch::encode_command).collect();
        let envelope = Some(self.envelope.clone());
        Box::pin(async move {
            let mut request = Request::new(peer::ForwardRequest { envelope, commands });
            request.set_timeout(limit);
            name_traces(&mut request, &traces);
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

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::atomic::AtomicUsize};

    use hyper::{server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        identity::secret::ClusterSecret,
        protocol::recent_events::RecentEvents,
        tls::{CertificateSubject, Handshakes, LIFETIME, Tls},
    };

    /// Time limit that a healthy machine does not reach.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn security_of(node: u64) -> Security {
        let secret = ClusterSecret::from_bytes(&[7; 32]).unwrap();
        let subject = CertificateSubject::at(Some(node), &[]);
        Security {
            tls: Arc::new(Tls::new(&secret, subject, LIFETIME).unwrap()),
            plain_clients: false,
        }
    }

    /// Starts a peer that answers every call with this problem; counts its connections.
    async fn refusing(node: u64, problem: Problem) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            let (security, handshakes) = (security_of(node), Handshakes::new("tests"));
            while let Ok((stream, _)) = listener.accept().await {
                let accept = Some(security.for_peers());
                let Some(arrival) = handshakes.shake(stream, accept, PATIENCE).await else {
                    continue;
                };
                counted.fetch_add(1, Ordering::Relaxed);
                let status = problem.to_status();
                let answer = service_fn(move |_| {
                    let status = status.clone();
                    async move { Ok::<_, Infallible>(status.into_http::<tonic::body::Body>()) }
                });
                let server = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(arrival), answer));
            }
        });
        (address, connections)
    }

    #[tokio::test]
    async fn a_connection_that_proves_nothing_is_made_anew() {
        let stale = Problem::refused(Reason::NotAPeer, "it is of an old authority");
        for (problem, expected) in [(Problem::Busy, [1, 1, 2, 2]), (stale, [1, 2, 3, 4])] {
            let (address, connections) = refusing(1, problem).await;
            let security = security_of(2);
            let events = RecentEvents::default();
            let sender = snapshots::Sender::new(0, snapshots::Transfers::default(), events.clone());
            let lane = GrpcPeer::new(
                peer::Envelope {
                    target_node_id: 1,
                    ..peer::Envelope::default()
                },
                security.clone(),
                address,
                Arc::new(Reachability::new(1, events)),
                Arc::new(sender),
            );
            for (call, expected) in expected.into_iter().enumerate() {
                // What this node proves has changed.
                if call == 2 {
                    security.tls.connect_anew();
                }
                let refused = lane.status(PATIENCE).await;
                assert!(refused.is_err(), "call {call}");
                let made = connections.load(Ordering::Relaxed);
                assert_eq!(made, expected, "call {call}: {refused:?}");
            }
        }
    }
}
