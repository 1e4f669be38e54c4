//! The two listeners: one for clients and one for peers, strictly apart.
//!
//! Always true: a call that belongs to the other port gets a message that says so; any other input
//! on a port (another protocol, garbage) costs its own connection and nothing more.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::response::IntoResponse as _;
use conclave_wire::{
    PUBLIC_DESCRIPTORS, Problem, Reason,
    peer::{join_service_server::JoinServiceServer, peer_service_server::PeerServiceServer},
    v1::{
        account_service_server::AccountServiceServer, admin_service_server::AdminServiceServer,
        backup_service_server::BackupServiceServer, chat_service_server::ChatServiceServer,
        live_service_server::LiveServiceServer, room_service_server::RoomServiceServer,
        session_service_server::SessionServiceServer,
    },
};
use tokio::{
    net::{TcpListener, lookup_host},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{Status, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    api::{
        accounts::Accounts, admin::Admin, backups::Backups, chat::Chat, live::Live, rooms::Rooms,
    },
    cluster::{bootstrap::Introduction, gossip},
    connections::{ConnectionSlots, Limits, Ports},
    context::node_context::NodeContext,
    http::{
        answer::Answers,
        drive::CLOSE_LIMIT,
        gate::Gate,
        page::{self, Files, Web},
        serve::{PortConfig, serve},
        webhooks,
    },
    peer::lane::PEER_MESSAGE_BYTES_MAX,
    peer_api::{admission::Admission, peer_service::Peers},
    protocol::client_port::{CLIENT_MESSAGE_BYTES_MAX, SERVICES},
    tls::Security,
};

/// Pause between two lookups of the members' names, whose addresses may change.
const LOOK_UP_EVERY: Duration = Duration::from_secs(10);
/// Maximum number of addresses of one member for which places are kept.
const ADDRESSES_MAX: usize = 8;
/// How often this node looks whether it is healthy.
const HEALTH_EVERY: Duration = Duration::from_millis(500);
/// Serves on both listeners until the tasks are aborted.
pub(crate) fn start(
    shared: &Arc<NodeContext>,
    clients: TcpListener,
    peers: TcpListener,
    limits: &Limits,
) -> (Vec<JoinHandle<()>>, Clients) {
    let (reporter, health) = tonic_health::server::health_reporter();
    let routes = client_routes(shared).add_service(health);
    let files = Arc::new(Files::new(conclave_page::FILES));
    let web = Web::new(shared.clone(), files.clone());
    let router = routes.into_axum_router();
    let router = router.merge(webhooks::router(shared.clone()));
    let router = router.merge(page::router(shared.clone(), files));
    let of_clients = with_fallback(router, "client", "peers", &["/conclave.peer."]);
    let router = peer_routes(shared).into_axum_router();
    let of_peers = with_fallback(router, "peer", "clients", &["/conclave.v1.", "/grpc."]);
    let limits = Arc::new(limits.clone());
    let door_of_clients = PortConfig {
        places: shared.client_slots.clone(),
        limits: limits.clone(),
        accept: shared.security.for_clients(),
        answers: Answers::new(
            Gate::Clients(shared.clone()),
            of_clients,
            limits.clone(),
            Some(web),
            shared.calls.clone(),
        ),
        callers: "clients",
    };
    let door_of_peers = PortConfig {
        places: shared.peer_slots.clone(),
        limits: limits.clone(),
        accept: Some(shared.security.for_peers()),
        answers: Answers::new(
            Gate::Peers(shared.clone()),
            of_peers,
            limits,
            None,
            shared.calls.clone(),
        ),
        callers: "peers",
    };
    let (end, ended) = watch::channel(false);
    let serving = tokio::spawn(serve(door_of_clients, clients, ended));
    // This server ends with its task.
    let (_, never) = watch::channel(false);
    let tasks = vec![
        tokio::spawn(serve(door_of_peers, peers, never)),
        tokio::spawn(keep_places(shared.clone())),
        tokio::spawn(report_health(shared.clone(), reporter)),
        tokio::spawn(gossip::share(shared.clone())),
    ];
    let serving = Mutex::new(Some(serving));
    (tasks, Clients { end, serving })
}

/// The port of clients while it is open.
pub(crate) struct Clients {
    end: watch::Sender<bool>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl Clients {
    /// Accepts no further connection, and ends those that are open once their calls have their
    /// responses, within [`CLOSE_LIMIT`].
    pub(crate) async fn end(&self) {
        self.end.send_replace(true);
        let Some(mut serving) = self.take() else {
            return;
        };
        if timeout(CLOSE_LIMIT, &mut serving).await.is_err() {
            serving.abort();
        }
    }

    fn take(&self) -> Option<JoinHandle<()>> {
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        serving.take()
    }
}

/// Keeps places on the peer port for the addresses of the members; never ends.
async fn keep_places(shared: Arc<NodeContext>) {
    loop {
        let mut addresses = Vec::new();
        for (_, member) in shared.other_members() {
            if let Ok(found) = lookup_host(&member.peer_address).await {
                addresses.extend(found.map(|found| found.ip()).take(ADDRESSES_MAX));
            }
        }
        shared.peer_slots.keep_for(addresses);
        sleep(LOOK_UP_EVERY).await;
    }
}

fn client_routes(shared: &Arc<NodeContext>) -> Routes {
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
            )
            .add_service(
                BackupServiceServer::new(Backups {
                    shared: shared.clone(),
                })
                .max_decoding_message_size(max),
            );
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(PUBLIC_DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Many tools know only the older of the two versions.
    match (described().build_v1(), described().build_v1alpha()) {
        (Ok(reflection), Ok(older)) => routes.add_service(reflection).add_service(older),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "failed to serve reflection");
            routes
        }
    }
}

/// Serves machines on the peer port while there is no cluster yet.
pub(crate) fn introducing(
    limits: &Limits,
    introduction: Introduction,
    security: &Security,
) -> PortConfig {
    let routes = Routes::new(JoinServiceServer::new(introduction));
    let places = ConnectionSlots::new(Ports::open(limits).peers, limits.held_bytes);
    let limits = Arc::new(limits.clone());
    PortConfig {
        places,
        limits: limits.clone(),
        accept: Some(security.for_peers()),
        answers: Answers::new(Gate::Bootstrapping, routes, limits, None, Arc::default()),
        callers: "peers",
    }
}

fn peer_routes(shared: &Arc<NodeContext>) -> Routes {
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

/// Adds an answer to calls that no service of this listener knows; `elsewhere` is the path prefix
/// that the other listener serves.
fn with_fallback(
    router: axum::Router,
    this: &'static str,
    others: &'static str,
    elsewhere: &'static [&'static str],
) -> Routes {
    let answer = move |request: axum::extract::Request| async move {
        let path = request.uri().path();
        let status = match elsewhere.iter().any(|start| path.starts_with(start)) {
            true => Problem::WrongAddressee {
                reason: Reason::WrongPort,
                sentence: format!("this is the {this} port; it does not serve {others}"),
            }
            .to_status(),
            false => Status::unimplemented("there is no such service"),
        };
        status.into_http::<tonic::body::Body>().into_response()
    };
    Routes::from(router.fallback(answer))
}

/// Reports `SERVING` while the node takes part, its leader reaches it, and it keeps its clients.
async fn report_health(shared: Arc<NodeContext>, reporter: HealthReporter) {
    let mut leader = shared.replica.leader();
    let mut leaving = shared.draining.subscribe();
    loop {
        leader.mark_unchanged();
        leaving.mark_unchanged();
        let serving = match shared.is_serving() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for service in SERVICES {
            reporter.set_service_status(service, serving).await;
        }
        tokio::select! {
            changed = leader.changed() => if changed.is_err() { return },
            changed = leaving.changed() => if changed.is_err() { return },
            // No event reports that a leader has stopped reaching this node.
            () = sleep(HEALTH_EVERY) => {}
        }
    }
}
