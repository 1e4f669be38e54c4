//! Builds of two cluster versions in one cluster: nothing is written that one of them cannot apply,
//! until every member can.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use conclave_core::{
    ClusterOperation, ClusterVersion, Command, JoinCredential, NodeId, Operation, VersionRange,
};
use conclave_replica::{ProposeError, Role};
use support::{Cluster, PATIENCE, once, open_session, send, sequence, wait_for};

/// Time in which a command that no leader may write is refused.
const SHORT: Duration = Duration::from_millis(500);

/// Returns a command that needs the second version.
fn admission(id: u8) -> Command {
    let operation = Operation::Cluster(ClusterOperation::AdmitNode {
        credential: JoinCredential::Secret { voter: false },
        known_last: NodeId(9),
        newest: Some(VersionRange::BUILD.newest),
    });
    once(id, operation)
}

fn raise(id: u8, to: u32) -> Command {
    let operation = Operation::Cluster(ClusterOperation::RaiseVersion {
        to: ClusterVersion(to),
        asked: (1..=3).map(NodeId).collect(),
    });
    once(id, operation)
}

/// Returns a cluster of three in which node 3 is of the earlier build.
async fn mixed() -> Cluster {
    let cluster = Cluster::start(3).await;
    cluster.leader_of_all().await;
    cluster.stop_node(3).await;
    let earlier = ClusterVersion::FIRST;
    cluster.newest.lock().unwrap().insert(3, earlier);
    cluster.start_node(3).await;
    if cluster.leader_of_all().await == 3 {
        let moved = cluster.node(3).transfer_leader(Some(1), PATIENCE).await;
        moved.unwrap();
    }
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_entry_above_the_cluster_version_reaches_an_earlier_build() {
    let cluster = mixed().await;
    let leader = cluster.leader_of_all().await;
    let (one, leading) = (cluster.node(1), cluster.node(leader));
    let session = open_session(&one, "alice", 1).await;
    // At the node where the request arrives.
    let refused = one.propose(admission(2), PATIENCE).await;
    let needed = ClusterVersion(2);
    assert_eq!(refused, Err(ProposeError::VersionTooLow { needed }));
    // At the leader, as from a node that is ahead of it.
    let before = leading.status().log_index_last;
    let forwarded = leading.propose_here(vec![admission(3)], PATIENCE).await;
    assert!(
        matches!(forwarded[..], [Err(ProposeError::NotLeader { .. })]),
        "{forwarded:?}"
    );
    // Not even the leader's own raise, to a version that its build cannot apply.
    let beyond = leading.propose(raise(4, 99), SHORT).await;
    assert!(
        matches!(beyond, Err(ProposeError::NoLeader { .. })),
        "{beyond:?}"
    );
    assert_eq!(
        leading.status().log_index_last,
        before,
        "nothing was written"
    );
    let sent = cluster
        .node(3)
        .propose(send(session, 1, "alice", "hi"), PATIENCE)
        .await;
    assert_eq!(sequence(&sent.unwrap().answer), 1);
    for node in cluster.nodes() {
        assert_ne!(cluster.node(node).status().role, Role::Stopped);
        assert_eq!(cluster.node(node).cluster_version(), ClusterVersion::FIRST);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_version_holds_on_every_node_and_after_a_restart() {
    let cluster = Cluster::start(3).await;
    let one = cluster.node(1);
    assert!(!one.has_cluster_version());
    one.propose(raise(1, 2), PATIENCE)
        .await
        .unwrap()
        .answer
        .unwrap();
    // A node that follows applies the raise after it was answered.
    wait_for("the version", || one.has_cluster_version().then_some(())).await;
    one.propose(admission(2), PATIENCE)
        .await
        .unwrap()
        .answer
        .unwrap();
    for node in cluster.nodes() {
        let node = cluster.node(node);
        wait_for("the version", || {
            (node.cluster_version() == ClusterVersion(2)).then_some(())
        })
        .await;
    }
    cluster.stop_node(2).await;
    // An earlier build does not open the directory, and leaves it as it is.
    cluster.newest.lock().unwrap().insert(2, ClusterVersion(1));
    let refused = cluster.try_start_node(2).await.unwrap_err();
    assert!(refused.damage().is_none(), "{refused}");
    assert!(refused.version_hint().unwrap().contains("later build"));
    cluster.newest.lock().unwrap().clear();
    cluster.start_node(2).await;
    assert_eq!(cluster.node(2).cluster_version(), ClusterVersion(2));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_meets_an_entry_beyond_it_stops_with_the_reason() {
    let cluster = mixed().await;
    // The raise claims that node 3 was asked, which it was not.
    let one = cluster.node(1);
    one.propose(raise(1, 2), PATIENCE)
        .await
        .unwrap()
        .answer
        .unwrap();
    let three = cluster.node(3);
    let failed = tokio::time::timeout(PATIENCE, three.failed())
        .await
        .unwrap();
    assert!(failed.contains("needs cluster version 2"), "{failed}");
    assert!(three.damage().is_none(), "its data is whole");
    // The others go on.
    let session = open_session(&one, "alice", 2).await;
    one.propose(send(session, 1, "alice", "hi"), PATIENCE)
        .await
        .unwrap();
    cluster.stop().await;
}
