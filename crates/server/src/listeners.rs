//! The two listeners: one for clients, one for peers, and never the other way round.
//!
//! Always true: a call for the other kind of port gets a sentence that says so; whatever else
//! comes in on a port (another protocol, garbage) costs its own connection and nothing more.

use std::{future::pending, sync::Arc, time::Duration};

use axum::response::IntoResponse as _;
use conclave_replica::Role;
use conclave_wire::{
    DESCRIPTORS, Problem,
    peer::{join_service_server::JoinServiceServer, peer_service_server::PeerServiceServer},
    v1::{
        account_service_server::AccountServiceServer, admin_service_server::AdminServiceServer,
        chat_service_server::ChatServiceServer, live_service_server::LiveServiceServer,
        room_service_server::RoomServiceServer, session_service_server::SessionServiceServer,
    },
};
use futures::{Stream, StreamExt as _};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tonic::{
    Status,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::util::MapRequestLayer;

use crate::{
    accounts::Accounts,
    admin::Admin,
    admission::Admission,
    chat::Chat,
    founding::Introduction,
    live::{self, Live},
    peer_service::Peers,
    rooms::Rooms,
    shared::Shared,
    tls::{Arrival, Caller, Security, secured},
    transport::PEER_MESSAGE_BYTES_MAX,
    webhooks,
};

/// Largest message from a client in bytes: far more than the largest request.
const CLIENT_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Calls of one connection at once.
const STREAMS_MAX: u32 = 1024;
/// How often an idle connection is asked for a sign of life, and how long that may take.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(5);
/// The least time between two connections of clients on average: 500 in a second. When a node
/// dies all its clients come to the others at once; taken at this pace they leave time for what
/// is under way. The others wait in the system's queue, which is shorter than their patience.
const BETWEEN_TAKING: Duration = Duration::from_millis(2);
/// How far behind its pace a busy node may fall and still make up for it.
const BEHIND_PACE: Duration = Duration::from_millis(8);
/// How long those that are introduced to each other may take to end what they are asking.
const GOODBYE_LIMIT: Duration = Duration::from_secs(2);
/// How often is looked whether the node is healthy.
const HEALTH_EVERY: Duration = Duration::from_millis(500);
/// Whether HTTP/1.1 is spoken, as webhooks need it: gRPC itself is HTTP/2.
const WITH_WEBHOOKS: bool = true;
const GRPC_ALONE: bool = false;
/// What `grpc.health.v1` knows besides the whole node.
const SERVICES: [&str; 7] = [
    "",
    "conclave.v1.AccountService",
    "conclave.v1.SessionService",
    "conclave.v1.ChatService",
    "conclave.v1.RoomService",
    "conclave.v1.LiveService",
    "conclave.v1.AdminService",
];

/// Serves on both listeners until the tasks are aborted.
pub(crate) fn start(
    shared: &Arc<Shared>,
    clients: TcpListener,
    peers: TcpListener,
) -> Vec<JoinHandle<()>> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let routes = client_routes(shared).add_service(health);
    let webhooks = webhooks::router(shared.clone());
    let of_clients = with_fallback(routes.into_axum_router().merge(webhooks), "client", "peers");
    let of_peers = with_fallback(peer_routes(shared).into_axum_router(), "peer", "clients");
    let (for_clients, for_peers) = (shared.security.for_clients(), shared.security.for_peers());
    let clients = secured(paced(incoming(clients)), for_clients, "clients");
    let peers = secured(incoming(peers), for_peers, "peers");
    vec![
        tokio::spawn(serve(clients, of_clients, WITH_WEBHOOKS, pending())),
        tokio::spawn(serve(peers, of_peers, GRPC_ALONE, pending())),
        tokio::spawn(report_health(shared.clone(), reporter)),
        tokio::spawn(live::share(shared.clone())),
    ]
}

fn client_routes(shared: &Arc<Shared>) -> Routes {
    let accounts = Accounts {
        shared: shared.clone(),
    };
    let max = CLIENT_MESSAGE_BYTES_MAX;
    let routes =
        Routes::new(AccountServiceServer::new(accounts.clone()).max_decoding_message_size(max))
            .add_service(SessionServiceServer::new(accounts).max_decoding_message_size(max))
            .add_service(
                ChatServiceServer::new(Chat {
                    shared: shared.clone(),
                })
                .max_decoding_message_size(max),
            )
            .add_service(
                RoomServiceServer::new(Rooms {
                    shared: shared.clone(),
                })
                .max_decoding_message_size(max),
            )
            .add_service(
                LiveServiceServer::new(Live {
                    shared: shared.clone(),
                })
                .max_decoding_message_size(max),
            )
            .add_service(
                AdminServiceServer::new(Admin {
                    shared: shared.clone(),
                })
                .max_decoding_message_size(max),
            );
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .build_v1();
    match reflection {
        Ok(reflection) => routes.add_service(reflection),
        Err(error) => {
            tracing::error!(%error, "reflection is not served");
            routes
        }
    }
}

/// Answers on the port for peers while there is no cluster yet.
pub(crate) struct Introducing {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Introducing {
    pub(crate) fn start(
        peers: &TcpListener,
        introduction: Introduction,
        security: &Security,
    ) -> std::io::Result<Self> {
        // The same socket: what is not taken by this one waits for the node.
        let socket = std::os::fd::AsFd::as_fd(peers).try_clone_to_owned()?;
        let peers = TcpListener::from_std(std::net::TcpListener::from(socket))?;
        let peers = secured(incoming(peers), security.for_peers(), "peers");
        let routes = Routes::new(JoinServiceServer::new(introduction));
        let (end, ended) = oneshot::channel::<()>();
        let ended = async { drop(ended.await) };
        let task = tokio::spawn(serve(peers, routes, GRPC_ALONE, ended));
        Ok(Self { end, task })
    }

    /// Ends every connection, so that those who have one make another and meet the node.
    pub(crate) async fn end(self) {
        drop(self.end);
        if tokio::time::timeout(GOODBYE_LIMIT, self.task)
            .await
            .is_err()
        {
            tracing::warn!("somebody holds on to a connection from before the cluster was made");
        }
    }
}

fn peer_routes(shared: &Arc<Shared>) -> Routes {
    let peers = PeerServiceServer::new(Peers {
        shared: shared.clone(),
    })
    .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
    .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
    let admission = Admission {
        shared: shared.clone(),
    };
    Routes::new(peers).add_service(JoinServiceServer::new(admission))
}

/// Answers what no service of this listener knows.
fn with_fallback(router: axum::Router, this: &'static str, others: &'static str) -> Routes {
    let answer = move |request: axum::extract::Request| async move {
        let path = request.uri().path();
        let known = path.starts_with("/conclave.") || path.starts_with("/grpc.health.");
        let status = match known {
            true => Problem::WrongAddressee {
                reason: "WRONG_PORT".to_owned(),
                sentence: format!("this is the {this} port; it does not serve {others}"),
            }
            .to_status(),
            false => Status::unimplemented("there is no such service"),
        };
        status.into_http::<tonic::body::Body>().into_response()
    };
    Routes::from(router.fallback(answer))
}

fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

/// The same, but not faster than one in [`BETWEEN_TAKING`].
fn paced<T>(incoming: impl Stream<Item = T> + Send + 'static) -> impl Stream<Item = T> + Send {
    let start = (Box::pin(incoming), Instant::now());
    futures::stream::unfold(start, |(mut incoming, due)| async move {
        sleep_until(due).await;
        let next = incoming.next().await?;
        let now = Instant::now();
        let due = due.max(now.checked_sub(BEHIND_PACE).unwrap_or(now)) + BETWEEN_TAKING;
        Some((next, (incoming, due)))
    })
}

/// Serves until it is told to end; then it says goodbye on every connection.
async fn serve(
    incoming: impl Stream<Item = std::io::Result<Arrival>> + Send,
    routes: Routes,
    with_http1: bool,
    end: impl Future<Output = ()> + Send,
) {
    let server = Server::builder()
        .accept_http1(with_http1)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_LIMIT))
        .layer(MapRequestLayer::new(with_address))
        .add_routes(routes);
    if let Err(error) = server.serve_with_incoming_shutdown(incoming, end).await {
        tracing::error!(%error, "a listener has ended");
    }
}

/// Tells tonic where the caller is: it looks for this type.
fn with_address<B>(mut request: axum::http::Request<B>) -> axum::http::Request<B> {
    let address = request.extensions().get::<Caller>();
    if let Some(address) = address.map(|caller| caller.address.clone()) {
        request.extensions_mut().insert(address);
    }
    request
}

/// `SERVING` while the node takes part, its leader reaches it, and it is not stopping.
async fn report_health(shared: Arc<Shared>, reporter: HealthReporter) {
    let mut leader = shared.replica.leader();
    let mut stopping = shared.stopping.subscribe();
    loop {
        let alive = shared.replica.status().role != Role::Stopped && !*stopping.borrow_and_update();
        let is_led = leader.borrow_and_update().is_some();
        let serving = match is_led && alive && shared.is_healthy() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for service in SERVICES {
            reporter.set_service_status(service, serving).await;
        }
        tokio::select! {
            changed = leader.changed() => if changed.is_err() { return },
            changed = stopping.changed() => if changed.is_err() { return },
            // That a leader does not reach this node any more is no event.
            () = tokio::time::sleep(HEALTH_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_crowd_is_taken_at_its_pace_and_nobody_is_left_out() {
        let began = Instant::now();
        let taken: Vec<u32> = paced(futures::stream::iter(0..100)).collect().await;
        assert!(taken.into_iter().eq(0..100));
        let least = 99 * BETWEEN_TAKING - BEHIND_PACE;
        assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    }
}
