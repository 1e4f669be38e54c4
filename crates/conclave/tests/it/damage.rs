//! Bytes on disk that are not what was written: the damaged node notices, does not vote with them,
//! and rejoins by itself; clients that send meanwhile notice nothing.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use conclave_client::{Client, v1};
use tokio::time::{sleep, timeout};
use v1::CheckVerdict;

use crate::{
    snapshots::own,
    support::{Cluster, until},
    witness::Witness,
};

/// Environment variable with the number of damages, if it differs from the usual one.
const DAMAGES_VARIABLE: &str = "CONCLAVE_DAMAGES";
/// Environment variable with a number that is added to the seeds, for other seeds than the usual
/// ones.
const SEED_VARIABLE: &str = "CONCLAVE_DAMAGES_SEED";
/// Default number of damages in each of the two clusters.
const DAMAGES: u64 = 6;
/// Messages that must get through while two nodes are down, and after they are back.
const MESSAGES: u64 = 20;

/// Maximum time for a damaged minority to be well again, on a machine that has much to do: it
/// joins, catches up, gets its place again, and all nodes are checked.
const WELL_LIMIT: Duration = Duration::from_secs(150);
/// Time between two looks at a check's progress, and between two checks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Time between two messages: the disks are to be damaged, not filled.
const PACE: Duration = Duration::from_millis(10);
/// Number of lines of each log that are shown if it takes longer.
const LINES_SHOWN: usize = 40;

/// Random number generator: the same seed gives the same numbers.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound.max(1)
    }
}

/// Parts of a node's data that are damaged.
const KINDS: [&str; 8] = [
    "log",
    "state.db",
    "state.db-wal",
    "identity.json",
    "log",
    "state.db",
    "peers.json",
    "secret.copy",
];

/// Returns the file of this kind.
pub(crate) fn file_of(directory: &Path, kind: &str, dice: &mut Dice) -> PathBuf {
    if kind != "log" {
        return directory.join(kind);
    }
    let files = fs::read_dir(directory.join("log")).unwrap();
    let mut segments: Vec<PathBuf> = files
        .map(|item| item.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "segment"))
        .collect();
    segments.sort();
    segments.swap_remove(dice.below(segments.len()))
}

/// Changes some bytes of a file, or truncates it, at random places; returns what was done.
pub(crate) fn damage(file: &Path, dice: &mut Dice) -> String {
    let mut bytes = fs::read(file).unwrap_or_default();
    // The end of a log is zeros that are not in use: changing them would not be noticed.
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    if dice.below(4) == 0 {
        let at = dice.below(used);
        bytes.truncate(at);
        fs::write(file, bytes).unwrap();
        return format!("{name} cut at {at} of {used}");
    }
    let at = dice.below(used);
    let count = 1 + dice.below(8);
    for byte in bytes.iter_mut().skip(at).take(count) {
        *byte ^= 1 + dice.below(255) as u8;
    }
    fs::write(file, bytes).unwrap();
    format!("{name} changed at {at} of {used}, {count} bytes")
}

/// Waits until five nodes vote and all answer.
pub(crate) async fn all_vote(cluster: &Cluster) {
    let client = cluster.client();
    until("five nodes vote and answer", async || {
        is_whole(cluster, &client).await.then_some(())
    })
    .await;
}

async fn is_whole(cluster: &Cluster, client: &Client) -> bool {
    for node in cluster.nodes() {
        let endpoint = cluster.endpoint(node);
        let Ok(status) = client.cluster_status(&endpoint).await else {
            return false;
        };
        let is_whole = status.voters == 5 && status.voters_reachable == 5;
        if !is_whole || status.nodes.len() != 5 {
            return false;
        }
    }
    true
}

/// Has the cluster checked; returns what was found, by the place of each node.
pub(crate) async fn check(cluster: &Cluster, root: &Client) -> Option<Vec<v1::NodeCheck>> {
    for node in cluster.nodes() {
        let endpoint = cluster.endpoint(node);
        let Ok(mut found) = root.check_cluster(&endpoint, 0).await else {
            continue;
        };
        while !found.finished {
            sleep(LOOK_INTERVAL).await;
            found = root.check_cluster(&endpoint, found.check_id).await.ok()?;
        }
        return Some(found.nodes);
    }
    None
}

/// Waits until a check finds nothing; nodes whose state diverged repair themselves until then.
pub(crate) async fn all_are_well(cluster: &Cluster, root: &Client) {
    let well = async {
        loop {
            if is_whole(cluster, root).await {
                let found = check(cluster, root).await.unwrap_or_default();
                let is_well = |node: &v1::NodeCheck| node.verdict() == CheckVerdict::Same;
                if found.len() == 5 && found.iter().all(is_well) {
                    return;
                }
            }
            sleep(CHECK_INTERVAL).await;
        }
    };
    if timeout(WELL_LIMIT, well).await.is_err() {
        let logs = cluster.nodes().into_iter().map(|node| {
            let log = cluster.log(node);
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            format!("node {node}:\n{}", last.join("\n"))
        });
        panic!("not well in time\n{}", logs.collect::<Vec<_>>().join("\n"));
    }
}

/// Returns the number that each place has in the cluster.
async fn numbers(cluster: &Cluster) -> Vec<u64> {
    let mut numbers = Vec::new();
    for node in cluster.nodes() {
        numbers.push(cluster.status(node).await.node_id);
    }
    numbers
}

/// Damages two of five nodes again and again while a client sends messages.
async fn survives(cluster: Cluster, seed: u64, damages: u64) {
    let mut dice = Dice(seed);
    let (root, _) = cluster.administrator().await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking_at(PACE);
    talking.go_on(MESSAGES).await;
    let (mut made, mut repaired) = (0, 0);
    while made < damages {
        let before = numbers(&cluster).await;
        let first = 1 + dice.below(5) as u64;
        let second = 1 + (first + dice.below(4) as u64) % 5;
        let mut done = Vec::new();
        for node in [first, second] {
            cluster.kill(node).await;
            let kind = KINDS[made as usize % KINDS.len()];
            let file = file_of(&cluster.directory(node), kind, &mut dice);
            done.push(format!("node {node}: {}", damage(&file, &mut dice)));
            made += 1;
        }
        tell(&format!("seed {seed:#x}: {}", done.join("; ")));
        talking.go_on(MESSAGES).await;
        tokio::join!(cluster.start_node(first), cluster.start_node(second));
        all_are_well(&cluster, &root).await;
        talking.go_on(MESSAGES).await;
        let after = numbers(&cluster).await;
        repaired += before.iter().zip(&after).filter(|(a, b)| a != b).count();
        forgive(&cluster);
    }
    tell(&format!(
        "seed {seed:#x}: {repaired} of {made} came back under a new number"
    ));
    assert!(repaired > 0);
    let talk = talking.finish_without_error().await;
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (talk.said, 0));
}

#[expect(clippy::print_stdout, reason = "a replayed seed prints what it did")]
fn tell(what: &str) {
    println!("{what}");
}

/// Makes the nodes forget that they were repaired lately: these machines are not to blame.
fn forgive(cluster: &Cluster) {
    for node in cluster.nodes() {
        for item in fs::read_dir(cluster.directory(node)).unwrap() {
            let path = item.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("damaged-") {
                fs::remove_dir_all(path).unwrap();
            }
        }
    }
}

fn seed() -> u64 {
    let asked = std::env::var(SEED_VARIABLE).ok();
    asked.map_or(0, |asked| asked.parse().unwrap())
}

/// Returns the number of damages for each cluster.
fn damages() -> u64 {
    let asked = std::env::var(DAMAGES_VARIABLE).ok();
    asked.map_or(DAMAGES, |asked| asked.parse::<u64>().unwrap() / 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_minority_recovers_by_itself_without_loss() {
    let cluster = Cluster::start(5).await;
    survives(cluster, 0x5eed_0001 + seed(), damages()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_minority_recovers_by_snapshots_without_loss() {
    let cluster = Cluster::start_with_short_logs(5, 64).await;
    survives(cluster, 0x5eed_0002 + seed(), damages()).await;
}

/// Changes a byte of this node's log on disk, while the node runs.
fn touch_log(cluster: &Cluster, node: u64) {
    let mut dice = Dice(7);
    let file = file_of(&cluster.directory(node), "log", &mut dice);
    let bytes = fs::read(&file).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let segment = fs::File::options().write(true).open(&file).unwrap();
    let at = used / 2;
    segment.write_all_at(&[!bytes[at]], at as u64).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_damaged_at_run_time_stops_votes_and_the_node_rejoins() {
    let cluster = Cluster::start(5).await;
    let (root, _) = cluster.administrator().await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking_at(PACE);
    talking.go_on(MESSAGES).await;
    let hurt = cluster.leader().await;
    let before = cluster.status(hurt).await.node_id;
    touch_log(&cluster, hurt);
    all_are_well(&cluster, &root).await;
    let after = cluster.status(hurt).await.node_id;
    assert_ne!(after, before, "{}", cluster.log(hurt));
    assert!(cluster.directory(hurt).join("damaged-1/log").exists());
    let status = cluster.status(hurt).await;
    let repaired = |event: &v1::NodeEvent| event.kind() == v1::NodeEventKind::Repaired;
    assert!(
        own(&status).unwrap().events.iter().any(repaired),
        "{status:?}"
    );
    talking.go_on(MESSAGES).await;
    // Its flags still name its first number.
    cluster.stop(hurt).await;
    cluster.start_node(hurt).await;
    all_are_well(&cluster, &root).await;
    assert_eq!(cluster.status(hurt).await.node_id, after);
    let talk = talking.finish_without_error().await;
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (talk.said, 0));
}
