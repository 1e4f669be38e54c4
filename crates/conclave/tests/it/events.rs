//! What an operator sees of the cluster's life: elections, joins, repairs and snapshots as events
//! of the nodes, and how fast each node works.

use std::time::Duration;

use conclave_client::v1::{self, NodeEventKind as Kind};

use crate::{
    snapshots::{JOINER, join, large_cluster, own, succeeds},
    support::{Cluster, until},
    witness::{person, sign_up},
};

/// Messages that are sent before the figures are read.
const MESSAGES: u64 = 20;
/// More than a cluster on one machine needs for an entry.
const COMMIT_MAX: Duration = Duration::from_secs(10);

/// Returns the events of a node according to itself.
async fn events(cluster: &Cluster, node: u64) -> Vec<v1::NodeEvent> {
    let status = cluster.try_status(node).await;
    let status = status.as_ref().and_then(own);
    status.map(|own| own.events.clone()).unwrap_or_default()
}

/// Waits until a node has an event of this kind about `subject`; returns it.
async fn event(cluster: &Cluster, node: u64, kind: Kind, subject: u64) -> v1::NodeEvent {
    until(&format!("node {node} has {kind:?} {subject}"), async || {
        let events = events(cluster, node).await;
        let mut found = events.into_iter();
        found.find(|event| event.kind() == kind && event.subject_node_id == subject)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_has_the_events_and_the_pace_of_every_node() {
    let cluster = Cluster::start(3).await;
    let login = sign_up(&cluster.client(), "alice").await;
    let alice = cluster.client().with_token(&login.token).unwrap();
    for number in 0..MESSAGES {
        alice
            .send(&person("alice"), number.to_string())
            .await
            .unwrap();
    }
    let leader = cluster.leader().await;
    let status = until("every node has decided all of it", async || {
        let status = cluster.try_status(leader).await?;
        let has_all = |node: &v1::NodeStatus| node.commands_decided > MESSAGES;
        status.nodes.iter().all(has_all).then_some(status)
    })
    .await;
    for node in &status.nodes {
        assert_eq!(
            node.commit_latency.is_some(),
            node.node_id == leader,
            "{node:?}"
        );
        let first = &node.events[0];
        assert_eq!((first.number, first.kind()), (1, Kind::Started));
        assert!(first.age_ms <= node.uptime_ms, "{node:?}");
    }
    let latency = own(&status).unwrap().commit_latency.unwrap();
    assert!(
        latency.median_us > 0 && latency.median_us <= latency.p99_us,
        "{latency:?}"
    );
    assert!(
        u128::from(latency.p99_us) < COMMIT_MAX.as_micros(),
        "{latency:?}"
    );
    assert!(u64::from(latency.entries) >= MESSAGES, "{latency:?}");

    cluster.kill(leader).await;
    let next = cluster.leader().await;
    for node in cluster.nodes().into_iter().filter(|node| *node != leader) {
        let elected = event(&cluster, node, Kind::LeaderChanged, next).await;
        assert_eq!(elected.term, cluster.term(node).await);
        event(&cluster, node, Kind::PeerUnreachable, leader).await;
        let numbers: Vec<u64> = events(&cluster, node)
            .await
            .iter()
            .map(|e| e.number)
            .collect();
        assert!(numbers.is_sorted() && numbers[0] == 1, "{numbers:?}");
    }
    cluster.start_node(leader).await;
    event(&cluster, next, Kind::PeerReachable, leader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_and_its_snapshot_are_events_of_both_nodes() {
    let (cluster, root) = large_cluster(0).await;
    join(&cluster, &root).await;
    succeeds(&cluster).await;
    let leader = cluster.leader().await;
    let joined = own(&cluster.status(JOINER).await).unwrap().node_id;
    event(&cluster, JOINER, Kind::SnapshotInstalled, leader).await;
    let sent = event(&cluster, leader, Kind::SnapshotSent, joined).await;
    assert!(sent.log_index > 0, "{sent:?}");
    let changed = event(&cluster, leader, Kind::MembersChanged, 0).await;
    assert_eq!(changed.learner_node_ids, [joined]);
    assert_eq!(changed.voter_node_ids, [1, 2, 3]);
}
