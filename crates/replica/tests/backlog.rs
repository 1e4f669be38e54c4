//! A cluster that has too much to do says so at once, on every node, and does the rest.

mod support;

use conclave_core::limits::BATCH_COMMANDS_MAX;
use conclave_replica::{Lane, ProposeError};
use support::{Cluster, PATIENCE, open_session, send};
use tokio::time::Instant;

/// Groups of commands that fill everything that may wait: 8192 commands.
const GROUPS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_wait_too_long_is_refused_at_once_on_every_node() {
    let cluster = Cluster::start(3).await;
    let session = open_session(&cluster.node(1), "alice", 1).await;
    let leader = cluster.leader_of_all().await;
    let followers: Vec<u64> = cluster
        .nodes()
        .into_iter()
        .filter(|node| *node != leader)
        .collect();
    let stall = |stalled| {
        for follower in &followers {
            cluster.network.stall(leader, *follower, Lane::Log, stalled);
        }
    };
    stall(true);

    let size = BATCH_COMMANDS_MAX as u64;
    let mut waiting = Vec::new();
    for group in 0..GROUPS {
        let numbers = group * size + 1..=(group + 1) * size;
        let commands: Vec<_> = numbers
            .map(|number| send(session, number, "alice", "hi"))
            .collect();
        let replica = cluster.node(leader);
        let mut proposal = Box::pin(async move { replica.propose_all(&commands, PATIENCE).await });
        // The first poll takes the places.
        tokio::select! {
            biased;
            early = &mut proposal => panic!("{early:?}"),
            () = std::future::ready(()) => {}
        }
        waiting.push(tokio::spawn(proposal));
    }

    let last = GROUPS * size + 1;
    let one = || send(session, last, "alice", "one more");
    for node in std::iter::once(leader).chain(followers.iter().copied()) {
        let asked = Instant::now();
        let refused = cluster.node(node).propose(one(), PATIENCE).await;
        assert_eq!(refused, Err(ProposeError::Busy), "node {node}");
        let took = asked.elapsed();
        assert!(took < PATIENCE / 2, "node {node} answers after {took:?}");
    }

    stall(false);
    for outcomes in waiting {
        let outcomes = outcomes.await.unwrap().unwrap();
        assert_eq!(outcomes.len() as u64, size);
    }
    let replica = cluster.node(followers[0]);
    replica.propose(one(), PATIENCE).await.unwrap();
    cluster.stop().await;
}
