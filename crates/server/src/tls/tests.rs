//! Tests of which callers get through to a listener.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use conclave_tls::provider;
use futures::StreamExt as _;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::TcpListenerStream;

use super::*;
use crate::tls::accept::Arrival;

/// Returns what the certificate of node 2 says.
fn said_of_two() -> PeerNames {
    PeerNames {
        node: 2,
        key_holder: true,
        signed_by: Some(secret(7).authority_id()),
        ..PeerNames::default()
    }
}

/// Time limit that a healthy machine does not reach.
const PATIENCE: Duration = Duration::from_secs(20);
/// 2027, when all of this is valid.
const NOW: Duration = Duration::from_secs(1_800_000_000);

fn secret(byte: u8) -> ClusterSecret {
    ClusterSecret::from_bytes(&[byte; 32]).unwrap()
}

fn tls(byte: u8, node: u64) -> Arc<Tls> {
    let subject = CertificateSubject::at(Some(node), &["127.0.0.1:1"]);
    Arc::new(Tls::new(&secret(byte), subject, LIFETIME).unwrap())
}

/// Returns the connections that get through the handshake.
fn secured(
    incoming: TcpListenerStream,
    accept: Option<Accept>,
) -> impl futures::Stream<Item = Arrival> {
    let handshakes = Arc::new(Handshakes::new("tests"));
    let shaking = incoming.map(move |stream| {
        let (accept, handshakes) = (accept.clone(), handshakes.clone());
        async move { handshakes.shake(stream.unwrap(), accept, PATIENCE).await }
    });
    shaking.buffer_unordered(8).filter_map(std::future::ready)
}

/// Opens a port that reports what each caller has presented, and greets it.
async fn port(accept: Option<Accept>) -> (SocketAddr, mpsc::Receiver<Presented>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, shown) = mpsc::channel(8);
    tokio::spawn(async move {
        let arrivals = secured(TcpListenerStream::new(listener), accept);
        let mut arrivals = std::pin::pin!(arrivals);
        while let Some(arrival) = arrivals.next().await {
            let mut arrival = arrival;
            tell.send(arrival.shown).await.unwrap();
            arrival.write_all(b"hello").await.unwrap();
            arrival.shutdown().await.unwrap();
        }
    });
    (address, shown)
}

/// Returns what a caller reads after the handshake.
async fn greeting(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: String,
) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).unwrap();
    let connecting = TlsConnector::from(config).connect(name, stream);
    let mut stream = timeout(PATIENCE, connecting).await.unwrap()?;
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text))
        .await
        .unwrap()?;
    Ok(text)
}

/// Returns why a caller with these certificates does not get through.
async fn refusal(server: &Tls, caller: &Tls) -> String {
    let (address, mut shown) = port(Some(server.accept_peers())).await;
    // The caller trusts the server, so that only the server can refuse.
    let certificates = caller.certificates.clone();
    let config = peers::client_config(&[server.root()], certificates);
    let refused = greeting(address, Arc::new(config), names::ANY_PEER.to_owned()).await;
    assert!(shown.try_recv().is_err(), "it got through");
    refused.unwrap_err().to_string()
}

#[tokio::test]
async fn a_peer_is_known_by_its_number() {
    let (one, two) = (tls(7, 1), tls(7, 2));
    let (address, mut shown) = port(Some(one.accept_peers())).await;
    let name = names::peer(1, &secret(7).cluster_id());
    let heard = greeting(address, two.client_config(), name).await.unwrap();
    assert_eq!(heard, "hello");
    assert_eq!(shown.recv().await, Some(Presented::Node(said_of_two())));
}

#[tokio::test]
async fn a_node_is_not_mistaken_for_another_node() {
    let (one, two) = (tls(7, 1), tls(7, 2));
    let (address, _shown) = port(Some(one.accept_peers())).await;
    let name = names::peer(3, &secret(7).cluster_id());
    let refused = greeting(address, two.client_config(), name).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
}

#[tokio::test]
async fn a_certificate_of_another_cluster_is_refused() {
    let refused = refusal(&tls(7, 1), &tls(8, 2)).await;
    assert!(refused.contains("UnknownCA"), "{refused}");
}

#[tokio::test]
async fn a_peer_with_a_clock_hours_ahead_is_accepted() {
    let ahead: WallClock = Arc::new(|| wall_clock() + Duration::from_secs(3 * 3600));
    let subject = CertificateSubject::at(Some(2), &[]);
    let two = Tls::with_clock(&secret(7), subject, LIFETIME, ahead).unwrap();
    let one = tls(7, 1);
    let (address, mut shown) = port(Some(one.accept_peers())).await;
    let name = names::peer(1, &secret(7).cluster_id());
    let heard = greeting(address, two.client_config(), name).await.unwrap();
    assert_eq!(heard, "hello");
    assert_eq!(shown.recv().await, Some(Presented::Node(said_of_two())));
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused() {
    let past: WallClock = Arc::new(|| NOW - Duration::from_secs(20 * 365 * 24 * 3600));
    let subject = CertificateSubject::at(Some(2), &[]);
    let expired = Tls::with_clock(&secret(7), subject, LIFETIME, past).unwrap();
    let refused = refusal(&tls(7, 1), &expired).await;
    assert!(refused.contains("Expired"), "{refused}");
}

#[tokio::test]
async fn the_certificate_for_clients_is_not_that_of_a_peer() {
    let server = tls(7, 1);
    let (address, mut shown) = port(Some(server.accept_peers())).await;
    let key = tls(7, 2).certificates.clients();
    let config = trusting(&server.root());
    let config = config.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
        key.as_ref().clone(),
    )));
    let refused = greeting(address, Arc::new(config), names::ANY_PEER.to_owned()).await;
    assert!(shown.try_recv().is_err(), "it got through");
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("alert"), "{refused}");
}

fn trusting(
    authority: &CertificateDer<'static>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
}

#[tokio::test]
async fn a_caller_without_a_certificate_has_no_identity() {
    let server = tls(7, 1);
    let config = Arc::new(trusting(&server.root()).with_no_client_auth());
    let (address, mut shown) = port(Some(server.accept_peers())).await;
    let heard = greeting(address, config.clone(), names::ANY_PEER.to_owned()).await;
    assert_eq!(heard.unwrap(), "hello");
    assert_eq!(shown.recv().await, Some(Presented::Nothing));

    let (address, mut shown) = port(Some(server.accept_clients())).await;
    let heard = greeting(address, config, names::ANY_NODE.to_owned()).await;
    assert_eq!(heard.unwrap(), "hello");
    assert_eq!(shown.recv().await, Some(Presented::Nothing));
}

#[tokio::test]
async fn plain_text_gets_no_answer_and_delays_no_other_caller() {
    let server = tls(7, 1);
    for accept in [server.accept_peers(), server.accept_clients()] {
        let (address, mut shown) = port(Some(accept)).await;
        // The caller sends nothing for as long as it may.
        let _silent = TcpStream::connect(address).await.unwrap();
        for said in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
            let mut plain = TcpStream::connect(address).await.unwrap();
            plain.write_all(said.as_bytes()).await.unwrap();
            let mut heard = Vec::new();
            // A connection that is reset is as good an answer.
            let _ = timeout(PATIENCE, plain.read_to_end(&mut heard))
                .await
                .unwrap();
            let heard = String::from_utf8_lossy(&heard).into_owned();
            assert!(heard.len() <= 7 && !heard.contains("HTTP"), "{heard}");
        }
        assert!(shown.try_recv().is_err(), "it got through");
        let config = Arc::new(trusting(&server.root()).with_no_client_auth());
        let names = [names::ANY_PEER, names::ANY_NODE].map(str::to_owned);
        let mut heard = Vec::new();
        for name in names {
            heard.extend(greeting(address, config.clone(), name).await);
        }
        assert_eq!(heard, ["hello"], "under the name of this port alone");
    }
}

#[tokio::test]
async fn a_connection_survives_certificate_renewal() {
    let time = Arc::new(Mutex::new(wall_clock() - LIFETIME * 2 / 3));
    let clock = time.clone();
    let subject = CertificateSubject::at(Some(1), &[]);
    let now: WallClock = Arc::new(move || *clock.lock().unwrap());
    let tls = Tls::with_clock(&secret(7), subject, LIFETIME, now).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrivals = TcpListenerStream::new(listener);
    let arrivals = secured(arrivals, Some(tls.accept_clients()));
    let mut arrivals = std::pin::pin!(arrivals);
    let config = Arc::new(trusting(&tls.root()).with_no_client_auth());
    let connect = async |config: &Arc<ClientConfig>| {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(names::ANY_NODE).unwrap();
        let connector = TlsConnector::from(config.clone());
        connector.connect(name, stream).await.unwrap()
    };
    let (mut old, arrival) = tokio::join!(connect(&config), arrivals.next());
    let mut old_here = arrival.unwrap();

    *time.lock().unwrap() += LIFETIME * 2 / 3;
    assert!(
        tls.certificates
            .renew_if_due(&tls.key_holder().unwrap().authority)
            .unwrap()
    );
    let (new, _new_here) = tokio::join!(connect(&config), arrivals.next());
    let shown = |stream: &tokio_rustls::client::TlsStream<TcpStream>| {
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_ne!(shown(&old), shown(&new));
    old_here.write_all(b"still").await.unwrap();
    old_here.flush().await.unwrap();
    let mut heard = [0; 5];
    timeout(PATIENCE, old.read_exact(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&heard, b"still");
}

/// Lifetime of a certificate that ends within a test.
const SHORT: Duration = Duration::from_secs(6);

#[tokio::test]
async fn running_listeners_renew_certificates_before_they_expire() {
    let subject = CertificateSubject::at(Some(1), &["127.0.0.1:1"]);
    let one = Arc::new(Tls::new(&secret(7), subject, SHORT).unwrap());
    let two = tls(7, 2);
    let renewing = tokio::spawn(one.clone().keep_valid());
    let (peers, mut as_peer) = port(Some(one.accept_peers())).await;
    let (clients, mut as_client) = port(Some(one.accept_clients())).await;
    let heard = async move { while as_peer.recv().await.is_some() {} };
    let heard_too = async move { while as_client.recv().await.is_some() {} };
    let draining = [tokio::spawn(heard), tokio::spawn(heard_too)];
    let by_peers = (peers, names::peer(1, &secret(7).cluster_id()));
    let by_clients = (clients, names::ANY_NODE.to_owned());
    for (address, name) in [by_peers, by_clients] {
        let shown = async || {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from(name.clone()).unwrap();
            let connector = TlsConnector::from(two.client_config());
            // An expired certificate would not be trusted.
            let mut stream = connector.connect(name, stream).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "hello");
            stream.get_ref().1.peer_certificates().unwrap()[0].clone()
        };
        let first = shown().await;
        let another = async {
            while shown().await == first {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, another).await.unwrap();
    }
    renewing.abort();
    draining.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A client node and a server node, each after a number of steps of a rotation.
#[tokio::test]
async fn nodes_connect_at_every_rotation_step_but_not_with_old_keys() {
    let (old, new) = (secret(7), secret(7).rotate().unwrap());
    // By another leader, which has died since.
    let given_up = Next::Secret(secret(7).rotate().unwrap());
    let of_rotation = |generation| match generation {
        0 => old.authority_id(),
        _ => new.authority_id(),
    };
    let next = Next::Secret(new.clone());
    let at = |steps: usize, node: u64| {
        let tls = Tls::new(&old, CertificateSubject::at(Some(node), &[]), LIFETIME).unwrap();
        if steps > 0 {
            tls.prepare(&given_up).unwrap();
            tls.forget_next();
            tls.prepare(&next).unwrap();
        }
        if steps > 1 {
            tls.go_on_with_next();
        }
        tls
    };
    let name = names::peer(1, &old.cluster_id());
    for (asks, answers, trusted) in [
        (0, 0, Some(0)),
        (0, 1, Some(0)),
        (1, 0, Some(0)),
        (1, 1, Some(1)),
        (1, 2, Some(1)),
        (2, 1, Some(1)),
        (2, 2, Some(1)),
        (0, 2, None),
        (2, 0, None),
    ] {
        let (one, two) = (at(answers, 1), at(asks, 2));
        let (address, mut shown) = port(Some(one.accept_peers())).await;
        let heard = greeting(address, two.client_config(), name.clone()).await;
        let case = format!("{asks} asks {answers}: {heard:?}");
        assert_eq!(heard.is_ok(), trusted.is_some(), "{case}");
        let expected = trusted.map(|generation| {
            Presented::Node(PeerNames {
                signed_by: Some(of_rotation(generation)),
                ..said_of_two()
            })
        });
        assert_eq!(shown.try_recv().ok(), expected, "{case}");
        let counts = expected.is_some_and(|_| one.trusts(Some(old.authority_id())));
        assert_eq!(counts, expected.is_some() && answers < 2, "{case}");
    }
    // A caller with the previous certificate is refused too, although it trusts any server.
    let (one, two) = (at(2, 1), at(0, 2));
    assert!(
        refusal(&one, &two).await.contains("UnknownCA"),
        "it is refused"
    );
    // A connection of an authority that was given up counts for nothing, whatever its number.
    let (one, two) = (at(0, 1), at(0, 2));
    for tls in [&one, &two] {
        tls.prepare(&given_up).unwrap();
    }
    let (address, mut shown) = port(Some(one.accept_peers())).await;
    let heard = greeting(address, two.client_config(), name.clone()).await;
    assert_eq!(heard.unwrap(), "hello");
    let Some(Presented::Node(names)) = shown.recv().await else {
        panic!("it has shown a certificate");
    };
    assert!(one.trusts(names.signed_by));
    one.prepare(&next).unwrap();
    assert!(!one.trusts(names.signed_by), "before the rotation ends");
    one.go_on_with_next();
    assert!(!one.trusts(names.signed_by), "after it has ended");
    // A node that a dead leader has prepared presents no certificate that is not trusted.
    let two = at(0, 2);
    two.prepare(&given_up).unwrap();
    let (address, mut shown) = port(Some(at(1, 1).accept_peers())).await;
    let heard = greeting(address, two.client_config(), name.clone()).await;
    assert_eq!(heard.unwrap(), "hello");
    assert_eq!(shown.recv().await, Some(Presented::Node(said_of_two())));
}

/// A connection from before a change was made with what the node trusted and proved then.
#[test]
fn every_change_of_what_is_trusted_makes_connections_anew() {
    let next = Next::Secret(secret(7).rotate().unwrap());
    let tls = tls(7, 1);
    let steps: [(&str, &dyn Fn()); 5] = [
        ("prepare", &|| tls.prepare(&next).unwrap()),
        ("forget", &|| tls.forget_next()),
        ("prepare again", &|| tls.prepare(&next).unwrap()),
        ("ask for it", &|| tls.connect_anew()),
        ("go on", &|| tls.go_on_with_next()),
    ];
    for (step, change) in steps {
        let before = tls.generation();
        change();
        assert!(tls.generation() > before, "{step}");
    }
    assert!(tls.trusts(Some(next.authority_id())) && !tls.trusts(Some(secret(7).authority_id())));
}
