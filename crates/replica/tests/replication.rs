//! Promises of replication that hold while several appends are under way: links stall, streams are
//! given up, leaders are deposed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use conclave_replica::{AppendRequest, AppendResponse, Lane, PeerError, ProposeError};
use conclave_storage::log::{Entry, EntryKind, LogId, Vote};
use futures::{StreamExt as _, future::join_all, stream};
use support::{Cluster, PATIENCE, open_session, send, sequence, wait_for};

/// Longer than a leader waits for an answer before it gives a stream up.
const GIVEN_UP: Duration = Duration::from_millis(1300);

/// Waits until all nodes have applied entry `last`, and compares their states.
async fn all_equal_after(cluster: &Cluster, last: u64, messages: u64) {
    for node in cluster.nodes() {
        let applied = cluster.node(node).wait_applied(last, PATIENCE).await;
        applied.unwrap();
    }
    wait_for("equal digests", || {
        let digests = cluster.nodes().into_iter();
        let mut digests: Vec<_> = digests
            .map(|node| cluster.node(node).reader().digest().unwrap())
            .collect();
        digests.dedup();
        (digests.len() == 1 && digests[0].messages == messages).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_one_stream_begin_and_end_in_order() {
    let cluster = Cluster::start(0).await;
    cluster.start_node(7).await;
    let id = |index| LogId {
        term: 3,
        node: 1,
        index,
    };
    let request = move |index: u64| AppendRequest {
        vote: Vote {
            term: 3,
            node: 1,
            committed: true,
        },
        previous: index.checked_sub(1).map(id),
        entries: vec![Entry {
            id: id(index),
            kind: EntryKind::Blank,
            bytes: Bytes::new(),
        }],
        committed: None,
    };
    let node = cluster.node(7);
    // Out of order, one of them would not follow the entry before it.
    let requests = stream::iter((0..500).map(request).map(Ok::<_, PeerError>));
    let responses: Vec<_> = node.on_appends(requests).collect().await;
    assert_eq!(responses.len(), 500);
    for response in responses {
        assert_eq!(response.unwrap().unwrap(), AppendResponse::Success);
    }
    assert_eq!(node.status().log_index_last, 499);

    // A stream that arrives late finds its entries there, and removes none.
    let late = stream::iter([40, 41].map(request).map(Ok::<_, PeerError>));
    let late: Vec<_> = node.on_appends(late).collect().await;
    assert_eq!(late.len(), 2);
    for response in late {
        assert_eq!(response.unwrap().unwrap(), AppendResponse::Success);
    }
    assert_eq!(node.status().log_index_last, 499);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_follower_gets_every_entry_once_it_goes_on() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader_of_all().await;
    let term = cluster.node(leader).status().term;
    let session = open_session(&cluster.node(leader), "alice", 1).await;
    let follower = leader % 3 + 1;
    let mut number = 0;
    let mut last = 0;
    // First its requests are on their way for too long, then its answers.
    for (source, target) in [(leader, follower), (follower, leader)] {
        cluster.network.stall(source, target, Lane::Log, true);
        let began = tokio::time::Instant::now();
        while began.elapsed() < 2 * GIVEN_UP {
            let count = number + 1..=number + 20;
            let sends = count.map(|number| {
                let node = cluster.node(leader);
                async move {
                    node.propose(send(session, number, "alice", "hi"), PATIENCE)
                        .await
                }
            });
            for sent in join_all(sends).await {
                last = last.max(sent.unwrap().index);
            }
            number += 20;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cluster.network.stall(source, target, Lane::Log, false);
        let there = cluster.node(follower).wait_applied(last, PATIENCE).await;
        there.unwrap();
    }
    all_equal_after(&cluster, last, number).await;
    assert_eq!(cluster.node(leader).status().term, term);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_deposed_with_appends_under_way_loses_nothing() {
    let cluster = Cluster::start(3).await;
    let old = cluster.leader_of_all().await;
    let session = open_session(&cluster.node(old), "alice", 1).await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != old).collect();
    let stall = |stalled| {
        for other in &others {
            for lane in [Lane::Log, Lane::Heartbeat] {
                cluster.network.stall(old, *other, lane, stalled);
            }
        }
    };
    stall(true);
    let sends = (1..=30).map(|number| {
        let node = cluster.node(old);
        let sent = async move {
            node.propose(send(session, number, "alice", "hi"), PATIENCE)
                .await
        };
        tokio::spawn(sent)
    });
    let sends: Vec<_> = sends.collect();
    let new = cluster.leader_among(&others).await;
    let sent = cluster
        .node(new)
        .propose(send(session, 31, "alice", "new"), PATIENCE)
        .await;
    let mut last = sent.unwrap().index;
    // What the old leader has sent arrives in the term of the new one.
    stall(false);
    let mut sequences = Vec::new();
    for sent in sends {
        let sent = sent.await.unwrap().unwrap();
        last = last.max(sent.index);
        sequences.push(sequence(&sent.answer));
    }
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!(sequences.len(), 30, "each has a place of its own");
    all_equal_after(&cluster, last, 31).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terms_that_change_under_load_decide_each_command_once() {
    let cluster = Cluster::start(3).await;
    cluster.leader_of_all().await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let mut last = 0;
    for round in 0..6 {
        let leader = cluster.leader().await;
        let slow = leader % 3 + 1;
        let (source, target) = match round % 2 {
            0 => (leader, slow),
            _ => (slow, leader),
        };
        let sends = (1..=20).map(|number| {
            let node = cluster.node(1 + number % 3);
            let number = round * 20 + number;
            async move {
                node.propose(send(session, number, "alice", "hi"), PATIENCE)
                    .await
            }
        });
        let change = async {
            cluster.network.stall(source, target, Lane::Log, true);
            tokio::time::sleep(Duration::from_millis(20)).await;
            // It may have lost the leadership by itself.
            cluster.node(leader).step_down(PATIENCE).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            cluster.network.stall(source, target, Lane::Log, false);
        };
        let (sent, ()) = tokio::join!(join_all(sends), change);
        for sent in sent {
            last = last.max(sent.unwrap().index);
        }
    }
    all_equal_after(&cluster, last, 120).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_of_one_term_is_proposed_in_no_other() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader_of_all().await;
    let node = cluster.node(leader);
    let session = open_session(&node, "alice", 1).await;
    let first = node.status().term;
    let hi = |number| send(session, number, "alice", "hi");
    let sent = node.propose_in_term(hi(1), first, PATIENCE).await.unwrap();
    assert_eq!(sequence(&sent.answer), 1);

    // Another node leads, and then this one again: what it knew of its first term is old.
    for to in [leader % 3 + 1, leader] {
        let leads = cluster.node(cluster.leader_of_all().await);
        leads.transfer_leader(Some(to), PATIENCE).await.unwrap();
        let refused = node.propose_in_term(hi(2), first, PATIENCE).await;
        let is_refused = matches!(refused, Err(ProposeError::NotLeader { .. }));
        assert!(is_refused, "{refused:?}");
    }
    assert_eq!(cluster.leader_of_all().await, leader);
    let now = node.status().term;
    assert!(now > first);
    // At first a new leader has to hear from a majority.
    let sent = loop {
        match node.propose_in_term(hi(2), now, PATIENCE).await {
            Err(ProposeError::NotLeader { leader: None }) => tokio::task::yield_now().await,
            sent => break sent.unwrap(),
        }
    };
    assert_eq!(sequence(&sent.answer), 2);
    all_equal_after(&cluster, sent.index, 2).await;
    cluster.stop().await;
}
