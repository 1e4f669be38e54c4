//! The leader is killed, paused or deposed in the middle of changes of the membership: the change
//! is made all the same, and so is the next one.
//!
//! `CONCLAVE_MEMBERSHIP_MOMENTS` sets how many changes are disturbed, and
//! `CONCLAVE_MEMBERSHIP_SEED` where and when.

#![allow(
    clippy::print_stderr,
    reason = "a failed run tells its seed and its faults"
)]

use std::time::Duration;

use conclave_client::{CallError, Client, Reason, v1};
use tokio::time::{Instant, sleep};
use v1::change_members_request::Change;

use crate::{damage::Dice, support::Cluster};

/// Maximum time for a change, counted from the fault.
const CHANGE_LIMIT: Duration = Duration::from_secs(10);
/// Time for which a paused leader hangs.
const PAUSE: Duration = Duration::from_secs(2);
/// Maximum time between the request and the fault, in microseconds: a change takes a few
/// milliseconds.
const MOMENT_US_MAX: usize = 20_000;
const MOMENTS: usize = 3;

fn number_from(variable: &str, default: usize) -> usize {
    let asked = std::env::var(variable).ok();
    asked.map_or(default, |text| text.parse().unwrap())
}

/// Requests a change until it is made.
async fn make(root: &Client, change: &Change) -> v1::ChangeMembersResponse {
    let began = Instant::now();
    loop {
        let request = v1::ChangeMembersRequest {
            change: Some(change.clone()),
            // A node that was killed or paused does not answer.
            force: true,
            ..Default::default()
        };
        let last = match root.change_members(request).await {
            Ok(made) => return made,
            Err(CallError::Refused { reason, .. }) if reason == Reason::LearnerBehind => {
                reason.to_string()
            }
            Err(error @ CallError::Refused { .. }) => panic!("{change:?}: {error}"),
            Err(error) => error.to_string(),
        };
        assert!(began.elapsed() < CHANGE_LIMIT, "{change:?}: {last}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Strikes the leader with a fault a moment after a change was requested.
async fn disturbed(cluster: &Cluster, root: &Client, change: Change, dice: &mut Dice) {
    cluster.all_rejoined().await;
    let leader = cluster.leader().await;
    let kind = dice.below(3);
    let moment = Duration::from_micros(dice.below(MOMENT_US_MAX) as u64);
    eprintln!("{change:?}, fault {kind} of node {leader} after {moment:?}");
    let asked = {
        let (root, change) = (root.clone(), change.clone());
        tokio::spawn(async move { make(&root, &change).await })
    };
    sleep(moment).await;
    let began = Instant::now();
    match kind {
        0 => cluster.kill(leader).await,
        1 => cluster.pause(leader).await,
        // The node may have lost leadership by then.
        _ => drop(root.transfer_leader(0).await),
    }
    if kind == 1 {
        sleep(PAUSE).await;
        cluster.resume(leader).await;
    }
    asked.await.unwrap();
    let took = began.elapsed();
    eprintln!("made after {took:.1?}");
    assert!(took < CHANGE_LIMIT, "{took:?}");
    if kind == 0 {
        cluster.start_node(leader).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_changes_complete_under_any_leader_fault() {
    let seed = number_from("CONCLAVE_MEMBERSHIP_SEED", 1);
    eprintln!("CONCLAVE_MEMBERSHIP_SEED={seed}");
    let mut dice = Dice(0x5eed_1000 + seed as u64);
    let cluster = Cluster::start(5).await;
    let (root, _) = cluster.administrator().await;
    for _ in 0..number_from("CONCLAVE_MEMBERSHIP_MOMENTS", MOMENTS) {
        let leader = cluster.leader().await;
        let others: Vec<u64> = (1..=5).filter(|node| *node != leader).collect();
        let node = others[dice.below(others.len())];
        disturbed(&cluster, &root, Change::DemoteNodeId(node), &mut dice).await;
        disturbed(&cluster, &root, Change::PromoteNodeId(node), &mut dice).await;
    }
    // A replacement takes two entries.
    let leader = cluster.leader().await;
    let others: Vec<u64> = (1..=5).filter(|node| *node != leader).collect();
    make(&root, &Change::DemoteNodeId(others[0])).await;
    let replace = v1::ReplaceNode {
        old_node_id: others[1],
        new_node_id: others[0],
    };
    let change = Change::Replace(replace);
    disturbed(&cluster, &root, change, &mut dice).await;
    let removed = make(&root, &Change::RemoveNodeId(others[1])).await;
    assert!(!removed.changed, "it was replaced");
    assert_eq!(removed.voter_node_ids.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_node_number_is_refused_and_removals_skip_no_number() {
    let cluster = Cluster::start(3).await;
    let (root, _) = cluster.administrator().await;
    let add = |node_id: u64| v1::ChangeMembersRequest {
        change: Some(Change::Add(v1::AddNode {
            node_id,
            peer_address: format!("127.0.0.1:{}", 1 + node_id % 1000),
            client_address: format!("127.0.0.1:{}", 2001 + node_id % 1000),
            replaces_node_id: 0,
        })),
        ..Default::default()
    };
    for far in [999_999, 2_000_000, u64::MAX / 2, u64::MAX] {
        let refused = root.change_members(add(far)).await.unwrap_err();
        assert_eq!(
            refused.reason(),
            Some(Reason::NodeNumberTooFar),
            "{refused}"
        );
        let sentence = refused.to_string();
        assert!(sentence.contains("take 4"), "{sentence}");
    }
    root.change_members(add(4)).await.unwrap();
    let remove = v1::ChangeMembersRequest {
        change: Some(Change::RemoveNodeId(4)),
        ..Default::default()
    };
    root.change_members(remove).await.unwrap();
    let again = root.change_members(add(4)).await.unwrap_err();
    assert_eq!(again.reason(), Some(Reason::NodeNumberTaken), "{again}");
    root.change_members(add(5)).await.unwrap();
}
