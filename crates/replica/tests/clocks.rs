//! Nodes whose clocks are wrong, in one process: times that are stamped, that expire, and that
//! people see.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use conclave_core::{Accepted, limits::SESSION_MS};
use conclave_replica::Replica;
use conclave_storage::state::Applied;
use support::{Cluster, PATIENCE, open_session, send, sequence, wait_for};

const HOUR_MS: i64 = 60 * 60 * 1000;
const YEAR_MS: i64 = 365 * 24 * HOUR_MS;
/// Maximum error of a date on a busy machine.
const NEAR_MS: u64 = 20_000;

/// Sends a message and returns the date that it got.
async fn date_of_send(node: &Replica, session: conclave_core::SessionId, number: u64) -> u64 {
    let command = send(session, number, "alice", "what is the time?");
    let outcome = node.propose(command, PATIENCE).await.unwrap();
    assert_eq!(sequence(&outcome.answer), number, "no session has ended");
    match outcome.answer {
        Ok(Accepted::MessageSent { sent_at, .. }) => sent_at.0,
        other => panic!("{other:?}"),
    }
}

/// Returns how far the database of a node has come, with everything that was acknowledged.
async fn applied(node: &Replica) -> Applied {
    node.read_barrier(PATIENCE).await.unwrap();
    node.reader().applied().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_a_year_ahead_stamps_right_dates_and_ends_no_session() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader);
    let alice = open_session(&node, "alice", 1).await;
    cluster.clocks.set(leader, YEAR_MS);
    wait_for("the node knows that its clock is off", || {
        node.clock_status().is_skewed.then_some(())
    })
    .await;
    let skew = node.clock_status().skew_ms.unwrap();
    assert!(skew.abs_diff(YEAR_MS) < NEAR_MS, "{skew}");
    for number in 1..=5 {
        let date = date_of_send(&node, alice, number).await;
        assert!(date.abs_diff(cluster.clocks.truth()) < NEAR_MS, "{date}");
    }
    let applied = applied(&node).await;
    assert!(applied.log_time.0 < cluster.clocks.truth() + SESSION_MS);
    cluster.clocks.set(leader, 0);
    wait_for("it is right again", || {
        (!node.clock_status().is_skewed).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_with_a_wrong_clock_stamps_right_dates() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let alice = open_session(&cluster.node(leader), "alice", 1).await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    cluster.clocks.set(others[0], -24 * HOUR_MS);
    let wrong = cluster.node(others[0]);
    wait_for("it knows", || wrong.clock_status().is_skewed.then_some(())).await;
    cluster.stop_node(leader).await;
    let next = cluster.leader_among(&others).await;
    if next != others[0] {
        // This node leads in the end, however often the other one is elected.
        let other = cluster.node(next);
        assert!(other.step_down(PATIENCE).await);
    }
    let date = date_of_send(&wrong, alice, 1).await;
    assert!(date.abs_diff(cluster.clocks.truth()) < NEAR_MS, "{date}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_clocks_step_back_dates_follow_and_nothing_expires() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader);
    let alice = open_session(&node, "alice", 1).await;
    let before = applied(&node).await.log_time;
    for step_ms in [-HOUR_MS, 0, HOUR_MS] {
        (1..=3).for_each(|node| cluster.clocks.set(node, step_ms));
        let set = cluster.clocks.truth().saturating_add_signed(step_ms);
        wait_for("dates follow", || {
            (node.now().date.0.abs_diff(set) < NEAR_MS).then_some(())
        })
        .await;
        assert!(!node.clock_status().is_skewed, "a majority is right");
    }
    (1..=3).for_each(|node| cluster.clocks.set(node, -HOUR_MS));
    let truth = || cluster.clocks.truth().saturating_add_signed(-HOUR_MS);
    wait_for("dates follow", || {
        (node.now().date.0.abs_diff(truth()) < NEAR_MS).then_some(())
    })
    .await;
    let date = date_of_send(&node, alice, 1).await;
    assert!(date.abs_diff(truth()) < NEAR_MS, "{date}");
    let after = applied(&node).await.log_time;
    assert!(after >= before, "log time went back");
    let passed = after.0 - before.0;
    assert!(
        passed < PATIENCE.as_millis() as u64 * 4,
        "{passed} ms have not passed"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_time_includes_downtime_despite_a_wrong_clock() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let alice = open_session(&cluster.node(leader), "alice", 1).await;
    let before = applied(&cluster.node(leader)).await;
    for node in 1..=3 {
        cluster.stop_node(node).await;
    }
    // Two hours pass, and one clock of three is a year ahead.
    (1..=3).for_each(|node| cluster.clocks.set(node, 2 * HOUR_MS));
    cluster.clocks.set(1, YEAR_MS);
    for node in 1..=3 {
        cluster.start_node(node).await;
    }
    let leader = cluster.leader().await;
    let node = cluster.node(leader);
    wait_for("it has read the clocks", || node.clock_status().skew_ms).await;
    date_of_send(&node, alice, 1).await;
    let after = applied(&cluster.node(leader)).await;
    let passed = after.log_time.0 - before.log_time.0;
    assert!(
        passed.abs_diff(2 * HOUR_MS as u64) < 4 * NEAR_MS,
        "{passed}"
    );
    cluster.stop().await;
}
