//! One replica continues alone with all its data when the others are lost for good.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use conclave_core::{Batch, Timestamp};
use conclave_replica::{Member, Members, Role, Survivor};
use support::{Cluster, PATIENCE, TestCodec, open_session, send, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovered_survivor_keeps_sessions_and_answers() {
    let cluster = Cluster::start(3).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let command = || send(session, 1, "alice", "once");
    let first = cluster.node(1).propose(command(), PATIENCE).await.unwrap();
    cluster
        .node(1)
        .wait_applied(first.index, PATIENCE)
        .await
        .unwrap();
    for node in 1..=3 {
        cluster.stop_node(node).await;
    }
    let data = cluster.directory(1);
    let survivor = Survivor::open(&data, Arc::new(TestCodec::default())).unwrap();
    let standing = survivor.standing().clone();
    assert!(standing.last.unwrap().index >= first.index);
    assert_eq!(standing.members.all_voters(), BTreeSet::from([1, 2, 3]));
    survivor.close();
    // The first look has changed nothing.
    let survivor = Survivor::open(&data, Arc::new(TestCodec::default())).unwrap();
    assert_eq!(*survivor.standing(), standing);
    let members = Members {
        voters: vec![BTreeSet::from([1])],
        nodes: BTreeMap::from([(1, Member::default())]),
    };
    let batch = Batch {
        proposed_at: Timestamp(0),
        date: Timestamp(0),
        commands: Vec::new(),
    };
    let last = survivor.rule_alone(1, &members, &batch).unwrap();
    assert_eq!(last.index, standing.last.unwrap().index + 1);
    assert!(last.term > standing.vote.unwrap().term);
    cluster.start_node(1).await;
    let alone = cluster.node(1);
    wait_for("it leads alone", || {
        (alone.status().role == Role::Leader).then_some(())
    })
    .await;
    let again = alone.propose(command(), PATIENCE).await.unwrap();
    assert_eq!(again.answer, first.answer, "a retry gets the first answer");
    let next = send(session, 2, "alice", "twice");
    alone.propose(next, PATIENCE).await.unwrap();
    assert_eq!(alone.status().members.all_voters(), BTreeSet::from([1]));
    cluster.stop().await;
}
