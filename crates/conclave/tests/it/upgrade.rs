//! A cluster is upgraded node by node under load, goes back, is upgraded again and finalized: no
//! call fails, and no node of the earlier build stops before that.
//!
//! The earlier build is this one that applies one cluster version less (`newest_version`): it
//! refuses every entry that needs more, as it would if it had been built before.

use serde_json::Value;

use crate::{
    command::{Person, Ran},
    support::{Cluster, until},
    witness::{Speaker, Talking, Witness},
};

/// Variable that makes a node one of an earlier build.
const NEWEST: &str = "CONCLAVE_NEWEST_VERSION";
/// Newest version of that build, and of this one.
const EARLIER: u32 = 2;
const NOW: u32 = 3;

/// Makes a node run this build or the earlier one, from its next start on.
fn set_build(cluster: &mut Cluster, node: u64, newest: u32) {
    // An empty variable says nothing.
    let value = if newest == NOW {
        String::new()
    } else {
        newest.to_string()
    };
    cluster.set_variable(node, NEWEST, &value);
}

/// Waits until every node knows this cluster version.
async fn version_is(cluster: &Cluster, version: u32) {
    for node in cluster.nodes() {
        until("a node knows the cluster version", async || {
            let status = cluster.try_status(node).await?;
            (!status.partial && status.cluster_version == version).then_some(())
        })
        .await;
    }
}

/// Restarts all nodes with another build, the leader last, while people talk.
async fn roll(cluster: &mut Cluster, newest: u32, talking: &mut Talking) {
    let leader = cluster.leader().await;
    let mut nodes = cluster.nodes();
    nodes.sort_by_key(|node| *node == leader);
    for node in nodes {
        cluster.stop(node).await;
        set_build(cluster, node, newest);
        cluster.start_node(node).await;
        cluster.all_rejoined().await;
        talking.go_on(20).await;
    }
}

/// Runs a command of an operator.
async fn operate(cluster: &Cluster, args: &[&str]) -> Ran {
    let endpoints: Vec<String> = cluster
        .nodes()
        .iter()
        .map(|n| cluster.endpoint(*n))
        .collect();
    let file = cluster.operator_file().await;
    let args = [args, &["--operator-file", file.to_str().unwrap()]].concat();
    Person::new(&endpoints).run(&args).await
}

async fn checked(cluster: &Cluster) -> Value {
    let ran = operate(cluster, &["cluster", "upgrade-check", "-o", "json"]).await;
    ran.json().remove(0)
}

/// Starts a cluster of the earlier build, which has its version.
async fn start_earlier(nodes: u64) -> Cluster {
    let mut cluster = Cluster::prepare(nodes).await;
    for node in 1..=nodes {
        set_build(&mut cluster, node, EARLIER);
    }
    cluster.start_all().await;
    version_is(&cluster, EARLIER).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn two_builds_serve_together_up_back_and_up_again() {
    let mut cluster = start_earlier(5).await;
    let witness = Witness::new();
    let alice: Speaker = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    for newest in [NOW, EARLIER, NOW] {
        roll(&mut cluster, newest, &mut talking).await;
        version_is(&cluster, EARLIER).await;
        let told = checked(&cluster).await;
        assert_eq!(told["safe"], true, "{told}");
        assert_eq!(told["can_finalize"], newest == NOW, "{told}");
    }
    let finalized = operate(&cluster, &["cluster", "upgrade", "finalize"]).await;
    assert_eq!(finalized.succeeded().trim(), "the cluster has version 3");
    version_is(&cluster, NOW).await;
    talking.go_on(20).await;
    let talk = talking.finish_without_error().await;
    eprintln!("slowest message {:?} of {}", talk.slowest, talk.said);
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (talk.said, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cluster_has_the_newest_version_of_all_its_members() {
    let cluster = Cluster::start(3).await;
    version_is(&cluster, NOW).await;
    let told = checked(&cluster).await;
    assert_eq!(
        (&told["cluster_version"], &told["can_finalize"]),
        (&NOW.into(), &false.into())
    );

    let mut mixed = Cluster::prepare(3).await;
    set_build(&mut mixed, 2, EARLIER);
    mixed.start_all().await;
    version_is(&mixed, EARLIER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_not_finalized_without_every_member() {
    let mut cluster = start_earlier(3).await;
    for node in [1, 2] {
        cluster.stop(node).await;
        set_build(&mut cluster, node, NOW);
        cluster.start_node(node).await;
        cluster.all_rejoined().await;
    }
    let finalize = ["cluster", "upgrade", "finalize"];
    let refused = operate(&cluster, &[&finalize[..], &["--version", "3"]].concat()).await;
    refused.failed(5, "node 3 applies cluster versions 1 to 2");
    // Without a version it is the newest one of all: nothing is raised.
    let same = operate(&cluster, &finalize).await;
    assert_eq!(same.succeeded().trim(), "the cluster has version 2");
    cluster.stop(3).await;
    let silent = operate(&cluster, &finalize).await;
    silent.failed(69, "node 3 does not answer");
    let check = operate(&cluster, &["cluster", "upgrade-check"]).await;
    assert_eq!(check.code, Some(5), "{check:?}");
    assert!(
        check.stderr.contains("node 3: it does not answer"),
        "{check:?}"
    );
    set_build(&mut cluster, 3, NOW);
    cluster.start_node(3).await;
    cluster.all_rejoined().await;
    let done = operate(&cluster, &finalize).await;
    assert_eq!(done.succeeded().trim(), "the cluster has version 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_build_is_refused_once_the_upgrade_is_finalized() {
    let mut cluster = Cluster::prepare_with_places(4, 3).await;
    for node in 1..=3 {
        cluster.start_node(node).await;
    }
    cluster.all_rejoined().await;
    let members = [1, 2, 3];
    until("the members know the version", async || {
        for node in members {
            let status = cluster.try_status(node).await?;
            if status.partial || status.cluster_version != NOW {
                return None;
            }
        }
        Some(())
    })
    .await;
    // A member goes back: its own state says that it cannot.
    let leader = cluster.leader().await;
    let member = members.into_iter().find(|node| *node != leader).unwrap();
    cluster.stop(member).await;
    set_build(&mut cluster, member, EARLIER);
    cluster.start_refused_node(member).await;
    let log = cluster.log(member);
    assert!(log.contains("the cluster has version 3"), "{log}");
    assert!(log.contains("start the later build again"), "{log}");
    set_build(&mut cluster, member, NOW);
    cluster.start_node(member).await;
    cluster.all_rejoined().await;
    // A machine with a token is refused before the token is used up.
    let token = operate(&cluster, &["token", "create", "-o", "json"])
        .await
        .json();
    let token = token[0]["token"].as_str().unwrap();
    cluster.give_token(4, token);
    set_build(&mut cluster, 4, EARLIER);
    cluster.start_refused_node(4).await;
    let log = cluster.log(4);
    assert!(log.contains("applies cluster versions 1 to 2"), "{log}");
    assert!(log.contains("hint: "), "{log}");
    set_build(&mut cluster, 4, NOW);
    cluster.start_node(4).await;
    cluster.all_rejoined().await;
}
