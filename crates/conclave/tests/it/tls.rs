//! Encrypted nodes, as people and attackers meet them.

use std::{fs, net::SocketAddr, path::Path};

use conclave_wire::peer::{Envelope, ForwardRequest, peer_service_client::PeerServiceClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, transport::Endpoint};

use crate::{
    command::{Home, Person, Served},
    forger,
    support::{Cluster, PATIENCE},
};

/// Exit code of `conclave` when something is not allowed.
const NOT_ALLOWED: i32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_authority_keeps_working_when_a_node_dies() {
    let cluster = Cluster::start_encrypted(3).await;
    let endpoints: Vec<String> = cluster
        .nodes()
        .iter()
        .map(|n| cluster.endpoint(*n))
        .collect();
    let fingerprint = cluster.fingerprint();
    let alice = Person::new(&endpoints);

    let unknown = alice.run(&["account", "create", "alice"]).await;
    unknown.failed(NOT_ALLOWED, &fingerprint);
    let other = format!("SHA256:{}", "A".repeat(43));
    let wrong = ["account", "create", "alice", "--fingerprint", &other];
    alice.run(&wrong).await.failed(NOT_ALLOWED, &other);

    let right = ["account", "create", "alice", "--fingerprint", &fingerprint];
    alice.run(&right).await.succeeded();
    let bob = Person::new(&endpoints);
    bob.run(&["account", "create", "bob", "--fingerprint", &fingerprint])
        .await
        .succeeded();
    // From here on the authority is known.
    for (person, name) in [(&alice, "alice"), (&bob, "bob")] {
        person.run(&["login", name]).await.succeeded();
    }
    alice.run(&["send", "bob", "hello"]).await.succeeded();
    alice.run(&wrong).await.failed(NOT_ALLOWED, &other);
    let known = alice.run(&["trust", "list"]).await.succeeded();
    assert_eq!(known.matches(&fingerprint).count(), 3, "{known}");

    cluster.kill(cluster.leader().await).await;
    alice.run(&["send", "bob", "still here"]).await.succeeded();
    let read = bob.run(&["read", "--with", "alice"]).await.succeeded();
    assert!(
        read.contains("hello") && read.contains("still here"),
        "{read}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_at_the_same_address_is_not_trusted() {
    let home = Home::new().await;
    let log = home.path("log");
    let mut first = start(&home, &log, "first", "127.0.0.1:0").await;
    let fingerprint = first.says("fingerprint ").await;
    let address = first.client_address.clone();
    let alice = Person::new(std::slice::from_ref(&address));
    let create = ["account", "create", "alice", "--fingerprint", &fingerprint];
    alice.run(&create).await.succeeded();
    alice.run(&["login", "alice"]).await.succeeded();
    first.stop().await;

    let mut second = start(&home, &log, "second", &address).await;
    let other = second.says("fingerprint ").await;
    assert_ne!(other, fingerprint);
    let refused = alice.run(&["whoami", "--timeout", "2"]).await;
    refused.failed(NOT_ALLOWED, "another certificate authority");
    // A node that answers in plain text is not accepted either.
    second.stop().await;
    let args = [
        "--client-address",
        &address,
        "--peer-address",
        "127.0.0.1:0",
    ];
    let data = home.path("third").display().to_string();
    let args = [&args[..], &["--data", &data]].concat();
    let third = Served::start(&log, &args, &[]).await.unwrap();
    let refused = alice.run(&["whoami", "--timeout", "2"]).await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains("does not speak TLS"), "{refused:?}");

    alice.run(&["trust", "forget", &address]).await.succeeded();
    third.stop().await;
    let fourth = start(&home, &log, "second", &address).await;
    let again = ["account", "create", "alice", "--fingerprint", &other];
    alice.run(&again).await.succeeded();
    fourth.stop().await;
}

/// Starts a single encrypted node.
async fn start(home: &Home, log: &Path, data: &str, address: &str) -> Served {
    let data = home.path(data).display().to_string();
    let args = [
        "--data",
        &data,
        "--client-address",
        address,
        "--peer-address",
        "127.0.0.1:0",
        "--registration",
        "open",
    ];
    Served::start_encrypted(log, &args).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_text_caller_gets_no_answer() {
    let home = Home::new().await;
    let log = home.path("log");
    let node = start(&home, &log, "data", "127.0.0.1:0").await;
    for address in [&node.client_address, &node.peer_address] {
        let address: SocketAddr = address.parse().unwrap();
        for said in [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..],
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"SSH-2.0-scanner\r\n",
            &[0; 64],
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said).await.unwrap();
            let mut heard = Vec::new();
            // A reset counts as an answer, too.
            let _ = timeout(PATIENCE, stream.read_to_end(&mut heard))
                .await
                .unwrap();
            // Seven bytes are the alert with which TLS ends a connection.
            assert!(heard.len() <= 7, "{address} answers {heard:?}");
        }
    }
    let log = fs::read_to_string(&log).unwrap();
    for callers in ["clients", "peers"] {
        let line = format!("a connection for {callers} was refused");
        assert!(log.contains(&line), "{log}");
    }
    assert!(log.contains("it does not speak TLS"), "{log}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_is_refused_off_loopback() {
    let home = Home::new().await;
    let log = home.path("log");
    let data = home.path("data").display().to_string();
    let args = [
        "--data",
        &data,
        "--client-address",
        "0.0.0.0:0",
        "--peer-address",
        "127.0.0.1:0",
    ];
    let refused = Served::start(&log, &args, &[]).await.err().unwrap();
    refused.failed(1, "plain text is for loopback only");
    let members = "1=127.0.0.1:1/127.0.0.1:2,2=127.0.0.1:3/127.0.0.1:4";
    let args = ["--data", &data, "--node", "1", "--members", members];
    let here = [
        "--client-address",
        "127.0.0.1:0",
        "--peer-address",
        "127.0.0.1:0",
    ];
    let args = [&args[..], &here].concat();
    let refused = Served::start_encrypted(&log, &args).await.err().unwrap();
    refused.failed(1, "need the same secret");
    // Also where clients use plain text: peers never do.
    let refused = Served::start(&log, &args, &[]).await.err().unwrap();
    refused.failed(1, "need the same secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peer_port_of_a_plain_cluster_refuses_local_strangers() {
    let cluster = Cluster::start(1).await;
    let address = cluster.peer_address(1);
    // A call in plain text fails.
    let at = format!("http://{address}");
    let plain = Endpoint::from_shared(at).unwrap().connect_lazy();
    let refused = PeerServiceClient::new(plain)
        .forward(ForwardRequest::default())
        .await;
    refused.expect_err("plain text is not spoken");
    // An encrypted call without a certificate is answered with a refusal.
    let secret = cluster.secret();
    let channel = forger::channel(&forger::config(&secret, None), &address, forger::ANY_PEER);
    let mut peers = PeerServiceClient::new(channel);
    let request = ForwardRequest {
        envelope: Some(Envelope {
            cluster_id: cluster.name().await,
            source_node_id: 1,
            target_node_id: 1,
            ..Envelope::default()
        }),
        ..Default::default()
    };
    let refused = peers.forward(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let log = cluster.log(1);
    for line in [
        "a connection for peers was refused",
        "a call for peers was refused",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
}
