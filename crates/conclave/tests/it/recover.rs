//! A majority is lost for good: one survivor continues alone, none of its data is lost, and the
//! lost nodes are refused if they come back.

use conclave_client::Reason;
use std::{path::Path, time::Duration};

use conclave_client::v1;
use serde_json::Value;
use v1::change_members_request::Change;

use crate::{
    command::{program, run},
    readme::{blocks, document},
    support::{Cluster, until},
    witness::{Witness, person},
};

/// Lifetime of a token.
const HOUR: Duration = Duration::from_secs(3600);
/// Data directory of a node in the documents.
const DATA: &str = "/var/lib/conclave";

/// Returns the commands of the runbook, in their order.
fn runbook() -> Vec<String> {
    let operations = document("docs/operations.md");
    let of_recovery = blocks(&operations, "sh").into_iter();
    let found: Vec<String> = of_recovery
        .filter(|block| block.starts_with("conclave cluster recover"))
        .collect();
    assert_eq!(found.len(), 1, "the runbook has one block");
    found[0].lines().map(str::to_owned).collect()
}

/// Runs a command of the runbook on this directory.
async fn as_written(line: &str, data: &Path) -> crate::command::Ran {
    let line = line.replace(DATA, data.to_str().unwrap());
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    run(program(&words), b"").await
}

/// Returns what `recover` reports about a survivor's data.
async fn standing(data: &Path) -> Value {
    let args = ["cluster", "recover", "--dry-run", "-o", "json", "--data"];
    let args = [&args[..], &[data.to_str().unwrap()]].concat();
    run(program(&args), b"").await.json().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_voters_recovers_alone_and_refuses_the_lost_voter() {
    let cluster = Cluster::prepare_growing(3).await;
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let made = root.create_join_token(HOUR, false).await.unwrap();
    cluster.give_token(2, &made.token);
    cluster.start_node(2).await;
    until("two vote", async || {
        let status = cluster.status(1).await;
        (status.voters == 2 && status.voters_reachable == 2).then_some(())
    })
    .await;
    let mut talking = alice.keep_talking();
    talking.go_on(30).await;
    let talk = talking.finish_without_error().await;
    // A running node needs no recovery.
    let data = cluster.directory(1);
    let [look, recover] = &runbook()[..] else {
        panic!("it looks, and recovers");
    };
    as_written(recover, &data)
        .await
        .failed(1, "in use by another process");
    cluster.kill(2).await;
    until("there is no quorum", async || {
        (!cluster.status(1).await.quorum).then_some(())
    })
    .await;
    cluster.kill(1).await;
    let before = as_written(look, &data).await.succeeded();
    assert!(
        before.contains("voters: 1, 2") && before.contains("lost nodes: 2"),
        "{before}"
    );
    // Without a terminal the command asks for no confirmation, and changes nothing.
    let unconfirmed = recover.replace(" --yes", "");
    as_written(&unconfirmed, &data)
        .await
        .failed(2, "must be confirmed");
    assert_eq!(as_written(look, &data).await.succeeded(), before);
    let done = as_written(recover, &data).await.succeeded();
    assert!(
        done.contains("node 1 is the only member of cluster"),
        "{done}"
    );
    let backup = data.join("before-recover-1");
    assert!(backup.join("state.db").exists() && backup.join("log").is_dir());

    cluster.start_node(1).await;
    let status = until("it leads alone", async || {
        let status = cluster.status(1).await;
        (status.leader_id == 1 && status.voters == 1).then_some(status)
    })
    .await;
    assert!(status.cluster_id.contains(".1-"), "{}", status.cluster_id);
    // The same session still works, and all messages are there.
    let endpoint = cluster.endpoint(1);
    assert_eq!(
        alice.all_messages_at(&endpoint).await.len() as u64,
        talk.said
    );
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    let more = talking.finish_without_error().await;

    cluster.start_refused_node(2).await;
    let log = cluster.log(2);
    assert!(
        log.contains("the cluster was recovered without this node"),
        "{log}"
    );
    assert!(
        log.contains("hint: ") && log.contains("conclave token create"),
        "{log}"
    );

    let made = root.create_join_token(HOUR, false).await.unwrap();
    cluster.give_token(3, &made.token);
    cluster.start_node(3).await;
    until("a new machine votes", async || {
        let status = cluster.status(1).await;
        (status.voters == 2 && status.voters_reachable == 2).then_some(())
    })
    .await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    let last = talking.finish_without_error().await;
    let said = talk.said + more.said + last.said;
    until("both have everything", async || {
        for node in [1, 3] {
            let all = alice.all_messages_at(&cluster.endpoint(node)).await;
            (all.len() as u64 == said).then_some(())?;
        }
        Some(())
    })
    .await;
    // The number of a lost node is used up.
    let add = Change::Add(v1::AddNode {
        node_id: 2,
        peer_address: "127.0.0.1:9".to_owned(),
        client_address: "127.0.0.1:10".to_owned(),
        replaces_node_id: 0,
    });
    let request = v1::ChangeMembersRequest {
        change: Some(add),
        ..Default::default()
    };
    let refused = root.change_members(request).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::NodeNumberTaken));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_that_runs_is_not_recovered() {
    let cluster = Cluster::start(3).await;
    let node = cluster.a_follower().await;
    cluster.kill(node).await;
    let data = cluster.directory(node);
    let others = cluster.nodes().into_iter().filter(|other| *other != node);
    let others: Vec<String> = others.map(|other| other.to_string()).collect();
    let recover = runbook().remove(1);
    let ran = as_written(&recover, &data).await;
    ran.failed(5, &format!("nodes {} answer", others.join(", ")));
    assert!(!data.join("before-recover-1").exists());
    // It goes on with the others, in the cluster that it was in.
    cluster.start_node(node).await;
    let status = until("all three vote", async || {
        let status = cluster.try_status(node).await?;
        (status.leader_id != 0 && status.voters_reachable == 3).then_some(status)
    })
    .await;
    assert!(!status.cluster_id.contains(".1-"), "{}", status.cluster_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_three_of_five_lost_the_longest_log_is_recovered() {
    let cluster = Cluster::start(5).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    // One survivor has fewer entries than the other.
    let behind = cluster.a_follower().await;
    cluster.kill(behind).await;
    talking.go_on(100).await;
    let talk = talking.finish_without_error().await;
    cluster.all_rejoined().await;
    cluster.kill_all().await;
    let ahead = behind % 5 + 1;
    let position = async |node: u64| {
        let standing = standing(&cluster.directory(node)).await;
        let number = |name: &str| standing[name].as_u64().unwrap();
        (number("last_term"), number("last_index"))
    };
    assert!(position(ahead).await > position(behind).await);
    let data = cluster.directory(ahead);
    let recover = runbook().remove(1);
    as_written(&recover, &data).await.succeeded();
    cluster.start_node(ahead).await;
    let client = cluster.client();
    let endpoint = cluster.endpoint(ahead);
    until("it leads alone", async || {
        let status = client.cluster_status(&endpoint).await.ok()?;
        (status.leader_id == ahead && status.voters == 1).then_some(())
    })
    .await;
    assert_eq!(
        alice.all_messages_at(&endpoint).await.len() as u64,
        talk.said
    );
    // The others are a majority of the cluster's former voters, and come back all at once.
    let others: Vec<u64> = cluster
        .nodes()
        .into_iter()
        .filter(|node| *node != ahead)
        .collect();
    futures::future::join_all(others.iter().map(|node| cluster.start_node(*node))).await;
    for node in &others {
        until("it stops", async || {
            let log = cluster.log(*node);
            log.contains("the cluster was recovered without this node")
                .then_some(())
        })
        .await;
    }
    let sent = alice.client.send(&person("bob"), "on").await;
    sent.expect("it goes on alone");
}
