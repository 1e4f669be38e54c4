//! Connections and calls that encrypted nodes refuse, and the log lines about them: scanners,
//! clients that show a wrong certificate, machines that join with an invalid token.

use std::{path::Path, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_client::v1;
use conclave_server::ClusterSecret;
use conclave_wire::peer::{
    DescribeClusterRequest, Envelope, GetNodeStatusRequest, ReadIndexRequest, RequestVoteRequest,
    peer_service_client::PeerServiceClient,
};
use futures::future::join_all;
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    time::{Instant, timeout},
};
use tonic::{Code, Status};

use crate::{
    command::{ANY_PORT, Home, Served, program, run},
    forger::{self, ANY_NODE, ANY_PEER, Forger, Pair, Use, config},
    support::{Cluster, PATIENCE, until},
};

/// Type of the record with which TLS ends a connection; nothing longer is sent.
const ALERT: u8 = 21;
const ALERT_BYTES: usize = 7;
/// More connections than a port accepts at once.
const HALF_OPEN: usize = 300;
/// Log lines of a node that refuses a connection, and of one that refuses a call.
const CONNECTION: &str = "a connection for peers was refused";
const CALL: &str = "a call for peers was refused";

/// Starts a single encrypted node and returns its secret, too.
async fn start(home: &Home) -> (Served, ClusterSecret) {
    let data = home.path("data");
    let addresses = ["--client-address", ANY_PORT, "--peer-address", ANY_PORT];
    let args = [&["--data", data.to_str().unwrap()][..], &addresses].concat();
    let mut node = Served::start_encrypted(&home.path("log"), &args)
        .await
        .unwrap();
    node.says("ready ").await;
    let text = std::fs::read_to_string(data.join("secret")).unwrap();
    (node, ClusterSecret::from_text(&text).unwrap())
}

/// Returns the greeting of a client that speaks TLS 1.2 and nothing newer.
fn hello_of_tls_1_2() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    // No session; two suites; no compression; the supported curves and signatures.
    hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
    hello.extend([0, 16]);
    hello.extend(extensions);
    let length = |bytes: usize| u8::try_from(bytes).unwrap();
    let handshake = [&[1, 0, 0, length(hello.len())][..], &hello].concat();
    [&[22, 3, 1, 0, length(handshake.len())][..], &handshake].concat()
}

/// Reads until the connection ends, and checks that it does.
async fn heard(mut stream: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    // A reset also counts as an end.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut heard))
        .await
        .expect("it is closed");
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_receives_at_most_a_tls_alert() {
    let home = Home::new().await;
    let (node, _) = start(&home).await;
    let hello = hello_of_tls_1_2();
    let rubbish: Vec<u8> = (0..4096u32).map(|n| (n * 31 % 251) as u8).collect();
    let said: [&[u8]; 9] = [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"SSH-2.0-scanner\r\n",
        b"\0",
        &rubbish,
        &hello,
        &hello[..20],
        // A record that is longer than the maximum.
        &[22, 3, 1, 0xff, 0xff],
    ];
    let addresses = [&node.client_address, &node.peer_address];
    let asked = addresses.iter().flat_map(|at| said.map(|said| (*at, said)));
    let asked = asked.map(async |(address, said)| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let heard = heard(stream).await;
        let hung_up = heard.len() <= ALERT_BYTES && heard.first().is_none_or(|kind| *kind == ALERT);
        assert!(hung_up, "{address} answers {heard:?} to {said:?}");
    });
    join_all(asked).await;
    for (callers, why) in [
        ("clients", "it does not speak TLS\""),
        ("peers", "it does not speak TLS\""),
        ("clients", "it does not speak TLS 1.3"),
        ("peers", "it does not speak TLS 1.3"),
        ("clients", "it does not finish the handshake"),
        ("peers", "it does not finish the handshake"),
    ] {
        let line = format!("a connection for {callers} was refused");
        // The connection ends a moment before its line is written.
        let one = async || (lines(&node.log(), &[&line, why]) == 1).then_some(());
        until(&format!("{callers} {why}"), one).await;
    }
    node.stop().await;
}

/// Returns the number of lines that contain all of these parts.
fn lines(log: &str, parts: &[&str]) -> usize {
    let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
    log.lines().filter(has_all).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_handshakes_time_out_and_block_no_client() {
    let home = Home::new().await;
    let (node, secret) = start(&home).await;
    let config = config(&secret, None);
    for (address, name) in [
        (&node.client_address, ANY_NODE),
        (&node.peer_address, ANY_PEER),
    ] {
        let hello = hello_of_tls_1_2();
        let open = (0..HALF_OPEN).map(async |n| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Some connections begin a handshake, others send nothing at all.
            stream.write_all(&hello[..n % 5]).await.unwrap();
            stream
        });
        let open = join_all(open).await;
        // This client is behind all of them in the queue.
        let began = Instant::now();
        forger::connect(&config, address, name).await.unwrap();
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(20), "{waited:?}");
        for heard in join_all(open.into_iter().map(heard)).await {
            assert!(heard.is_empty(), "{heard:?}");
        }
    }
    let log = node.log();
    assert_eq!(
        lines(&log, &["it does not finish the handshake"]),
        2,
        "{log}"
    );
    node.stop().await;
}

/// Asks a node for its status, as the sender that the envelope names.
async fn ask(config: &Arc<ClientConfig>, address: &str, envelope: &Envelope) -> Result<(), Status> {
    let channel = forger::channel(config, address, ANY_PEER);
    let request = GetNodeStatusRequest {
        envelope: Some(envelope.clone()),
    };
    let answer = PeerServiceClient::new(channel)
        .get_node_status(request)
        .await;
    answer.map(drop)
}

fn envelope(cluster_id: &str, source: u64, target: u64) -> Envelope {
    Envelope {
        cluster_id: cluster_id.to_owned(),
        source_node_id: source,
        target_node_id: target,
        source_incarnation: 0,
    }
}

/// Returns the name of a node in its certificate.
fn name_of(secret: &ClusterSecret, node: u64) -> String {
    let cluster = secret.cluster_id();
    format!("node-{node}.peer.{cluster}.conclave.internal")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_a_wrong_certificate_is_refused_and_logged() {
    let home = Home::new().await;
    let (node, secret) = start(&home).await;
    let (inside, outside) = (
        Forger::knowing(&secret),
        Forger::stranger(&format!("conclave cluster {}", secret.cluster_id())),
    );
    let node_2 = name_of(&secret, 2);
    let names = [ANY_PEER, &node_2];
    let nodes_of = format!("nodes.{}.conclave.internal", secret.cluster_id());
    let for_clients = inside.issue(&[ANY_NODE, &nodes_of], Use::Answer);
    let foreign = "its certificate is not of this cluster's authority";
    let wrong: [(&str, Pair, &str); 6] = [
        (
            "another cluster's",
            outside.issue(&names, Use::Peer),
            foreign,
        ),
        ("a self-made one", forger::self_made(&names), foreign),
        (
            "one that has expired",
            inside.issue_for(&names, Use::Peer, [-9, -1]),
            "its certificate has expired",
        ),
        (
            "one of tomorrow",
            inside.issue_for(&names, Use::Peer, [1, 9]),
            "its certificate is not valid yet",
        ),
        (
            "the one for clients",
            for_clients,
            "its certificate is not that of a peer",
        ),
        (
            "that of a node, to answer alone",
            inside.issue(&names, Use::Answer),
            "its certificate is not that of a peer",
        ),
    ];
    for (what, pair, why) in &wrong {
        let config = config(&secret, Some(pair));
        for _ in 0..2 {
            let refused = ask(
                &config,
                &node.peer_address,
                &envelope(&secret.cluster_id(), 2, 1),
            )
            .await;
            let refused = refused.expect_err(what);
            assert_ne!(
                refused.code(),
                Code::Unauthenticated,
                "{what}: it was heard"
            );
        }
        let log = node.log();
        assert_eq!(lines(&log, &[CONNECTION, why]), 1, "{what}: {log}");
    }
    // The right certificate is accepted, so nothing else was wrong.
    let right = config(&secret, Some(&inside.issue(&names, Use::Peer)));
    ask(
        &right,
        &node.peer_address,
        &envelope(&secret.cluster_id(), 2, 1),
    )
    .await
    .unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_speaks_only_for_the_node_in_its_certificate() {
    let home = Home::new().await;
    let (node, secret) = start(&home).await;
    let inside = Forger::knowing(&secret);
    let node_2 = name_of(&secret, 2);
    let as_node_2 = config(
        &secret,
        Some(&inside.issue(&[ANY_PEER, &node_2], Use::Peer)),
    );
    let as_any = config(&secret, Some(&inside.issue(&[ANY_PEER], Use::Peer)));
    let without_certificate = config(&secret, None);
    let not_a_peer = "this port is for nodes of the cluster, with a certificate";
    for (who, why) in [
        (
            &as_node_2,
            "the certificate is that of node 2, not of node 3",
        ),
        (&as_any, not_a_peer),
        (&without_certificate, not_a_peer),
    ] {
        for _ in 0..2 {
            let refused = ask(
                who,
                &node.peer_address,
                &envelope(&secret.cluster_id(), 3, 1),
            )
            .await;
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
            assert!(refused.message().contains(why), "{refused}");
        }
        assert_eq!(lines(&node.log(), &[CALL, why]), 1, "{}", node.log());
    }
    // These clients may not make any other call either.
    for config in [&as_any, &without_certificate] {
        let channel = forger::channel(config, &node.peer_address, ANY_PEER);
        let mut peers = PeerServiceClient::new(channel);
        let envelope = Some(envelope(&secret.cluster_id(), 2, 1));
        let (asked, vote) = (envelope.clone(), RequestVoteRequest::default());
        let vote = RequestVoteRequest { envelope, ..vote };
        let refused = [
            peers
                .describe_cluster(DescribeClusterRequest {})
                .await
                .err(),
            peers.request_vote(vote).await.err(),
            peers
                .read_index(ReadIndexRequest { envelope: asked })
                .await
                .err(),
        ];
        let codes = refused.map(|refused| refused.map(|status| status.code()));
        assert_eq!(codes, [Some(Code::Unauthenticated); 3]);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_refused_even_with_a_valid_certificate() {
    let cluster = Cluster::start_encrypted(3).await;
    let secret = cluster.secret();
    let (root, _) = cluster.administrator().await;
    let gone = cluster.a_follower().await;
    let asked = (1..=3).find(|node| *node != gone).unwrap();
    let pair = Forger::knowing(&secret).issue(&[ANY_PEER, &name_of(&secret, gone)], Use::Peer);
    let envelope = envelope(&cluster.name().await, gone, asked);
    let config = config(&secret, Some(&pair));
    let address = cluster.peer_address(asked);
    ask(&config, &address, &envelope).await.unwrap();
    // A connection from before, which is refused afterwards.
    let mut before = PeerServiceClient::new(forger::channel(&config, &address, ANY_PEER));
    let status = || GetNodeStatusRequest {
        envelope: Some(envelope.clone()),
    };
    before.get_node_status(status()).await.unwrap();
    let remove = v1::ChangeMembersRequest {
        change: Some(v1::change_members_request::Change::RemoveNodeId(gone)),
        ..Default::default()
    };
    root.change_members(remove).await.unwrap();
    let refused = until("the node knows of it", async || {
        before.get_node_status(status()).await.err()
    })
    .await;
    assert!(refused.message().contains("was removed"), "{refused}");
    let again = ask(&config, &address, &envelope).await.unwrap_err();
    assert!(again.message().contains("was removed"), "{again}");
    let line = format!("node {gone} was removed");
    let log = cluster.log(asked);
    assert_eq!(lines(&log, &[CALL, &line]), 1, "{log}");
}

/// Returns the command of a machine that joins.
fn join(at: &str, data: &Path, token: &str) -> Command {
    let data = data.to_str().unwrap();
    let addresses = ["--client-address", ANY_PORT, "--peer-address", ANY_PORT];
    let joining = ["serve", "--data", data, "--join", at, "--token", token];
    program(&[&joining[..], &addresses].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_or_expired_join_token_is_refused() {
    let mut cluster = Cluster::prepare_growing(2).await;
    cluster.encrypt();
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    let hour = Duration::from_secs(3600);
    let used = root.create_join_token(hour, true).await.unwrap().token;
    cluster.give_token(2, &used);
    cluster.start_node(2).await;
    cluster.stop(2).await;
    let short = Duration::from_secs(1);
    let late = root.create_join_token(short, false).await.unwrap();
    // Tokens expire by the cluster's own clock.
    until("it has run out", async || {
        let now = root.create_join_token(hour, false).await.ok()?;
        (now.expires_at_ms > late.expires_at_ms + 3_600_000).then_some(())
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    for (what, token) in [("used", &used), ("late", &late.token)] {
        let joining = join(
            &cluster.peer_address(1),
            &directory.path().join(what),
            token,
        );
        let refused = run(joining, b"").await;
        refused.failed(4, "the join token cannot be used");
        let (log, line) = (cluster.log(1), "a machine was refused");
        let told = lines(&log, &[line, "JOIN_TOKEN_INVALID"]);
        // One line for a caller and a reason, however often it tries.
        assert_eq!(told, 1, "{what}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joining_node_shows_its_token_to_no_other_cluster() {
    let home = Home::new().await;
    let (node, _) = start(&home).await;
    // A token of the right form, for a cluster with another authority.
    let token = format!("conclave-join-1.{}", URL_SAFE_NO_PAD.encode([7; 64]));
    let mut joining = join(&node.peer_address, &home.path("joining"), &token)
        .spawn()
        .unwrap();
    let line = "it does not trust this node";
    until("the node says so", async || {
        (lines(&node.log(), &[CONNECTION, line]) == 1).then_some(())
    })
    .await;
    assert!(
        !node.log().contains("a machine was refused"),
        "it was asked"
    );
    joining.kill().await.unwrap();
    node.stop().await;
}
