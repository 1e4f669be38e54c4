//! Voters that keep the log alone: they are followed by a full node at once, and what they lack in
//! their log every full member has.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use conclave_core::SessionId;
use conclave_replica::{Change, ChangeError, LogRetention, Refusal};
use support::{Cluster, PATIENCE, WITNESS_FIRST, member, open_session, send, wait_for};
use tokio::time::{Instant, sleep};

const WITNESSES: [u64; 2] = [WITNESS_FIRST, WITNESS_FIRST + 1];
/// A log that is purged as soon as that is possible.
const SHORT: LogRetention = LogRetention {
    keep_bytes: 0,
    keep_entries: 0,
    sync_bytes: 1,
    sync_entries: 1,
};
/// How long a log that could be purged would have been: several looks at it.
const PURGED_BY_THEN: Duration = Duration::from_secs(2);

/// Makes a change at whichever node leads, until it is made.
async fn make(cluster: &Cluster, change: &Change) {
    let began = Instant::now();
    loop {
        let leader = cluster.leader().await;
        let done = cluster.node(leader).change_members(change, PATIENCE).await;
        match done {
            Ok(_) => return,
            Err(error @ ChangeError::Refused(_)) => panic!("{change:?}: {error}"),
            Err(error) => assert!(began.elapsed() < PATIENCE, "{change:?}: {error}"),
        }
    }
}

async fn add(cluster: &Cluster, node: u64) {
    cluster.start_node(node).await;
    let change = Change::Add {
        node,
        member: member(node),
        replaces: None,
    };
    make(cluster, &change).await;
    // All that was said so far was applied everywhere.
    cluster.node(node).full_members_have(u64::MAX);
    make(cluster, &Change::Promote(node)).await;
}

/// Starts three full nodes and two witnesses.
async fn three_and_two(retention: LogRetention) -> Cluster {
    let cluster = Cluster::start_with(3, retention).await;
    cluster.leader_of_all().await;
    for node in WITNESSES {
        add(&cluster, node).await;
    }
    cluster
}

/// Sends the request with this number through a full node that runs; returns its entry.
async fn say(cluster: &Cluster, session: SessionId, number: u64) -> u64 {
    let full = cluster
        .nodes()
        .into_iter()
        .find(|node| *node < WITNESS_FIRST);
    let node = cluster.node(full.unwrap());
    let said = node.propose(send(session, number, "alice", "hi"), PATIENCE);
    said.await.unwrap().index
}

/// Waits until these nodes have applied an entry.
async fn applied_at(cluster: &Cluster, nodes: &[u64], index: u64) {
    for node in nodes {
        let applied = cluster.node(*node).wait_applied(index, PATIENCE).await;
        applied.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_two_may_fail_and_a_full_node_always_leads_in_the_end() {
    let cluster = three_and_two(LogRetention::default()).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let all = cluster.nodes();
    let mut number = 0;
    for (place, first) in all.iter().enumerate() {
        for second in &all[place + 1..] {
            cluster.stop_node(*first).await;
            cluster.stop_node(*second).await;
            number += 1;
            say(&cluster, session, number).await;
            let leads = cluster.leader().await;
            assert!(
                leads < WITNESS_FIRST,
                "without {first} and {second}: {leads}"
            );
            cluster.start_node(*first).await;
            cluster.start_node(*second).await;
            number += 1;
            let last = say(&cluster, session, number).await;
            applied_at(&cluster, &cluster.nodes(), last).await;
        }
    }
    let counts = [1, 2, 3].map(|node| cluster.node(node).reader().digest().unwrap().messages);
    assert_eq!(counts, [number; 3]);
    let nothing = WITNESSES.map(|node| cluster.node(node).reader().digest().unwrap().messages);
    assert_eq!(nothing, [0; 2]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_node_gets_from_witnesses_what_no_other_node_has() {
    let cluster = three_and_two(SHORT).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let last = say(&cluster, session, 1).await;
    applied_at(&cluster, &cluster.nodes(), last).await;
    for node in WITNESSES {
        cluster.node(node).full_members_have(last);
    }
    cluster.stop_node(3).await;
    for number in 2..=100 {
        say(&cluster, session, number).await;
    }
    for node in [1, 2] {
        wait_for("full nodes purge what they have applied", || {
            (cluster.node(node).status().purged_index > last).then_some(())
        })
        .await;
    }
    sleep(PURGED_BY_THEN).await;
    for node in WITNESSES {
        let purged = cluster.node(node).status().purged_index;
        assert!(
            purged <= last,
            "witness {node} has purged {purged}, node 3 has {last}"
        );
    }
    cluster.stop_node(1).await;
    cluster.stop_node(2).await;
    cluster.start_node(3).await;
    let after = say(&cluster, session, 101).await;
    assert!(after > last + 99);
    applied_at(&cluster, &[3], after).await;
    let digest = cluster.node(3).reader().digest().unwrap();
    assert_eq!(digest.messages, 101);
    assert_eq!(cluster.leader().await, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_takes_a_snapshot_of_what_all_full_members_have() {
    let cluster = three_and_two(SHORT).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let last = say(&cluster, session, 1).await;
    applied_at(&cluster, &cluster.nodes(), last).await;
    let [away, _] = WITNESSES;
    // It was told that it need not keep what was there when it joined.
    cluster.node(away).full_members_have(0);
    let purged = cluster.node(away).status().purged_index;
    cluster.stop_node(away).await;
    let mut last = 0;
    for number in 2..=50 {
        last = say(&cluster, session, number).await;
    }
    for node in [1, 2, 3] {
        wait_for("the log of full nodes begins later", || {
            (cluster.node(node).status().purged_index + 10 > last).then_some(())
        })
        .await;
    }
    cluster.start_node(away).await;
    sleep(PURGED_BY_THEN).await;
    let status = cluster.node(away).status();
    assert!(
        status.applied_index < last,
        "it was told of no full member yet"
    );
    assert_eq!(status.purged_index, purged, "its log is there");

    applied_at(&cluster, &[1, 2, 3], last).await;
    cluster.node(away).full_members_have(u64::MAX);
    applied_at(&cluster, &[away], last).await;
    let digest = cluster.node(away).reader().digest().unwrap();
    assert_eq!((digest.messages, digest.accounts), (0, 0));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_to_no_witness_and_from_one_at_once() {
    let cluster = three_and_two(LogRetention::default()).await;
    let leader = cluster.leader_of_all().await;
    let [witness, _] = WITNESSES;
    let node = cluster.node(leader);
    assert_eq!(
        node.transfer_leader(Some(witness), PATIENCE).await,
        Err(ChangeError::Refused(Refusal::Witness(witness)))
    );
    // The voter with most of the log is a full one, also if a witness has as much.
    assert!(cluster.node(leader).step_down(PATIENCE).await);
    assert!(cluster.leader_of_all().await < WITNESS_FIRST);
    cluster.stop().await;
}
