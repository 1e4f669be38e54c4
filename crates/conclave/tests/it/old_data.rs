//! Old copies of a data directory, and copies that run beside their original, as after an operator
//! has restored the wrong directory.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    command::{Ran, Served},
    support::{Cluster, until},
    witness::Witness,
};

/// Processor time that an idle node may use in [`QUIET_FOR`], in hundredths of a second: heartbeats
/// cost a few.
const QUIET_TICKS: u64 = 50;
const QUIET_FOR: Duration = Duration::from_secs(3);

/// Copies a directory, as `cp -a` does.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let path = item.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            // A file of a running node may disappear meanwhile.
            false => drop(fs::copy(&path, &target)),
        }
    }
}

/// Copies the directory of this node to a place beside it.
pub(crate) fn copy_of(cluster: &Cluster, node: u64) -> PathBuf {
    let directory = cluster.directory(node);
    let kept = directory.with_extension("copy");
    copy(&directory, &kept);
    kept
}

/// Puts a copy back in the place of the directory.
pub(crate) fn put_back(cluster: &Cluster, node: u64, kept: &Path) {
    cluster.wipe(node);
    copy(kept, &cluster.directory(node));
}

/// Waits until three nodes vote and answer, and returns this node's number, which is a new one.
async fn comes_back(cluster: &Cluster, node: u64) -> u64 {
    let client = cluster.operator_client().await;
    until("it votes again under a new number", async || {
        let status = client.cluster_status(&cluster.endpoint(node)).await.ok()?;
        let is_whole = status.voters == 3 && status.voters_reachable == 3;
        let is_new = status.node_id > 3 && status.nodes.len() == 3;
        (is_whole && is_new).then_some(status.node_id)
    })
    .await
}

/// Returns the processor time that a process has used so far, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outdated_copy_rejoins_under_a_new_number_without_loss() {
    let cluster = Cluster::start(3).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    cluster.stop(2).await;
    let kept = copy_of(&cluster, 2);
    cluster.start_node(2).await;
    talking.go_on(300).await;
    cluster.stop(2).await;
    put_back(&cluster, 2, &kept);
    cluster.start_node(2).await;
    comes_back(&cluster, 2).await;
    assert!(cluster.directory(2).join("damaged-1/state.db").exists());
    let others = [1, 3].map(|node| cluster.log(node));
    let is_told = |log: &String| log.contains("a member is refused");
    assert!(others.iter().any(is_told), "{others:?}");
    talking.go_on(20).await;
    let talk = talking.finish_without_error().await;
    let before = [1, 2, 3].map(|node| ticks(cluster.pid(node)));
    sleep(QUIET_FOR).await;
    for (node, before) in [1, 2, 3].into_iter().zip(before) {
        let used = ticks(cluster.pid(node)) - before;
        assert!(used < QUIET_TICKS, "node {node} is not quiet: {used}");
    }
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (talk.said, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_copy_gives_no_vote_when_another_follower_is_lost() {
    let cluster = Cluster::start(3).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = cluster
        .nodes()
        .into_iter()
        .filter(|n| *n != leader)
        .collect();
    let (old, lost) = (others[0], others[1]);
    // A copy like a snapshot of the disk or a nightly backup: the node does not run meanwhile.
    let kept = copy_of(&cluster, old);
    talking.go_on(300).await;
    let talk = talking.finish_without_error().await;
    // The last acknowledged messages are on the leader and on the node that is restored.
    cluster.kill(lost).await;
    let mut said = alice.keep_talking();
    said.go_on(20).await;
    let more = said.finish_without_error().await;
    cluster.kill(old).await;
    put_back(&cluster, old, &kept);
    // If the node is refused before it listens, it does not listen: without a majority it cannot
    // join again.
    let listens = cluster.try_start_node(old).await.is_ok();
    until("it is refused", async || {
        let log = cluster.log(old);
        log.contains("the data of this node is damaged")
            .then_some(())
    })
    .await;
    // There is no majority without the node, and no vote of it makes one.
    assert!(!cluster.status(leader).await.quorum);
    cluster.start_node(lost).await;
    if !listens {
        cluster.start_node(old).await;
    }
    comes_back(&cluster, old).await;
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (talk.said + more.said, 0));
}

/// Starts a copy of a node's directory on ports of its own; returns how it ended, if it did.
async fn start_beside(data: &Path) -> Result<Served, Ran> {
    let args = [
        "--data",
        data.to_str().unwrap(),
        "--client-address",
        "127.0.0.1:0",
        "--peer-address",
        "127.0.0.1:0",
    ];
    Served::start(&data.with_extension("copy-log"), &args, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_beside_its_original_is_refused_and_serves_no_client() {
    let cluster = Cluster::start(3).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    let copied = cluster.a_follower().await;
    // A copy of files that change is damaged, and would be repaired under another number.
    cluster.pause(copied).await;
    let data = copy_of(&cluster, copied);
    cluster.resume(copied).await;
    let began = Instant::now();
    let mut clone = start_beside(&data).await.expect("it listens");
    let clone_at = clone.client_address.clone();
    let ended = clone.ended().await;
    assert_eq!(ended.code(), Some(1), "{}", clone.log());
    assert!(began.elapsed() < Duration::from_secs(30));
    let log = clone.log();
    assert!(
        log.contains(&format!("another process with the number {copied} runs")),
        "{log}"
    );
    assert!(log.contains("hint: "), "{log}");
    talking.go_on(20).await;
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    talking.go_on(50).await;
    for node in cluster.nodes().into_iter().filter(|node| *node != leader) {
        let status = cluster.status(node).await;
        assert!(
            status
                .nodes
                .iter()
                .all(|node| node.client_address != clone_at)
        );
    }
    cluster.start_node(leader).await;
    cluster.all_rejoined().await;
    let talk = talking.finish_without_error().await;
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (talk.said, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_original_stops_after_its_copy_has_replaced_it() {
    let cluster = Cluster::start(3).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    let copied = cluster.a_follower().await;
    cluster.pause(copied).await;
    let data = copy_of(&cluster, copied);
    // For some seconds the original may still run; then it counts as dead, and the copy takes its
    // place.
    let mut clone = start_beside(&data).await.expect("it listens");
    clone.says("ready").await;
    cluster.resume(copied).await;
    cluster.ends(copied).await;
    let log = cluster.log(copied);
    assert!(
        log.contains(&format!("another process with the number {copied} runs")),
        "{log}"
    );
    talking.go_on(20).await;
    let client = cluster.operator_client().await;
    let at = clone.client_address.clone();
    until("the copy is found under its addresses", async || {
        let status = client
            .cluster_status(&cluster.endpoint(copied % 3 + 1))
            .await
            .ok()?;
        let found = status.nodes.iter().any(|node| node.client_address == at);
        (found && status.voters_reachable == 3).then_some(())
    })
    .await;
    talking.finish_without_error().await;
    clone.stop().await;
}
