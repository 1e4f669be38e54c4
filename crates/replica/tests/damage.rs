//! A replica that is not what it should be takes no part, and says why.

mod support;

use std::time::Duration;

use conclave_replica::{Damage, Pin, Role, Vote, VoteRequest};
use support::{Cluster, PATIENCE, open_session, send, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_fenced_gives_no_vote_and_another_leads() {
    let cluster = Cluster::start(3).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let old = cluster.leader().await;
    let fenced = cluster.node(old);
    fenced.fence("its state is another one");
    let request = VoteRequest {
        vote: Vote {
            term: 1_000,
            node: 9,
            committed: false,
        },
        last: None,
        pre_vote: false,
        leader_transfer: false,
    };
    if let Ok(response) = fenced.on_vote(request).await {
        assert!(!response.granted, "{response:?}");
    }
    let failed = tokio::time::timeout(PATIENCE, fenced.failed()).await;
    assert_eq!(failed.expect("it says why"), "its state is another one");
    assert!(matches!(fenced.damage(), Some(Damage::Odd(_))));
    let other = cluster.nodes().into_iter().find(|node| *node != old);
    let other = cluster.node(other.expect("there are others"));
    let sent = other.propose(send(session, 1, "alice", "hi"), PATIENCE);
    sent.await.expect("two of three go on");
    assert_ne!(fenced.status().role, Role::Leader);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_that_are_held_after_one_entry_are_the_same_while_others_are_applied() {
    let cluster = Cluster::start(3).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let applied = cluster.node(1).read_barrier(PATIENCE).await.unwrap();
    let at = applied + 5;
    let held = cluster.nodes().into_iter().map(|node| {
        let node = cluster.node(node);
        tokio::spawn(async move { node.pin(at, PATIENCE).await })
    });
    let held: Vec<_> = held.collect();
    for number in 1..=20 {
        let command = send(session, number, "alice", "hi");
        cluster.node(2).propose(command, PATIENCE).await.unwrap();
    }
    let mut digests = Vec::new();
    for held in held {
        let Ok(Ok(Pin::Pinned(pinned))) = held.await else {
            panic!("it is held");
        };
        assert_eq!(pinned.index(), at);
        let digest = pinned.digest(&mut || true).unwrap();
        assert_eq!(digest.applied.unwrap().index, at);
        digests.push(digest);
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    let late = cluster.node(1).pin(at, PATIENCE).await.unwrap();
    assert!(matches!(late, Pin::Passed { .. }));
    let one = cluster.node(1);
    let never = one.pin(at + 1_000_000, Duration::from_millis(1)).await;
    never.expect_err("nobody waits longer than asked");
    wait_for("all are equally far", || {
        let far = cluster.nodes().into_iter();
        let far: Vec<u64> = far
            .map(|node| *cluster.node(node).applied().borrow())
            .collect();
        far.iter().all(|index| *index == far[0]).then_some(())
    })
    .await;
    let mut pauses = 0;
    cluster
        .node(3)
        .verify_log(|| {
            pauses += 1;
            true
        })
        .expect("the log is whole");
    assert!(pauses > 0);
    cluster.stop().await;
}
