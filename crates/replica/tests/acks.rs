//! With the policy of all voters, what is acknowledged survives the loss of all voters but one:
//! two of three at once and one after the other, whichever they are and whichever leads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_core::{
    AckPolicy, Batch, ClusterOperation, ClusterVersion, NodeId, Operation, OperatorRequest,
    SessionId, Timestamp, TokenHash,
};
use conclave_replica::{
    Change, Lane, Member, Members, Outcome, ProposeError, Replica, Role, Survivor,
};
use support::{Cluster, PATIENCE, TestCodec, member, once, open_session, send, sequence, wait_for};
use tokio::{task::JoinHandle, time::timeout};

/// Time in which an answer that waits for a voter does not come, and no voter is set aside.
const NOT_YET: Duration = Duration::from_millis(700);
const OPERATOR: TokenHash = TokenHash([9; 32]);

async fn accepted(replica: &Replica, id: u8, operation: ClusterOperation) -> Outcome {
    let command = once(id, Operation::Cluster(operation));
    let outcome = replica.propose(command, PATIENCE).await.unwrap();
    outcome.answer.as_ref().unwrap();
    outcome
}

async fn set(replica: &Replica, id: u8, policy: AckPolicy) -> Outcome {
    let request = OperatorRequest::SetAckPolicy { policy };
    let credential = OPERATOR;
    let operation = ClusterOperation::ByOperator {
        credential,
        request,
    };
    accepted(replica, id, operation).await
}

/// Returns three voters whose acknowledgements wait for all, and a session.
async fn waiting_for_all() -> (Cluster, SessionId) {
    let cluster = Cluster::start(3).await;
    cluster.leader_of_all().await;
    let one = cluster.node(1);
    let raise = ClusterOperation::RaiseVersion {
        to: ClusterVersion::ACK_POLICY,
        asked: (1..=3).map(NodeId).collect(),
    };
    accepted(&one, 200, raise).await;
    let token = OPERATOR;
    accepted(&one, 201, ClusterOperation::MakeFirstOperator { token }).await;
    let session = open_session(&one, "alice", 1).await;
    wait_for("the version", || {
        (one.cluster_version() == ClusterVersion::ACK_POLICY).then_some(())
    })
    .await;
    set(&one, 202, AckPolicy::All).await;
    (cluster, session)
}

/// The other two of three nodes.
fn others(node: u64) -> [u64; 2] {
    let mut rest = (1..=3).filter(|other| *other != node);
    [rest.next().unwrap(), rest.next().unwrap()]
}

/// A node dies: nothing that it sends or receives arrives from one moment on.
async fn crash(cluster: &Cluster, nodes: &[u64]) {
    for node in nodes {
        cluster.network.isolate(*node, 1..=4, true);
    }
    for node in nodes {
        cluster.stop_node(*node).await;
        cluster.network.isolate(*node, 1..=4, false);
    }
}

/// Makes the survivor the only member, as an operator does.
async fn recover(cluster: &Cluster, node: u64) {
    cluster.stop_node(node).await;
    let codec = Arc::new(TestCodec::default());
    let survivor = Survivor::open(&cluster.directory(node), codec).unwrap();
    assert!(survivor.standing().members.all_voters().contains(&node));
    assert_eq!(survivor.standing().ack_policy, AckPolicy::All);
    let members = Members {
        voters: vec![BTreeSet::from([node])],
        nodes: BTreeMap::from([(node, member(node))]),
    };
    let batch = Batch {
        proposed_at: Timestamp(0),
        date: Timestamp(0),
        commands: Vec::new(),
    };
    survivor.rule_alone(node, &members, &batch).unwrap();
    cluster.start_node(node).await;
    let alone = cluster.node(node);
    wait_for("it leads alone", || {
        (alone.status().role == Role::Leader).then_some(())
    })
    .await;
}

/// Sends messages one after the other at a node, and counts those that are acknowledged.
fn talk(replica: Replica, session: SessionId) -> (Arc<AtomicU64>, JoinHandle<()>) {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let counted = acknowledged.clone();
    let talking = tokio::spawn(async move {
        for number in 1.. {
            let command = send(session, number, "alice", "hi");
            let Ok(outcome) = replica.propose(command, PATIENCE).await else {
                return;
            };
            assert_eq!(sequence(&outcome.answer), number);
            counted.store(number, Ordering::SeqCst);
        }
    });
    (acknowledged, talking)
}

async fn goes_on(acknowledged: &AtomicU64, messages: u64) {
    let goal = acknowledged.load(Ordering::SeqCst) + messages;
    wait_for("more acknowledgements", || {
        (acknowledged.load(Ordering::SeqCst) >= goal).then_some(())
    })
    .await;
}

/// Crashes two nodes in these steps while the survivor is talked to, recovers it, and checks that
/// it has all that was acknowledged.
async fn survives(steps: &[&[u64]], leader: u64) {
    let (cluster, session) = waiting_for_all().await;
    let crashed: BTreeSet<u64> = steps.iter().copied().flatten().copied().collect();
    let survivor = (1..=3).find(|node| !crashed.contains(node)).unwrap();
    if cluster.leader_of_all().await != leader {
        let leads = cluster.leader_of_all().await;
        let leads = cluster.node(leads);
        let moved = leads.transfer_leader(Some(leader), PATIENCE).await;
        moved.unwrap();
    }
    let (acknowledged, talking) = talk(cluster.node(survivor), session);
    goes_on(&acknowledged, 30).await;
    for step in steps {
        crash(&cluster, step).await;
        if *step != *steps.last().unwrap() {
            // The others go on once the lost voter is set aside.
            goes_on(&acknowledged, 30).await;
        }
    }
    let told = acknowledged.load(Ordering::SeqCst);
    recover(&cluster, survivor).await;
    talking.abort();
    let alone = cluster.node(survivor);
    let session = send(session, told + 10, "alice", "on");
    let on = alone.propose(session, PATIENCE).await.unwrap();
    let has = sequence(&on.answer) - 1;
    assert!(has >= told, "{steps:?}: {told} acknowledged, {has} there");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_crashes_at_once_lose_nothing_acknowledged() {
    for survivor in 1..=3 {
        let lost = others(survivor);
        for leader in [survivor, lost[0]] {
            survives(&[&lost], leader).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_crash_after_the_other_loses_nothing_acknowledged() {
    let mut orders = Vec::new();
    for first in 1..=3 {
        for second in others(first) {
            // The first to die leads, or the second, or the survivor.
            let leader = (first + orders.len() as u64) % 3 + 1;
            orders.push(async move { survives(&[&[first], &[second]], leader).await });
        }
    }
    futures::future::join_all(orders).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_waits_for_the_voter_that_lacks_its_entry() {
    let (cluster, session) = waiting_for_all().await;
    let leader = cluster.leader_of_all().await;
    let [near, far] = others(leader);
    cluster.network.stall(leader, far, Lane::Log, true);
    let command = || send(session, 1, "alice", "once");
    // At the leader, forwarded, and asked again: the message is decided, and not acknowledged.
    for node in [leader, near] {
        let waits = cluster.node(node).propose(command(), NOT_YET).await;
        assert!(
            matches!(waits, Err(ProposeError::OutcomeUnknown { .. })),
            "{waits:?}"
        );
    }
    wait_for("it is decided", || {
        (cluster.node(near).reader().digest().unwrap().messages == 1).then_some(())
    })
    .await;
    assert!(cluster.node(leader).figures().acknowledgements_held > 0);
    // Reads do not wait.
    cluster.node(near).read_barrier(PATIENCE).await.unwrap();
    cluster.network.stall(leader, far, Lane::Log, false);
    let outcome = cluster.node(near).propose(command(), PATIENCE).await;
    let outcome = outcome.unwrap();
    assert_eq!(sequence(&outcome.answer), 1, "it was done once");
    let log_index_last = cluster.node(far).status().log_index_last;
    assert!(log_index_last >= outcome.index);
    assert_eq!(
        cluster.node(leader).status().members.all_voters().len(),
        3,
        "a short wait costs no vote"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_waits_for_all_from_its_first_answer_on() {
    let (cluster, session) = waiting_for_all().await;
    let leader = cluster.leader_of_all().await;
    let [heir, behind] = others(leader);
    cluster.network.stall(leader, behind, Lane::Log, true);
    let command = move || send(session, 1, "alice", "once");
    let asked = {
        let heir = cluster.node(heir);
        tokio::spawn(async move { heir.propose(command(), PATIENCE).await })
    };
    wait_for("the heir has it", || {
        (cluster.node(heir).reader().digest().unwrap().messages == 1).then_some(())
    })
    .await;
    // From now on the heir leads, and the third node hears only what the old leader has not sent.
    cluster.network.stall(heir, behind, Lane::Log, true);
    crash(&cluster, &[leader]).await;
    cluster.leader_among(&[heir]).await;
    assert!(!asked.is_finished(), "the third node does not have it");
    let waits = cluster.node(heir).propose(command(), NOT_YET).await;
    assert!(waits.is_err(), "{waits:?}");
    cluster.network.stall(heir, behind, Lane::Log, false);
    let outcome = timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap();
    assert_eq!(sequence(&outcome.answer), 1);
    assert!(cluster.node(behind).status().log_index_last >= outcome.index);
    let members = cluster.node(heir).status().members;
    assert_eq!(members.all_voters(), BTreeSet::from([heir, behind]));
    assert!(members.nodes[&leader].set_aside, "the lost one held it up");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_is_away_loses_its_vote_and_gets_it_back() {
    let (cluster, session) = waiting_for_all().await;
    let leader = cluster.leader_of_all().await;
    cluster.start_node(4).await;
    let add = Change::Add {
        node: 4,
        member: member(4),
        replaces: None,
    };
    let leading = cluster.node(leader);
    leading.change_members(&add, PATIENCE).await.unwrap();
    let away = others(leader)[0];
    cluster.network.isolate(away, 1..=4, true);
    let outcome = leading.propose(send(session, 1, "alice", "hi"), PATIENCE);
    assert_eq!(sequence(&outcome.await.unwrap().answer), 1);
    let members = leading.status().members;
    assert!(!members.all_voters().contains(&away));
    assert!(members.nodes[&away].set_aside);
    assert_eq!(leading.figures().counts.voters_set_aside, 1);
    // Nothing waits for it any more.
    let quick = leading.propose(send(session, 2, "alice", "hi"), NOT_YET);
    quick.await.unwrap();
    cluster.network.isolate(away, 1..=4, false);
    wait_for("it votes again", || {
        let leads = cluster.nodes().into_iter().map(|node| cluster.node(node));
        let leads = leads.filter(|node| node.status().role == Role::Leader);
        let members = leads.map(|node| node.status().members).next()?;
        let voters = members.all_voters();
        let is_unmarked = members.nodes.values().all(|member| !member.set_aside);
        (is_unmarked && voters == BTreeSet::from([1, 2, 3])).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_voters_gives_a_third_no_vote_without_the_other() {
    let (cluster, session) = waiting_for_all().await;
    let leader = cluster.leader_of_all().await;
    let leading = cluster.node(leader);
    let [away, other] = others(leader);
    cluster.network.isolate(away, 1..=4, true);
    let outcome = leading.propose(send(session, 1, "alice", "hi"), PATIENCE);
    outcome.await.unwrap();
    let two = BTreeSet::from([leader, other]);
    assert_eq!(leading.status().members.all_voters(), two);
    // The other one hears heartbeats and gets no entry, while the third one comes back.
    cluster.network.stall(leader, other, Lane::Log, true);
    cluster.network.isolate(away, 1..=4, false);
    let waits = leading.propose(send(session, 2, "alice", "hi"), Duration::from_secs(4));
    let waits = waits.await;
    assert!(waits.is_err(), "it was acknowledged without a voter");
    let known = cluster.node(other).status().members;
    assert_eq!(known.all_voters(), two);
    let status = leading.status();
    let is_by_two = !status.members_settled || status.members.all_voters() == two;
    assert!(is_by_two, "{:?}", status.members);
    cluster.network.stall(leader, other, Lane::Log, false);
    wait_for("all vote", || {
        let nodes = cluster.nodes().into_iter().map(|node| cluster.node(node));
        let mut statuses = nodes.map(|node| node.status().members);
        let all = BTreeSet::from([1, 2, 3]);
        let settled = |members: Members| members.voters == [all.clone()];
        statuses.all(settled).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_keeps_a_node_without_a_vote_that_was_set_aside() {
    let (cluster, session) = waiting_for_all().await;
    let leader = cluster.leader_of_all().await;
    let leading = cluster.node(leader);
    let away = others(leader)[1];
    cluster.network.isolate(away, 1..=4, true);
    let outcome = leading.propose(send(session, 1, "alice", "hi"), PATIENCE);
    outcome.await.unwrap();
    let demote = Change::Demote(away);
    let after = leading.change_members(&demote, PATIENCE).await.unwrap();
    assert!(!after.nodes[&away].set_aside);
    let again = leading.preview_change(&demote, PATIENCE).await.unwrap();
    assert_eq!(again.1, None, "nothing is left to do");
    assert_eq!(again.0, leading.status().members);
    cluster.network.isolate(away, 1..=4, false);
    wait_for("it follows", || {
        let last = leading.status().log_index_last;
        (cluster.node(away).status().log_index_last == last).then_some(())
    })
    .await;
    // Longer than a node that gets its vote back waits.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let members = leading.status().members;
    assert!(!members.all_voters().contains(&away));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_ends_for_answers_after_all_voters_know() {
    let (cluster, session) = waiting_for_all().await;
    let leader = cluster.leader_of_all().await;
    let [near, far] = others(leader);
    let off = set(&cluster.node(near), 203, AckPolicy::Majority).await;
    let log_index_last = cluster.node(far).status().log_index_last;
    assert!(log_index_last >= off.index, "every voter has it");
    assert_eq!(cluster.node(leader).ack_policy(), AckPolicy::Majority);
    cluster.network.stall(leader, far, Lane::Log, true);
    let quick = send(session, 1, "alice", "hi");
    let outcome = cluster.node(near).propose(quick, NOT_YET).await.unwrap();
    assert_eq!(sequence(&outcome.answer), 1);
    cluster.network.stall(leader, far, Lane::Log, false);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_goes_on_while_answers_wait_for_all() {
    let (cluster, session) = waiting_for_all().await;
    let leader = cluster.leader_of_all().await;
    cluster.start_node(4).await;
    let leading = cluster.node(leader);
    let (acknowledged, talking) = talk(leading.clone(), session);
    goes_on(&acknowledged, 10).await;
    let old = others(leader)[0];
    let new = Member {
        set_aside: false,
        ..member(4)
    };
    let add = Change::Add {
        node: 4,
        member: new,
        replaces: None,
    };
    leading.change_members(&add, PATIENCE).await.unwrap();
    wait_for("the learner follows", || {
        leading.acknowledged_by(4).map(drop)
    })
    .await;
    let replace = Change::Replace { old, new: 4 };
    leading.change_members(&replace, PATIENCE).await.unwrap();
    goes_on(&acknowledged, 10).await;
    let voters = leading.status().members.all_voters();
    assert_eq!(voters, BTreeSet::from([leader, others(leader)[1], 4]));
    // The new voter counts.
    cluster.network.stall(leader, 4, Lane::Log, true);
    let before = acknowledged.load(Ordering::SeqCst);
    tokio::time::sleep(NOT_YET).await;
    let after = acknowledged.load(Ordering::SeqCst);
    // What was under way when the link stalled may have arrived.
    assert!(after <= before + 1, "{before}, {after}");
    cluster.network.stall(leader, 4, Lane::Log, false);
    goes_on(&acknowledged, 10).await;
    talking.abort();
    cluster.stop().await;
}
