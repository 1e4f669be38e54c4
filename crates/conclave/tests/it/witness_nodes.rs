//! Three full nodes and two witnesses, which keep the log alone: any two of the five may fail.
//!
//! `Witness` here is the record of what was acknowledged (`witness.rs`), and not such a node.

use std::{fs, time::Duration};

use conclave_client::Client;

use crate::{
    command::Person,
    damage::{Dice, file_of},
    planned_work::health,
    support::{Cluster, until},
    witness::{Speaker, Talking, Witness},
};

const HOUR: Duration = Duration::from_secs(3600);
/// Messages that must get through after each failure.
const MESSAGES: u64 = 5;

/// Lets a node join by a token, and waits until it has its vote for good.
async fn join(cluster: &Cluster, root: &Client, node: u64) {
    let made = root.create_join_token(HOUR, false).await.unwrap();
    cluster.give_token(node, &made.token);
    cluster.start_node(node).await;
    let failures = u32::try_from((node - 1) / 2).unwrap();
    until("it votes", async || {
        let status = cluster.try_status(1).await?;
        let voters = u64::from(status.voters);
        (voters == node && status.tolerates_failures == failures).then_some(())
    })
    .await;
}

/// Starts three full nodes, and two witnesses that join them. `keep`: entries that each node keeps
/// in its log without a reason.
async fn three_and_two(keep: Option<u64>) -> Cluster {
    let mut cluster = Cluster::prepare_growing(5).await;
    for node in cluster.nodes() {
        if let Some(keep) = keep {
            cluster.set_variable(node, "CONCLAVE_LOG_KEEP_ENTRIES", &keep.to_string());
        }
    }
    for node in [4, 5] {
        cluster.make_witness(node);
    }
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    for node in 2..=5 {
        join(&cluster, &root, node).await;
    }
    cluster
}

/// Kills these nodes, lets people go on, and brings the nodes back.
async fn without(cluster: &Cluster, nodes: [u64; 2], talking: &mut Talking) {
    for node in nodes {
        cluster.kill(node).await;
    }
    talking.go_on(MESSAGES).await;
    for node in nodes {
        cluster.start_node(node).await;
    }
    cluster.all_rejoined().await;
    talking.go_on(MESSAGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_of_three_full_nodes_and_two_witnesses_may_be_killed() {
    let cluster = three_and_two(None).await;
    let witness = Witness::new();
    let alice: Speaker = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(MESSAGES).await;
    for first in 1..=5 {
        for second in first + 1..=5 {
            without(&cluster, [first, second], &mut talking).await;
        }
    }
    let talk = talking.finish_without_error().await;
    eprintln!("slowest message {:?} of {}", talk.slowest, talk.said);
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (talk.said, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_that_was_behind_gets_what_only_witnesses_have() {
    // So few that the witnesses would have purged what the node lacks, if they went by themselves.
    let cluster = three_and_two(Some(8)).await;
    let witness = Witness::new();
    let alice: Speaker = witness.speaker(&cluster.client(), "alice", "bob").await;
    for behind in 1..=3 {
        let others: Vec<u64> = (1..=3).filter(|node| *node != behind).collect();
        cluster.kill(behind).await;
        for _ in 0..100 {
            alice.say().await.unwrap();
        }
        for other in &others {
            cluster.kill(*other).await;
        }
        cluster.start_node(behind).await;
        // It has the log of the witnesses, or nothing more can be said.
        alice.say().await.unwrap();
        let status = cluster.status(behind).await;
        assert_eq!(status.leader_id, behind, "a witness leads");
        for other in others {
            cluster.start_node(other).await;
        }
        cluster.all_rejoined().await;
    }
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (303, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_witness_comes_back_as_a_witness() {
    let mut cluster = Cluster::prepare_growing(3).await;
    cluster.make_witness(3);
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    for node in [2, 3] {
        join(&cluster, &root, node).await;
    }
    let mut number = 3;
    for damaged in ["log", "identity.json"] {
        cluster.kill(3).await;
        let file = file_of(&cluster.directory(3), damaged, &mut Dice(1));
        let mut bytes = fs::read(&file).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[used / 2] ^= 8;
        fs::write(&file, bytes).unwrap();
        cluster.start_node(3).await;
        number = until("it votes as a witness under a new number", async || {
            let status = cluster.try_status(1).await?;
            let mut nodes = status.nodes.iter().filter(|node| node.node_id > number);
            let new = nodes.find(|node| node.witness && node.reachable)?.node_id;
            (status.voters == 3 && status.voters_reachable == 3).then_some(new)
        })
        .await;
        // Also at every later start.
        cluster.kill(3).await;
        cluster.start_node(3).await;
        cluster.all_rejoined().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_has_no_message_and_says_what_it_is() {
    const CANARY: &str = "canary-of-the-witness";
    let mut cluster = Cluster::prepare_growing(3).await;
    for node in cluster.nodes() {
        // So that the witness joins by a snapshot, which has everything.
        cluster.set_variable(node, "CONCLAVE_LOG_KEEP_ENTRIES", "8");
    }
    cluster.make_witness(3);
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    join(&cluster, &root, 2).await;
    let witness = Witness::new();
    let alice: Speaker = witness.speaker(&cluster.client(), "alice", "bob").await;
    for number in 0..100 {
        let text = format!("{CANARY} {number}");
        alice.say_text(text).await.unwrap();
    }
    until("the log of the leader begins later", async || {
        let status = cluster.try_status(1).await?;
        let leader = status
            .nodes
            .iter()
            .find(|node| node.node_id == status.leader_id)?;
        alice.say().await.unwrap();
        (leader.applied_index > 200).then_some(())
    })
    .await;
    join(&cluster, &root, 3).await;
    alice.say_text(CANARY.to_owned()).await.unwrap();
    cluster.all_rejoined().await;
    assert!(cluster.log(3).contains("snapshot installed"));
    let has_canary = |node: u64| {
        let mut files = fs::read_dir(cluster.directory(node)).unwrap();
        files.any(|file| {
            let path = file.unwrap().path();
            path.is_file() && {
                let bytes = fs::read(path).unwrap();
                let mut windows = bytes.windows(CANARY.len());
                windows.any(|window| window == CANARY.as_bytes())
            }
        })
    };
    assert!(has_canary(2), "a full node has the messages");
    assert!(!has_canary(3), "a witness has messages in its database");

    let endpoints = [cluster.endpoint(1), cluster.endpoint(2)];
    let file = cluster.operator_file().await;
    let person = Person::new(&endpoints);
    let operate = async |args: &[&str]| {
        let args = [args, &["--operator-file", file.to_str().unwrap()]].concat();
        person.run(&args).await
    };
    let status = operate(&["cluster", "status"]).await.succeeded();
    let line = status.lines().find(|line| line.starts_with('3')).unwrap();
    assert!(line.contains("witness"), "{status}");
    let refused = operate(&["cluster", "transfer-leader", "--to", "3"]).await;
    refused.failed(5, "node 3 is a witness, and does not lead");
    let refused = operate(&["cluster", "remove", "1"]).await;
    refused.succeeded();
    let refused = operate(&["cluster", "demote", "2", "--force"]).await;
    refused.failed(5, "full nodes");

    // Its port for clients sends them elsewhere, and says so to whatever balances them.
    assert_eq!(health(&cluster.endpoint(3)).await, 503);
}
