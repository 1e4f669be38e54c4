//! Damage that a node must not or cannot repair by itself, and damage that only other nodes see.

use std::{
    fs,
    path::{Path, PathBuf},
};

use conclave_client::{Client, Freshness, Page, v1};

use crate::{
    command::{Home, Person, Served},
    damage::{Dice, all_are_well, all_vote, check, file_of},
    support::{Cluster, until},
    witness::{Witness, client_of, person, sign_up},
};

/// Environment variable with the time for which a node waits to rejoin, in seconds.
const WAIT_VARIABLE: &str = "CONCLAVE_REPAIR_WAIT_SECONDS";

/// Changes a byte in the middle of this directory's log; returns the file and its bytes as they
/// were.
pub(crate) fn hurt_log(directory: &Path) -> (PathBuf, Vec<u8>) {
    let file = file_of(directory, "log", &mut Dice(3));
    let good = fs::read(&file).unwrap();
    let used = good.iter().rposition(|byte| *byte != 0).unwrap();
    let mut bad = good.clone();
    bad[used / 2] ^= 0x10;
    fs::write(&file, bad).unwrap();
    (file, good)
}

async fn alice_at(node: &Served) -> Client {
    let login = sign_up(&node.client(), "alice").await;
    client_of(&node.client_address, &login.token)
}

async fn history(alice: &Client) -> Vec<String> {
    let fresh = Freshness::Linearizable;
    let to = person("alice");
    let page = alice.messages(&to, Page::Newest, 1000, fresh).await;
    let messages = page.unwrap().messages.into_iter();
    messages.map(|message| message.text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_with_a_damaged_log_stops_and_changes_nothing() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    let alice = alice_at(&node).await;
    alice.send(&person("alice"), "kept").await.unwrap();
    node.stop().await;
    let data = home.path("data");
    let (file, good) = hurt_log(&data);
    for _ in 0..2 {
        let ended = home.try_alone("data", &[], &[]).await.unwrap_err();
        ended.failed(65, "no other node with the data is known");
    }
    assert!(data.join("state.db").exists() && !data.join("damaged-1").exists());
    // The operator has restored the file, and says so.
    fs::write(file, good).unwrap();
    fs::remove_file(data.join("damaged.json")).unwrap();
    let node = home.alone("data").await;
    assert_eq!(history(&alice_at(&node).await).await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_rebuilds_a_damaged_database_from_a_full_log() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    let alice = alice_at(&node).await;
    alice.send(&person("alice"), "kept").await.unwrap();
    node.stop().await;
    let data = home.path("data");
    let state = fs::File::options().write(true).open(data.join("state.db"));
    state.unwrap().set_len(9000).unwrap();
    let node = home.alone("data").await;
    assert!(node.line.ends_with("node=1"), "{}", node.line);
    assert_eq!(history(&alice_at(&node).await).await, ["kept"]);
    assert!(data.join("damaged-1/state.db").exists());
    assert!(!data.join("damaged.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_majority_repairs_nothing_and_loses_nothing() {
    let mut cluster = Cluster::prepare(5).await;
    for node in cluster.nodes() {
        cluster.set_variable(node, WAIT_VARIABLE, "2");
    }
    cluster.start_all().await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    let talk = talking.finish_without_error().await;
    cluster.kill_all().await;
    let mut good = Vec::new();
    for node in 1..=3 {
        good.push(hurt_log(&cluster.directory(node)));
    }
    for node in 4..=5 {
        cluster.start_node(node).await;
    }
    for node in 1..=3 {
        let ended = cluster.try_start_node(node).await.unwrap_err();
        assert!(ended.contains("no majority of the others"), "{ended}");
        assert!(!cluster.directory(node).join("damaged-1").exists());
    }
    for (node, (file, bytes)) in (1..=3).zip(good) {
        fs::write(file, bytes).unwrap();
        fs::remove_file(cluster.directory(node).join("damaged.json")).unwrap();
    }
    cluster.start_all().await;
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (talk.said, 0));
}

/// Changes a letter of a message in the database of a node that does not run.
fn change_row(cluster: &Cluster, node: u64, text: &str) {
    let file = cluster.directory(node).join("state.db");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes
        .windows(text.len())
        .position(|window| window == text.as_bytes())
        .expect("it is in the database");
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_is_found_by_comparison_and_the_node_rejoins() {
    let cluster = Cluster::start_encrypted(5).await;
    let (root, _) = cluster.administrator().await;
    root.send(&person("root"), "the quick brown fox")
        .await
        .unwrap();
    cluster.all_rejoined().await;
    let hurt = cluster.a_follower().await;
    let before = cluster.status(hurt).await.node_id;
    cluster.stop(hurt).await;
    change_row(&cluster, hurt, "quick brown");
    cluster.start_node(hurt).await;
    all_vote(&cluster).await;
    // SQLite has no checksums: the damage stays hidden until the nodes compare their states.
    assert_eq!(cluster.status(hurt).await.node_id, before);
    let found = until("a check is finished", async || check(&cluster, &root).await).await;
    let verdict = |node: &v1::NodeCheck| (node.node_id, node.verdict());
    let verdicts: Vec<_> = found.iter().map(verdict).collect();
    for (node, verdict) in verdicts {
        let expected = match node == before {
            true => v1::CheckVerdict::Diverged,
            false => v1::CheckVerdict::Same,
        };
        assert_eq!(verdict, expected, "node {node}");
    }
    until("the diverged node has come back", async || {
        let now = cluster.status(hurt).await;
        (now.node_id != before).then_some(())
    })
    .await;
    all_are_well(&cluster, &root).await;
    assert!(cluster.directory(hurt).join("damaged-1/state.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_check_reports_damage_in_output_and_exit_code() {
    let cluster = Cluster::start(3).await;
    let (root, _) = cluster.administrator().await;
    root.send(&person("root"), "the quick brown fox")
        .await
        .unwrap();
    let endpoints: Vec<String> = cluster
        .nodes()
        .iter()
        .map(|n| cluster.endpoint(*n))
        .collect();
    let admin = Person::new(&endpoints);
    let file = cluster.operator_file().await;
    let keep = ["operator", "use", file.to_str().unwrap()];
    admin.run(&keep).await.succeeded();
    let well = admin.run(&["cluster", "check"]).await;
    let table = well.succeeded();
    assert_eq!(table.matches("whole").count(), 3, "{table}");
    let found = admin.run(&["cluster", "check", "-o", "json"]).await.json();
    assert_eq!(found[0]["well"], true);
    assert_eq!(found[0]["nodes"].as_array().unwrap().len(), 3);

    let hurt = cluster.a_follower().await;
    cluster.stop(hurt).await;
    let missing = admin.run(&["cluster", "check"]).await;
    missing.failed(69, "2 of 3 nodes agree");
    change_row(&cluster, hurt, "quick brown");
    cluster.start_node(hurt).await;
    until("all three answer", async || {
        let status = cluster.status(hurt).await;
        (status.voters_reachable == 3).then_some(())
    })
    .await;
    let diverged = admin.run(&["cluster", "check"]).await;
    diverged.failed(65, "2 of 3 nodes agree");
    let eve = Person::named(&endpoints, "eve").await;
    eve.run(&["cluster", "check"])
        .await
        .failed(4, "credential of an operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_damaged_again_while_rejoining_still_recovers() {
    let cluster = Cluster::start(5).await;
    let (root, _) = cluster.administrator().await;
    let hurt = cluster.a_follower().await;
    for _ in 0..2 {
        cluster.kill(hurt).await;
        hurt_log(&cluster.directory(hurt));
        // The node joins under a new number now, and follows.
        cluster.start_node(hurt).await;
    }
    all_are_well(&cluster, &root).await;
    let status = cluster.status(hurt).await;
    assert!(status.node_id > 5, "{status:?}");
    assert!(cluster.directory(hurt).join("damaged-2/log").exists());
}
