//! A learner that lies: a machine with the certificate of a learner answers in its place.

use std::{
    convert::Infallible,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use conclave_wire::peer::{AnnounceResponse, AnnounceVerdict};
use futures::future::BoxFuture;
use prost_reflect::prost::Message as _;
use rustls::{ServerConfig, crypto::ring::default_provider, pki_types::PrivatePkcs8KeyDer};
use tokio::{
    io::{copy_bidirectional, duplex},
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Service, http, tokio_stream::wrappers::ReceiverStream},
    server::{Grpc, NamedService},
    transport::Server,
};

use crate::{
    foreign::Bytes,
    roles::{stolen_pair, with_a_learner_in},
    support::{Cluster, until},
};

/// Answers that stop or fence a node if a voter gives them.
const LIES: [AnnounceVerdict; 4] = [
    AnnounceVerdict::OlderData,
    AnnounceVerdict::RunsElsewhere,
    AnnounceVerdict::Recovered,
    AnnounceVerdict::Version,
];
const BUFFER_BYTES: usize = 64 * 1024;

/// Answers each announcement with the next lie, and knows no other call.
#[derive(Clone, Default)]
struct Liar {
    asked: Arc<AtomicUsize>,
}

impl NamedService for Liar {
    const NAME: &'static str = "conclave.peer.v1.PeerService";
}

impl Service<http::Request<Body>> for Liar {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let asked = self.asked.clone();
        Box::pin(async move {
            if !request.uri().path().ends_with("/Announce") {
                return Ok(Status::unimplemented("a liar").into_http());
            }
            let at = asked.fetch_add(1, Ordering::SeqCst);
            let lie = AnnounceResponse {
                verdict: LIES[at % LIES.len()].into(),
                reason: "a lie".to_owned(),
                // Not its own number, which is 4.
                node_id: 1,
                ..AnnounceResponse::default()
            };
            let answer = tower::service_fn(move |_: Request<()>| {
                let bytes = lie.encode_to_vec();
                async move { Ok::<_, Status>(Response::new(bytes)) }
            });
            Ok(Grpc::new(Bytes).unary(answer, request).await)
        })
    }
}

/// Serves a liar at this address with the certificate from this directory, until the tasks are
/// dropped.
async fn serve(liar: Liar, address: &str, directory: &Path) -> JoinSet<()> {
    let (chain, key) = stolen_pair(directory);
    let key = PrivatePkcs8KeyDer::from(key);
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let mut config = config.with_single_cert(chain, key.into()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(address).await.unwrap();
    let (accepted, streams) = mpsc::channel(16);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
            connections.spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let (inner, mut outer) = duplex(BUFFER_BYTES);
                if accepted.send(Ok::<_, std::io::Error>(inner)).await.is_ok() {
                    // The connection ends when either side ends it.
                    let _ = copy_bidirectional(&mut stream, &mut outer).await;
                }
            });
        }
    });
    tasks.spawn(async move {
        let server = Server::builder().add_service(liar);
        server
            .serve_with_incoming(ReceiverStream::new(streams))
            .await
            .unwrap();
    });
    tasks
}

#[tokio::test(flavor = "multi_thread")]
async fn no_voter_believes_what_a_learner_says_about_it() {
    let cluster = Cluster::prepare_with_places(4, 3).await;
    with_a_learner_in(&cluster).await;
    cluster.stop(4).await;
    let pids = [1, 2, 3].map(|node| cluster.pid(node));
    let liar = Liar::default();
    let _serving = serve(
        liar.clone(),
        &cluster.peer_address(4),
        &cluster.directory(4),
    )
    .await;
    until("each voter has heard each lie", async || {
        // Three voters take turns in four lies.
        let asked = liar.asked.load(Ordering::SeqCst);
        (asked >= 8 * LIES.len()).then_some(())
    })
    .await;
    for node in [1, 2, 3] {
        let status = cluster.status(node).await;
        assert!(status.quorum, "{}", cluster.log(node));
        assert_eq!(status.voters_reachable, 3, "{}", cluster.log(node));
        let log = cluster.log(node);
        for told in [
            "this node must stop",
            "its data is older",
            "is damaged",
            "this node was removed",
        ] {
            assert!(!log.contains(told), "{told}: {log}");
        }
    }
    assert_eq!([1, 2, 3].map(|node| cluster.pid(node)), pids);
}
