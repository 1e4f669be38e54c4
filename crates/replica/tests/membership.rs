//! Changes of the membership whose leader is killed, paused or deposed at each of their steps: the
//! next change always succeeds, and no cluster is left with two sets of voters.
//!
//! `CONCLAVE_MEMBERSHIP_SEEDS` sets how many random sequences are run, and
//! `CONCLAVE_MEMBERSHIP_SEED` the first one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::print_stderr,
    reason = "a failed run tells its seed and its faults"
)]

use std::time::Duration;

use conclave_replica::{Change, ChangeError, Members, Refusal, Role};
use futures::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};

use support::{Cluster, PATIENCE, member, wait_for};

mod support;

/// Maximum time for the change after a fault.
const NEXT_CHANGE_LIMIT: Duration = Duration::from_secs(10);
/// Time for which a paused leader neither receives nor sends.
const PAUSE: Duration = Duration::from_secs(2);
/// Maximum time of one attempt of a change.
const ATTEMPT: Duration = Duration::from_millis(700);
/// Pause before a change is requested again.
const AGAIN: Duration = Duration::from_millis(20);
/// Number of clusters that run at once.
const CLUSTERS: usize = 2;
/// Number of clusters that try to reach a step.
const TRIES: usize = 5;
const SEEDS: u64 = 2;
/// Number of changes in a random sequence.
const CHANGES: u64 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Paused,
    Deposed,
}

/// A step of a change: the membership entry, from 0, and the nodes to which it was delivered.
type Step = (usize, usize);

fn add(node: u64) -> Change {
    Change::Add {
        node,
        member: member(node),
        replaces: None,
    }
}

/// Requests a change from the node that leads in the newest term.
async fn ask(cluster: &Cluster, change: &Change) -> Result<Members, ChangeError> {
    let nodes = cluster.nodes().into_iter().map(|node| cluster.node(node));
    let leaders = nodes.filter(|node| node.status().role == Role::Leader);
    match leaders.max_by_key(|node| node.status().term) {
        Some(leader) => leader.change_members(change, ATTEMPT).await,
        None => Err(ChangeError::NotLeader { leader: None }),
    }
}

/// Requests a change until it is made.
async fn make(cluster: &Cluster, change: &Change) -> Members {
    let mut last = None;
    let asking = async {
        loop {
            match ask(cluster, change).await {
                Ok(members) => return members,
                Err(error @ (ChangeError::Refused(_) | ChangeError::Broken(_))) => {
                    panic!("{change:?}: {error}")
                }
                Err(error) => last = Some(error),
            }
            sleep(AGAIN).await;
        }
    };
    let made = timeout(NEXT_CHANGE_LIMIT, asking).await;
    made.unwrap_or_else(|_| panic!("{change:?} was not made: {last:?}"))
}

/// Starts five voters, and a learner that has everything.
async fn five_and_a_learner() -> Cluster {
    let cluster = Cluster::start(5).await;
    cluster.start_node(6).await;
    make(&cluster, &add(6)).await;
    cluster
}

/// Waits until all members agree on a membership with one set of voters.
async fn settles(cluster: &Cluster) -> Members {
    wait_for("one set of voters everywhere", || {
        let running = cluster.nodes().into_iter();
        let all: Vec<_> = running
            .map(|node| (node, cluster.node(node).status()))
            .collect();
        let leaders = all.iter().filter(|(_, status)| status.role == Role::Leader);
        let (_, leader) = leaders.max_by_key(|(_, status)| status.term)?;
        let newest = &leader.members;
        let mut members = all
            .iter()
            .filter(|(node, _)| newest.nodes.contains_key(node));
        let agree = members.all(|(_, status)| status.members_settled && status.members == *newest);
        (agree && newest.voters.len() == 1).then(|| newest.clone())
    })
    .await
}

async fn strike(cluster: &Cluster, leader: u64, fault: Fault) {
    match fault {
        Fault::Killed => cluster.stop_node(leader).await,
        // The trap, or the caller, has cut the leader off.
        Fault::Paused => {
            let (network, others) = (cluster.network.clone(), cluster.nodes());
            tokio::spawn(async move {
                sleep(PAUSE).await;
                network.isolate(leader, others.into_iter(), false);
            });
        }
        Fault::Deposed => {
            cluster.node(leader).step_down(PATIENCE).await;
        }
    }
}

/// Begins a change, lets the fault strike its leader at one step, and makes the next changes.
/// Returns `false` if a busy machine has elected another leader meanwhile.
async fn survives(what: &str, (nth, deliveries): Step, fault: Fault) -> bool {
    let cluster = five_and_a_learner().await;
    let leader = cluster.leader().await;
    let follower = (1..=5).find(|node| *node != leader).unwrap();
    let change = match what {
        "add" => add(7),
        "promote" => Change::Promote(6),
        "demote" => Change::Demote(follower),
        "remove" => Change::Remove(follower),
        _ => Change::Replace {
            old: follower,
            new: 6,
        },
    };
    let cut = fault != Fault::Deposed;
    let trap = (leader, nth, deliveries);
    let there = cluster.network.set_trap(trap, cut);
    let replica = cluster.node(leader);
    let mut asked = {
        let change = change.clone();
        tokio::spawn(async move {
            loop {
                match replica.change_members(&change, ATTEMPT).await {
                    Err(ChangeError::LearnerBehind { .. }) => sleep(AGAIN).await,
                    done => return done,
                }
            }
        })
    };
    tokio::select! {
        biased;
        reached = there => reached.unwrap(),
        early = &mut asked => {
            eprintln!("{what} ended before {trap:?}: {early:?}");
            cluster.stop().await;
            return false;
        }
    }
    let began = Instant::now();
    strike(&cluster, leader, fault).await;
    make(&cluster, &change).await;
    make(&cluster, &add(8)).await;
    let took = began.elapsed();
    assert!(took < NEXT_CHANGE_LIMIT, "{what} at {trap:?}: {took:?}");
    let _ = asked.await.unwrap();
    if fault == Fault::Killed {
        let all = cluster.nodes().into_iter();
        cluster.network.isolate(leader, all, false);
        cluster.start_node(leader).await;
    }
    let settled = settles(&cluster).await;
    assert_eq!(settled.after(&change), Ok(None), "{what} has happened");
    cluster.stop().await;
    true
}

/// Tries every change, with the fault at each of its steps: the entry is in the leader's log alone,
/// on one more node, or on a majority; of a replacement, each of its two entries.
async fn survives_everywhere(fault: Fault) {
    let ones = ["add", "promote", "demote", "remove"].into_iter();
    let ones = ones.flat_map(|what| [(what, (0, 0)), (what, (0, 1)), (what, (0, 3))]);
    let steps = [(0, 0), (0, 1), (0, 3), (1, 0), (1, 1), (1, 3)];
    let cases = ones.chain(steps.map(|step| ("replace", step)));
    futures::stream::iter(cases)
        .for_each_concurrent(CLUSTERS, |(what, step)| async move {
            for _ in 0..TRIES {
                if survives(what, step, fault).await {
                    return;
                }
            }
            panic!("{what} never came to {step:?}");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_membership_change_survives_a_killed_leader() {
    survives_everywhere(Fault::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_membership_change_survives_a_paused_leader() {
    survives_everywhere(Fault::Paused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_membership_change_survives_a_deposed_leader() {
    survives_everywhere(Fault::Deposed).await;
}

/// A SplitMix64 generator.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn number_from(variable: &str, default: u64) -> u64 {
    let asked = std::env::var(variable).ok();
    asked.map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_survive_faults_at_random_moments() {
    let first = number_from("CONCLAVE_MEMBERSHIP_SEED", 1);
    let seeds = number_from("CONCLAVE_MEMBERSHIP_SEEDS", SEEDS);
    for seed in first..first + seeds {
        eprintln!("CONCLAVE_MEMBERSHIP_SEED={seed}");
        let mut random = Random(seed);
        let cluster = five_and_a_learner().await;
        for _ in 0..CHANGES {
            one_random_change(&cluster, &mut random).await;
        }
        cluster.stop().await;
    }
}

async fn one_random_change(cluster: &Cluster, random: &mut Random) {
    let members = settles(cluster).await;
    let leader = cluster.leader().await;
    let voters = members.all_voters();
    let others = voters.iter().copied().filter(|node| *node != leader);
    let others: Vec<u64> = others.collect();
    let pick = usize::try_from(random.below(others.len() as u64)).unwrap();
    let other = others[pick];
    let running = cluster.nodes();
    let mut learners = members.nodes.keys().filter(|node| !voters.contains(node));
    let learner = learners.find(|node| running.contains(node)).copied();
    let change = match (random.below(3), learner) {
        (0, Some(learner)) => Change::Replace {
            old: other,
            new: learner,
        },
        (1, Some(learner)) if voters.len() < 7 => Change::Promote(learner),
        (2, _) | (_, Some(_)) if voters.len() > 4 => Change::Demote(other),
        _ => add(members.nodes.keys().next_back().unwrap() + 1),
    };
    let fault = [Fault::Killed, Fault::Paused, Fault::Deposed];
    let fault = fault[usize::try_from(random.below(3)).unwrap()];
    let moment = Duration::from_micros(random.below(15_000));
    eprintln!("{change:?}, {fault:?} after {moment:?}");
    let replica = cluster.node(leader);
    let asked = {
        let change = change.clone();
        tokio::spawn(async move { replica.change_members(&change, ATTEMPT).await })
    };
    sleep(moment).await;
    if fault == Fault::Paused {
        let others = running.iter().copied();
        cluster.network.isolate(leader, others, true);
    }
    strike(cluster, leader, fault).await;
    make(cluster, &change).await;
    let _ = asked.await.unwrap();
    if fault == Fault::Killed {
        let all = cluster.nodes().into_iter();
        cluster.network.isolate(leader, all, false);
        cluster.start_node(leader).await;
    }
    if let Change::Add { node, .. } = change {
        cluster.start_node(node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_not_transferred_to_a_silent_or_unknown_node() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader_of_all().await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    let all = cluster.nodes();
    // Cut off so recently that the leader cannot know it yet.
    cluster.network.isolate(others[0], all.into_iter(), true);
    let to = others[0];
    let refused = cluster
        .node(leader)
        .transfer_leader(Some(to), PATIENCE)
        .await;
    assert_eq!(refused, Err(ChangeError::NoAnswer { node: to }));
    let unknown = cluster
        .node(leader)
        .transfer_leader(Some(9), PATIENCE)
        .await;
    assert_eq!(unknown, Err(ChangeError::Refused(Refusal::NoSuchNode(9))));
    let to = others[1];
    let done = cluster
        .node(leader)
        .transfer_leader(Some(to), PATIENCE)
        .await;
    assert_eq!(done, Ok(to));
    assert_eq!(cluster.node(to).status().role, Role::Leader);
    cluster.stop().await;
}
