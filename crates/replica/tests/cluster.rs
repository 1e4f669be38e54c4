//! Promises of a cluster that hold while links are cut and nodes are stopped.

mod support;

use std::time::Duration;

use conclave_replica::{LogRetention, ProposeError, ReadError, Role, Timers};
use support::{Cluster, PATIENCE, open_session, send, sequence, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_accepts_commands_and_linearizable_reads() {
    let cluster = Cluster::start(3).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    for number in 1..=9 {
        let node = cluster.node(1 + number % 3);
        let sent = node
            .propose(send(session, number, "alice", "hi"), PATIENCE)
            .await
            .unwrap();
        assert_eq!(sequence(&sent.answer), number);
        for reader in 1..=3 {
            let reader = cluster.node(reader);
            assert!(reader.read_barrier(PATIENCE).await.unwrap() >= sent.index);
            assert!(*reader.applied().borrow() >= sent.index);
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_on_another_node_gets_the_first_answer() {
    let cluster = Cluster::start(3).await;
    let session = open_session(&cluster.node(2), "alice", 1).await;
    let first = cluster
        .node(1)
        .propose(send(session, 1, "alice", "hi"), PATIENCE)
        .await
        .unwrap();
    cluster.stop_node(cluster.leader().await).await;
    for node in cluster.nodes() {
        let again = cluster
            .node(node)
            .propose(send(session, 1, "alice", "hi"), PATIENCE)
            .await;
        assert_eq!(again.unwrap().answer, first.answer);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_proposed_together_stay_together_in_order() {
    let cluster = Cluster::start(3).await;
    let mut proposals = Vec::new();
    for node in cluster.nodes() {
        let replica = cluster.node(node);
        let number = u8::try_from(node).unwrap();
        let who = format!("user{node}");
        let session = open_session(&replica, &who, number).await;
        proposals.push(tokio::spawn(async move {
            for group in 0..20 {
                let first = 10 * group + 1;
                let numbers = first..first + 10;
                let commands: Vec<_> = numbers
                    .clone()
                    .map(|number| send(session, number, &who, "hi"))
                    .collect();
                let outcomes = replica.propose_all(&commands, PATIENCE).await.unwrap();
                let places: Vec<u64> = outcomes.iter().map(|one| sequence(&one.answer)).collect();
                assert!(places.into_iter().eq(numbers), "{outcomes:?}");
                let is_one = outcomes.iter().all(|one| one.index == outcomes[0].index);
                assert!(is_one, "{outcomes:?}");
            }
        }));
    }
    for proposal in proposals {
        proposal.await.unwrap();
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitioned_leader_never_acknowledges() {
    let cluster = Cluster::start(5).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let old = cluster.leader().await;
    let others: Vec<u64> = cluster
        .nodes()
        .into_iter()
        .filter(|node| *node != old)
        .collect();
    cluster.network.isolate(old, others.iter().copied(), true);

    let alone = cluster.node(old);
    let limit = Duration::from_secs(2);
    let (refused, read) = tokio::join!(
        alone.propose(send(session, 1, "alice", "lost"), limit),
        alone.read_barrier(limit),
    );
    assert!(matches!(
        refused,
        Err(ProposeError::OutcomeUnknown { .. } | ProposeError::NoLeader { .. })
    ));
    assert!(matches!(read, Err(ReadError::NoLeader { .. })), "{read:?}");

    let new = cluster.leader_among(&others).await;
    let sent = cluster
        .node(new)
        .propose(send(session, 2, "alice", "kept"), PATIENCE)
        .await;
    assert_eq!(
        sequence(&sent.unwrap().answer),
        1,
        "the message of the minority has no place"
    );

    cluster.network.isolate(old, others.iter().copied(), false);
    // The old leader follows, and a retry returns the only outcome that there is.
    let again = alone
        .propose(send(session, 1, "alice", "lost"), PATIENCE)
        .await
        .unwrap();
    assert_eq!(sequence(&again.answer), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_transferred_on_request() {
    let cluster = Cluster::start(3).await;
    open_session(&cluster.node(1), "alice", 1).await;
    let old = cluster.leader().await;
    assert!(cluster.node(old).step_down(PATIENCE).await);
    let new = wait_for("another leader", || {
        let found = cluster
            .nodes()
            .into_iter()
            .find(|node| *node != old && cluster.node(*node).status().role == Role::Leader);
        found.map(|_| ())
    });
    new.await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_replicas_have_equal_digests() {
    let cluster = Cluster::start(3).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let mut last = 0;
    for number in 1..=60 {
        let nodes = cluster.nodes();
        if number % 20 == 10 {
            cluster.stop_node(nodes[0]).await;
        } else if number % 20 == 0 {
            let missing = (1..=3).find(|node| !nodes.contains(node)).unwrap();
            cluster.start_node(missing).await;
        }
        let node = cluster.node(cluster.nodes()[0]);
        let sent = node
            .propose(send(session, number, "alice", "hi"), PATIENCE)
            .await
            .unwrap();
        assert_eq!(sequence(&sent.answer), number);
        last = sent.index;
    }
    let mut digests = Vec::new();
    for node in cluster.nodes() {
        cluster
            .node(node)
            .wait_applied(last, PATIENCE)
            .await
            .unwrap();
    }
    for node in cluster.nodes() {
        let reader = cluster.node(node).reader();
        let found = wait_for("all nodes at one index", || {
            let digest = reader.digest().unwrap();
            let index = digest.applied.unwrap().index;
            let newest = cluster
                .nodes()
                .iter()
                .map(|n| *cluster.node(*n).applied().borrow())
                .max();
            (Some(index) == newest).then_some((index, digest.digest, digest.chain))
        });
        digests.push(found.await);
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "{digests:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_absent_past_the_purged_log_gets_a_snapshot() {
    let retention = LogRetention {
        keep_bytes: 4096,
        keep_entries: 20,
        sync_bytes: 2048,
        sync_entries: 10,
    };
    let cluster = Cluster::start_with(3, retention).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let away = cluster.nodes().into_iter().next_back().unwrap();
    cluster.stop_node(away).await;
    let mut last = 0;
    let mut number = 0;
    let purged = |node: u64| cluster.node(node).status().purged_index;
    // Until the log of every other node begins after the last entry of the stopped one.
    while !cluster.nodes().into_iter().all(|node| purged(node) > 20) {
        number += 1;
        let node = cluster.node(cluster.nodes()[0]);
        let sent = node
            .propose(send(session, number, "alice", "hi"), PATIENCE)
            .await
            .unwrap();
        last = sent.index;
    }
    cluster.start_node(away).await;
    let node = cluster.node(away);
    node.wait_applied(last, PATIENCE).await.unwrap();
    let digest = |node: u64| cluster.node(node).reader().digest().unwrap();
    let there = wait_for("equal digests", || {
        let digests: Vec<_> = cluster.nodes().into_iter().map(digest).collect();
        digests
            .iter()
            .all(|other| *other == digests[0])
            .then_some(digests[0].messages)
    });
    assert_eq!(there.await, number);
    let again = node
        .propose(send(session, number, "alice", "hi"), PATIENCE)
        .await
        .unwrap();
    assert_eq!(
        sequence(&again.answer),
        number,
        "answers came with the snapshot"
    );
    cluster.stop().await;
}

/// Timers with which an election that begins early cannot be mistaken for one that begins in time.
const SLOW: Timers = Timers {
    heartbeat_ms: 100,
    election_min_ms: 4000,
    election_max_ms: 5000,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_to_a_dead_leader_speeds_up_the_election() {
    let cluster = Cluster::start_with_timers(3, SLOW).await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    cluster.stop_node(leader).await;
    let died = tokio::time::Instant::now();
    for node in &others {
        cluster.node(*node).connection_lost(leader);
    }
    cluster.leader_among(&others).await;
    let took = died.elapsed();
    // The lease of 5 s is respected; without the hint it would be 9 s at least.
    let usual = Duration::from_millis(SLOW.election_max_ms + SLOW.election_min_ms);
    assert!(took < usual, "{took:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_stands_back_does_not_win_the_election() {
    let cluster = Cluster::start_with_timers(3, SLOW).await;
    let leader = cluster.leader().await;
    // The turns go in a circle, so this node would campaign first.
    let (first, second) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.node(first).stand_back(true);
    cluster.stop_node(leader).await;
    for node in [first, second] {
        cluster.node(node).connection_lost(leader);
    }
    assert_eq!(cluster.leader_among(&[first, second]).await, second);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_to_a_live_leader_causes_no_election() {
    let timers = Timers {
        election_min_ms: 600,
        election_max_ms: 700,
        ..SLOW
    };
    let cluster = Cluster::start_with_timers(3, timers).await;
    let leader = cluster.leader_of_all().await;
    let term = cluster.node(leader).status().term;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    let session = open_session(&cluster.node(leader), "alice", 1).await;
    for number in 1..=40 {
        for node in &others {
            cluster.node(*node).connection_lost(leader);
        }
        let sent = send(session, number, "alice", "hi");
        let node = cluster.node(others[0]);
        node.propose(sent, PATIENCE).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = cluster.node(leader).status();
    assert_eq!((status.role, status.term), (Role::Leader, term));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_voter_that_leads_is_never_cut_off() {
    let cluster = Cluster::start(1).await;
    let alone = cluster.node(1);
    open_session(&alone, "alice", 1).await;
    // Without others it would count the time since it was last asked for something.
    assert_eq!(alone.cut_off_for(), Duration::ZERO);
    cluster.stop().await;
}
