//! Callers without a session or certificate: what they can take from a node, and what honest
//! clients notice of it. Short versions of the attacks of `conclave-attack`.

use std::{sync::Arc, time::Duration};

use conclave_attack::{Bounds, Frame, PREFACE, Port, Request, Tally, Target, attack};
use conclave_client::{
    Client,
    core::{Recipient, RoomName},
};
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::support::{Cluster, PATIENCE, until};

/// A small number of file descriptors: a node must work with them.
const FEW: u64 = 256;
/// Maximum growth of a node in an attack on its memory, in kilobytes.
const GROWTH_MAX_KB: u64 = 64 * 1024;

async fn target(cluster: &Cluster, plain: bool) -> Arc<Target> {
    let nodes = cluster.nodes();
    let clients = nodes.iter().map(|node| cluster.endpoint(*node));
    let peers = nodes.iter().map(|node| cluster.peer_address(*node));
    let clients = clients.map(|at| at.parse().unwrap()).collect();
    let peers = peers.map(|at| at.parse().unwrap()).collect();
    Arc::new(Target::find(clients, peers, plain).await.unwrap())
}

async fn run(target: &Arc<Target>, name: &str, count: usize, seconds: u64) -> Tally {
    let attack = attack(name).unwrap();
    let bounds = Bounds::new(count, Duration::from_secs(seconds));
    timeout(PATIENCE, (attack.run)(target.clone(), bounds))
        .await
        .unwrap()
}

/// Returns a client that is logged in, and a room of its own.
async fn honest(cluster: &Cluster) -> (Client, Recipient) {
    let anonymous = cluster.client();
    anonymous
        .create_account("honest", "an honest password")
        .await
        .unwrap();
    let login = anonymous
        .login("honest", "an honest password")
        .await
        .unwrap();
    let client = anonymous.with_token(&login.token).unwrap();
    client.create_room("honest", "", false).await.unwrap();
    let room = RoomName::new("honest".to_owned()).unwrap();
    (client, Recipient::Room(room))
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_stop_no_node_and_block_no_client() {
    let cluster = Cluster::start_with_descriptors(3, FEW).await;
    let target = target(&cluster, false).await;
    let (client, room) = honest(&cluster).await;
    for name in ["silent", "silent-after-handshake"] {
        let attacking = tokio::spawn({
            let target = target.clone();
            async move { run(&target, name, 1200, 6).await }
        });
        while !attacking.is_finished() {
            client.send(&room, "still here").await.unwrap();
            // Logs in over a new connection, which needs a place of its own.
            let anonymous = cluster.client();
            let login = anonymous
                .login("honest", "an honest password")
                .await
                .unwrap();
            // Logs out, since an account has a bounded number of sessions.
            let member = anonymous.with_token(&login.token).unwrap();
            member.logout().await.unwrap();
        }
        let tally = attacking.await.unwrap();
        assert!(tally.cut > 0, "{name}: {tally}");
    }
    for node in cluster.nodes() {
        assert!(!cluster.has_ended(node), "{}", cluster.log(node));
        let status = cluster.status(node).await;
        let port = status.client_port.unwrap();
        assert!(port.connections <= port.connections_max, "{port:?}");
        let displaced = port.closed.iter().find(|cut| cut.reason == "displaced");
        assert!(displaced.unwrap().count > 0, "{port:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_under_silent_connections_costs_quorum_only_briefly() {
    let cluster = Cluster::start_encrypted(3).await;
    let all = target(&cluster, false).await;
    let peers = all.addresses(Port::Peer).to_vec();
    // All of the 700 connections go to the ports for peers; they send nothing, with or without TLS.
    let target = Arc::new(Target::find(peers, Vec::new(), true).await.unwrap());
    let (client, room) = honest(&cluster).await;
    let attacking = tokio::spawn({
        let target = target.clone();
        async move { run(&target, "silent", 700, 15).await }
    });
    for node in cluster.nodes() {
        cluster.pause(node).await;
        sleep(Duration::from_millis(1500)).await;
        cluster.resume(node).await;
        let resumed = Instant::now();
        until("a message is acknowledged", async || {
            client.send(&room, "after the pause").await.ok()
        })
        .await;
        let took = resumed.elapsed();
        assert!(took < Duration::from_secs(2), "node {node}: {took:?}");
    }
    attacking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_on_the_port_for_peers_begin_at_a_limited_rate() {
    let cluster = Cluster::start_encrypted(1).await;
    let target = target(&cluster, false).await;
    let began = Instant::now();
    let until = began + Duration::from_secs(3);
    let shaking = (0..64).map(|_| async {
        let peer = target.addresses(Port::Peer)[0];
        let mut shaken = 0;
        while let Ok(Ok(_)) = timeout_at(until, target.open(peer)).await {
            shaken += 1;
        }
        shaken
    });
    let shaken: u32 = join_all(shaking).await.into_iter().sum();
    let most = 200.0 * began.elapsed().as_secs_f64() + 10.0;
    assert!(shaken > 100 && f64::from(shaken) <= most, "{shaken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_with_a_slow_handshake_or_preface_is_closed() {
    let cluster = Cluster::start_encrypted(1).await;
    let target = target(&cluster, false).await;
    for (name, seconds) in [("silent", 6), ("slow-handshake", 6), ("slow-preface", 9)] {
        let tally = run(&target, name, 6, seconds).await;
        assert_eq!((tally.opened, tally.cut), (6, 6), "{name}: {tally}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_requests_and_unread_answers_take_little_memory() {
    let cluster = Cluster::start(1).await;
    let target = target(&cluster, true).await;
    let (client, room) = honest(&cluster).await;
    // What an honest client makes a node keep is not the attack's.
    for _ in 0..100 {
        client.send(&room, "still here").await.unwrap();
    }
    let before = cluster.memory_kb(1);
    for name in ["unfinished-bodies", "closed-windows"] {
        let attacking = tokio::spawn({
            let target = target.clone();
            async move { run(&target, name, 1000, 6).await }
        });
        let mut worst = 0;
        while !attacking.is_finished() {
            client.send(&room, "still here").await.unwrap();
            worst = worst.max(cluster.memory_kb(1).saturating_sub(before));
            sleep(Duration::from_millis(50)).await;
        }
        assert!(worst < GROWTH_MAX_KB, "{name}: {worst} kB");
        let tally = attacking.await.unwrap();
        assert!(tally.opened > 0, "{name}: {tally}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_do_not_disturb_an_honest_client() {
    let cluster = Cluster::start(1).await;
    let target = target(&cluster, true).await;
    let (client, room) = honest(&cluster).await;
    let floods = [
        "rapid-reset",
        "continuation-flood",
        "ping-flood",
        "settings-flood",
        "window-flood",
        "empty-data-flood",
    ];
    for name in floods {
        let attacking = tokio::spawn({
            let target = target.clone();
            async move { run(&target, name, 4, 2).await }
        });
        while !attacking.is_finished() {
            client.send(&room, "still here").await.unwrap();
        }
        let tally = attacking.await.unwrap();
        assert!(tally.opened > 0, "{name}: {tally}");
    }
    assert!(!cluster.has_ended(1), "{}", cluster.log(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_counted_across_nodes_and_do_not_lock_out_owners() {
    let cluster = Cluster::start(3).await;
    let target = target(&cluster, true).await;
    let neighbour = cluster.client();
    let password = "a neighbour's password";
    let created = neighbour.create_account("neighbour", password).await;
    created.unwrap();
    let attacking = tokio::spawn({
        let target = target.clone();
        async move { run(&target, "guesses", 30, 8).await }
    });
    while !attacking.is_finished() {
        // From the address of the guesses.
        let login = neighbour.login("neighbour", password).await.unwrap();
        let member = neighbour.with_token(&login.token).unwrap();
        member.logout().await.unwrap();
    }
    let tally = attacking.await.unwrap();
    assert_eq!(tally.failed, 0, "the owner was kept out: {tally}");
    assert!(tally.cut > 0, "{tally}");
    // Five attempts are free; then each one waits longer, from a second on.
    assert!((1..=10).contains(&tally.opened), "{tally}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cancels_a_hundred_calls_keeps_its_connection() {
    let cluster = Cluster::start(1).await;
    let target = target(&cluster, true).await;
    let mut wire = target
        .open(target.addresses(Port::Client)[0])
        .await
        .unwrap();
    let of = |path: &'static str| Request { path, token: None }.headers();
    let (watch, call) = (
        of("/grpc.health.v1.Health/Watch"),
        of("/conclave.v1.AdminService/GetClusterStatus"),
    );
    // A stream that stays open beside the calls.
    let mut bytes = [PREFACE, &Frame::Settings.bytes()].concat();
    bytes.extend(Frame::Headers(1, &watch, false).bytes());
    bytes.extend(Frame::Data(1, &[0; 5], true).bytes());
    let mut stream = 1;
    // A thousand in all, a hundred at once, each hundred followed by a call whose answer is
    // awaited.
    for _ in 0..10 {
        for _ in 0..100 {
            stream += 2;
            bytes.extend(Frame::Headers(stream, &call, false).bytes());
            bytes.extend(Frame::Reset(stream).bytes());
        }
        stream += 2;
        bytes.extend(Frame::Headers(stream, &call, false).bytes());
        bytes.extend(Frame::Data(stream, &[0; 5], true).bytes());
        wire.write_all(&bytes).await.unwrap();
        bytes.clear();
        let answered = async { while !is_data_of(stream, &mut wire).await {} };
        timeout(PATIENCE, answered).await.unwrap();
    }
}

/// Reads a frame; returns whether it is data of this stream. Fails if it ends the connection, or
/// the first stream.
async fn is_data_of<T: tokio::io::AsyncRead + Unpin>(stream: u32, wire: &mut T) -> bool {
    const DATA: u8 = 0;
    const RESET: u8 = 3;
    const GOODBYE: u8 = 7;
    let mut head = [0; 9];
    wire.read_exact(&mut head).await.unwrap();
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let mut payload = vec![0; length];
    wire.read_exact(&mut payload).await.unwrap();
    assert_ne!(head[3], GOODBYE, "the connection is closed: {payload:?}");
    assert!(
        head[3] != RESET || of != 1,
        "the stream is closed: {payload:?}"
    );
    head[3] == DATA && of == stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_cancelled_calls_is_cut_and_its_address_is_logged() {
    let cluster = Cluster::start(1).await;
    let target = target(&cluster, true).await;
    let tally = run(&target, "rapid-reset", 2, 4).await;
    assert!(tally.cut > 0, "{tally}");
    let told = until("the node has said so", async || {
        let log = cluster.log(1);
        let mut lines = log.lines();
        let line = lines.find(|line| line.contains("a connection for clients was cut"));
        line.map(str::to_owned)
    })
    .await;
    assert!(
        told.contains("127.0.0.1") && told.contains("flood"),
        "{told}"
    );
}
