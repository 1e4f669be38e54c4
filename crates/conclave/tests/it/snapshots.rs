//! A joining machine gets a snapshot: the status shows its progress, the log keeps the entries that
//! follow it, and neither a full disk nor a flipped bit on the wire makes a wrong state of it.

use std::time::Duration;

use conclave_client::{Client, IN_FLIGHT_MAX, v1};
use futures::{StreamExt as _, stream};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    command::program,
    small_disk::SmallDisk,
    support::{Cluster, PATIENCE, until},
    watching::value,
    witness::{Witness, agreed_digests, person, sign_up},
};

/// Number of voters; the machine that joins has the next place.
pub(crate) const VOTERS: u64 = 3;
/// Place of the machine that joins.
pub(crate) const JOINER: u64 = VOTERS + 1;
/// Number of log entries that a node keeps.
const KEEP_ENTRIES: u64 = 50;
/// Size of one message of the state.
const TEXT_BYTES: usize = 8 * 1024;
/// Number of messages: about a megabyte and a half with everything around it.
const TEXTS: usize = 128;
/// Rate at which snapshots are sent: all of it takes some seconds.
const BYTES_PER_SECOND: u64 = 512 * 1024;

/// Starts a cluster whose state is large and whose log is short; returns its administrator, too.
pub(crate) async fn large_cluster(bytes_per_second: u64) -> (Cluster, Client) {
    let cluster = Cluster::start_with_slow_snapshots(VOTERS, KEEP_ENTRIES, bytes_per_second).await;
    let (root, _) = cluster.administrator().await;
    let login = sign_up(&cluster.client(), "bulk").await;
    let bulk = cluster.client().with_token(&login.token).unwrap();
    let to = person("bulk");
    let sends = (0..TEXTS).map(|number| bulk.send(&to, text(number)));
    let mut sends = stream::iter(sends).buffer_unordered(IN_FLIGHT_MAX);
    while let Some(sent) = sends.next().await {
        sent.unwrap();
    }
    // One entry for each of these messages, so that the first ones leave the log.
    for number in 0..6 * KEEP_ENTRIES {
        bulk.send(&to, format!("{number}")).await.unwrap();
    }
    // It is purged from time to time, and as long as it is not, a machine needs no snapshot.
    for node in 1..=VOTERS {
        until("the log no longer begins at the beginning", async || {
            let purged = value(&cluster, node, "conclave_raft_purged_index").await?;
            (purged > 0.0).then_some(())
        })
        .await;
    }
    (cluster, root)
}

/// Returns a long text that is like no other and that no compression makes much shorter.
fn text(number: usize) -> String {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";
    let mut state = number as u64 + 1;
    let mut letter = || {
        // Steps of a congruential generator, of which the upper bits are good enough.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(LETTERS[usize::try_from(state >> 58).unwrap()])
    };
    (0..TEXT_BYTES).map(|_| letter()).collect()
}

/// Starts a machine with no data in the place of the joiner.
pub(crate) async fn join(cluster: &Cluster, root: &Client) {
    let hour = Duration::from_secs(3600);
    let made = root.create_join_token(hour, true).await.unwrap();
    cluster.give_token(JOINER, &made.token);
    cluster.start_node(JOINER).await;
}

/// Returns the snapshot that the joiner is receiving, according to its own status.
pub(crate) fn incoming(status: &v1::GetClusterStatusResponse) -> Option<&v1::SnapshotTransfer> {
    let mut transfers = own(status)?.transfers.iter();
    transfers.find(|transfer| transfer.direction() == v1::TransferDirection::In)
}

/// Returns the status of the node that answered.
pub(crate) fn own(status: &v1::GetClusterStatusResponse) -> Option<&v1::NodeStatus> {
    let mut nodes = status.nodes.iter();
    nodes.find(|node| node.node_id == status.node_id)
}

/// Waits until the joiner has received `part` of `parts` equal parts; returns the transfer.
async fn received(cluster: &Cluster, part: u64, parts: u64) -> v1::SnapshotTransfer {
    until("a snapshot is on its way", async || {
        let status = cluster.try_status(JOINER).await?;
        let transfer = incoming(&status)?;
        (transfer.bytes_done * parts >= transfer.bytes_total * part).then_some(*transfer)
    })
    .await
}

/// Returns the number of lines of a node's log that contain this phrase.
pub(crate) fn says(cluster: &Cluster, node: u64, phrase: &str) -> usize {
    let log = cluster.log(node);
    log.lines().filter(|line| line.contains(phrase)).count()
}

/// Waits until the joiner has everything, and checks that all nodes are the same.
pub(crate) async fn succeeds(cluster: &Cluster) {
    until("a snapshot is installed", async || {
        let status = cluster.try_status(JOINER).await?;
        let is_there = own(&status)?.applied_index > 0 && incoming(&status).is_none();
        is_there.then_some(())
    })
    .await;
    agree(cluster).await;
}

/// Checks that all nodes have the same state.
pub(crate) async fn agree(cluster: &Cluster) {
    let digests = agreed_digests(cluster).await;
    let (_, first) = &digests[0];
    for (node, digest) in &digests {
        assert_eq!(digest.digest, first.digest, "node {node} has another state");
        assert!(digest.messages >= TEXTS as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_shown_with_its_rate_and_holds_back_the_log() {
    let (cluster, root) = large_cluster(BYTES_PER_SECOND).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    let leader = cluster.endpoint(cluster.leader().await);
    let file = cluster.operator_file().await;
    let watched = async |args: &[&str], wanted: &[&str]| {
        let all = [
            &["cluster", "--endpoints", &leader, "status", "--watch"],
            args,
        ]
        .concat();
        let mut watching = program(&all);
        watching.env("CONCLAVE_OPERATOR_FILE", &file);
        let mut child = watching.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if wanted.iter().all(|word| line.contains(word)) {
                    return line;
                }
            }
            panic!("the command has ended");
        };
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        child.kill().await.unwrap();
        seen.expect("it is seen")
    };
    let table = watched(&[], &["snapshot ", " → ", " % ", "KiB/s", " left"]);
    let json = watched(
        &["-o", "json"],
        &["\"bytes_per_second\":", "\"remaining_s\":"],
    );
    let ((), table, json) = tokio::join!(join(&cluster, &root), table, json);
    assert!(table.contains('█') || table.contains('░'), "{table}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let transfer = &json["transfers"][0];
    assert!(transfer["bytes_total"].as_u64().unwrap() > TEXTS as u64 * TEXT_BYTES as u64);
    assert_eq!(transfer["bytes_before"], 0);
    // Far more is written than the log keeps while the snapshot is on its way.
    received(&cluster, 9, 10).await;
    talking.go_on(2 * KEEP_ENTRIES).await;
    talking.finish_without_error().await;
    succeeds(&cluster).await;
    // The others may know of its vote before its own log says so.
    let told = until("it says that it has caught up", async || {
        let told = cluster.log(JOINER);
        told.contains("caught up").then_some(told)
    })
    .await;
    assert!(told.contains("receiving a snapshot"), "{told}");
    // The joiner followed the log after that: no second snapshot was needed.
    assert_eq!(says(&cluster, JOINER, "snapshot installed"), 1, "{told}");
    witness.judge(&cluster, &[&alice]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_with_a_full_disk_gets_the_snapshot_once_it_fits() {
    // Slow enough that the disk is full before the last piece, also on a busy machine.
    let (cluster, root) = large_cluster(BYTES_PER_SECOND / 4).await;
    let Some(disk) = SmallDisk::mount(&cluster.directory(JOINER), 192) else {
        // Visible with `--nocapture`, and in the output of the continuous integration.
        eprintln!("SKIPPED: mounting a small disk needs root");
        return;
    };
    join(&cluster, &root).await;
    received(&cluster, 1, 10).await;
    // The node says so and continues, or it stops because the log has no room either.
    let ended = until("a full disk is noticed", async || {
        // Filled each time: the node gives up its reserve, into which the whole snapshot would fit.
        disk.fill();
        if cluster.has_ended(JOINER) {
            return Some(true);
        }
        (1..=VOTERS)
            .any(|node| says(&cluster, node, "failed to send snapshot") > 0)
            .then_some(false)
    })
    .await;
    assert!(!cluster.log(JOINER).contains("panicked"));
    assert_eq!(says(&cluster, JOINER, "snapshot installed"), 0);
    disk.make_room();
    if ended {
        cluster.start_node(JOINER).await;
    }
    succeeds(&cluster).await;
    cluster.kill(JOINER).await;
}

/// A proxy in front of the joiner's port for peers that flips one bit of each of some pieces of a
/// snapshot.
struct BadWire {
    address: String,
    flipped: watch::Receiver<u64>,
}

/// Bytes that pass over a connection before a bit is flipped: entries and votes are less.
const CLEAN_BYTES: u64 = 128 * 1024;
/// Number of bits that are flipped.
const FLIPS: u64 = 5;

impl BadWire {
    async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, flipped) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let (target, tell) = (target.clone(), tell.clone());
                tokio::spawn(async move {
                    if let Ok(to) = TcpStream::connect(target).await {
                        carry(from, to, &tell).await;
                    }
                });
            }
        });
        Self { address, flipped }
    }
}

/// Carries bytes both ways until either end closes its connection.
async fn carry(from: TcpStream, to: TcpStream, flipped: &watch::Sender<u64>) {
    let (mut from_read, mut from_write) = from.into_split();
    let (mut to_read, mut to_write) = to.into_split();
    let forth = async {
        let mut buffer = vec![0; 16 * 1024];
        let mut carried = 0;
        while let Ok(read @ 1..) = from_read.read(&mut buffer).await {
            let is_enough = carried >= CLEAN_BYTES && read > buffer.len() / 2;
            let flips = is_enough
                && flipped.send_if_modified(|flipped| {
                    let flips = *flipped < FLIPS;
                    *flipped += u64::from(flips);
                    flips
                });
            if flips {
                buffer[read / 2] ^= 0x10;
                carried = 0;
            }
            carried += read as u64;
            if to_write.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let _ = tokio::io::copy(&mut to_read, &mut from_write).await;
    };
    tokio::select! {
        () = forth => {}
        () = back => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_corrupted_on_the_wire_is_resent_not_installed() {
    // Sent as fast as possible: every attempt but the last is broken.
    let (cluster, root) = large_cluster(0).await;
    let wire = BadWire::to(cluster.peer_address(JOINER)).await;
    let add = v1::AddNode {
        node_id: JOINER,
        peer_address: wire.address.clone(),
        client_address: cluster.endpoint(JOINER),
        replaces_node_id: 0,
    };
    let change = v1::change_members_request::Change::Add(add);
    let request = v1::ChangeMembersRequest {
        change: Some(change),
        ..Default::default()
    };
    root.change_members(request).await.unwrap();
    cluster.start_node(JOINER).await;
    succeeds(&cluster).await;
    assert_eq!(*wire.flipped.borrow(), FLIPS);
    assert_eq!(says(&cluster, JOINER, "snapshot installed"), 1);
    let refused = (1..=VOTERS).map(|node| says(&cluster, node, "failed to send snapshot"));
    assert!(refused.sum::<usize>() > 0, "no damage was noticed");
}
