//! Nodes join, get a vote, lose it and leave while people talk: no message is lost and no client
//! sees an error.

use std::process::Command;

use conclave_client::{CallError, Client, Reason, v1};
use v1::change_members_request::Change;

use crate::{
    streams::Listener,
    support::{Cluster, until},
    witness::{Witness, client_of, person, sign_up},
};

/// Messages that must get through after each change.
const MESSAGES_PER_CHANGE: u64 = 3;

fn change(change: Change) -> v1::ChangeMembersRequest {
    v1::ChangeMembersRequest {
        change: Some(change),
        ..Default::default()
    }
}

fn add(cluster: &Cluster, node: u64) -> v1::ChangeMembersRequest {
    change(Change::Add(v1::AddNode {
        node_id: node,
        peer_address: cluster.peer_address(node),
        client_address: cluster.endpoint(node),
        replaces_node_id: 0,
    }))
}

/// Gives a learner a vote as soon as it has caught up.
async fn promote(root: &Client, node: u64) -> v1::ChangeMembersResponse {
    until("a learner has caught up", async || {
        match root
            .change_members(change(Change::PromoteNodeId(node)))
            .await
        {
            Ok(done) => Some(done),
            Err(CallError::Refused {
                reason: Reason::LearnerBehind,
                ..
            }) => None,
            Err(error) => panic!("{error}"),
        }
    })
    .await
}

/// Returns the reason with which a change was refused.
async fn refused(root: &Client, request: v1::ChangeMembersRequest) -> Reason {
    match root.change_members(request).await {
        Err(CallError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_grows_to_five_under_load_and_any_two_may_then_fail() {
    let cluster = Cluster::prepare_growing(5).await;
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    for node in 2..=5 {
        let added = root.change_members(add(&cluster, node)).await.unwrap();
        assert_eq!(added.learner_node_ids, [node]);
        assert!(added.changed);
        // A repeated request, as after a lost answer, changes nothing.
        let again = root.change_members(add(&cluster, node)).await.unwrap();
        assert!(!again.changed);
        cluster.start_node(node).await;
        let promoted = promote(&root, node).await;
        let voters: Vec<u64> = (1..=node).collect();
        assert_eq!(promoted.voter_node_ids, voters);
        talking.go_on(MESSAGES_PER_CHANGE).await;
    }
    until("two of five may fail", async || {
        let status = cluster.status(3).await;
        (status.voters == 5 && status.tolerates_failures == 2).then_some(())
    })
    .await;
    cluster.kill(cluster.leader().await).await;
    let follower = cluster.a_follower().await;
    cluster.kill(follower).await;
    talking.go_on(MESSAGES_PER_CHANGE).await;
    // The node that bootstrapped the cluster alone also comes back as one of five.
    cluster.start_all().await;
    talking.finish_without_error().await;
    witness.judge(&cluster, &[&alice]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_stops_and_a_removed_leader_transfers_first() {
    let cluster = Cluster::start(5).await;
    let (root, _) = cluster.administrator().await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    let (leader, follower) = (cluster.leader().await, cluster.a_follower().await);
    for node in [follower, leader] {
        let request = change(Change::RemoveNodeId(node));
        let dry_run = v1::ChangeMembersRequest {
            dry_run: true,
            ..request.clone()
        };
        let would = root.change_members(dry_run).await.unwrap();
        assert!(would.changed && !would.voter_node_ids.contains(&node));
        let done = root.change_members(request.clone()).await.unwrap();
        assert_eq!(done.voter_node_ids, would.voter_node_ids, "only now");
        cluster.ends(node).await;
        let log = cluster.log(node);
        assert!(log.contains("it was removed from the cluster"), "{log}");
        let again = root.change_members(request).await.unwrap();
        assert!(!again.changed);
        talking.go_on(MESSAGES_PER_CHANGE).await;
    }
    // The removed node is refused when it starts again.
    cluster.start_refused_node(follower).await;
    talking.finish_without_error().await;
    let left = cluster.nodes().into_iter();
    let left = left.filter(|node| ![leader, follower].contains(node));
    for node in left {
        let all = alice.all_messages_at(&cluster.endpoint(node)).await;
        assert!(all.len() as u64 >= 2 * MESSAGES_PER_CHANGE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_changes_that_lose_quorum_are_refused() {
    let cluster = Cluster::start(3).await;
    let (root, _) = cluster.administrator().await;
    assert_eq!(
        refused(&root, change(Change::PromoteNodeId(9))).await,
        Reason::NoSuchNode
    );
    let mut taken = add(&cluster, 1);
    if let Some(Change::Add(node)) = &mut taken.change {
        node.node_id = 4;
    }
    assert_eq!(refused(&root, taken).await, Reason::AddressTaken);
    assert_eq!(
        refused(&root, v1::ChangeMembersRequest::default()).await,
        Reason::ChangeMissing
    );
    let dead = cluster.a_follower().await;
    cluster.kill(dead).await;
    let leader = cluster.leader().await;
    let well = (1..=3).find(|node| ![dead, leader].contains(node)).unwrap();
    // Of three, one is dead; without one more there would be no majority.
    let reason = refused(&root, change(Change::RemoveNodeId(well))).await;
    assert_eq!(reason, Reason::WouldLoseQuorum);
    let done = root
        .change_members(change(Change::RemoveNodeId(dead)))
        .await;
    assert_eq!(done.unwrap().voter_node_ids.len(), 2);
    let stranger = cluster.client();
    let refused = stranger
        .change_members(change(Change::RemoveNodeId(1)))
        .await;
    assert_eq!(refused.unwrap_err().reason(), Some(Reason::NotAnOperator));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_one_node_survives_the_removal_of_that_node() {
    let cluster = Cluster::prepare_growing(3).await;
    cluster.start_node(1).await;
    let (root, _) = cluster.administrator().await;
    let alice = sign_up(&cluster.client(), "alice").await;
    let alice = client_of(&cluster.endpoint(1), &alice.token);
    let stream = Listener::start(&cluster, &alice).await;
    for node in 2..=3 {
        root.change_members(add(&cluster, node)).await.unwrap();
        cluster.start_node(node).await;
        promote(&root, node).await;
    }
    until("its stream has told it", async || {
        (alice.endpoints().len() == 3).then_some(())
    })
    .await;
    root.change_members(change(Change::RemoveNodeId(1)))
        .await
        .unwrap();
    cluster.ends(1).await;
    let sent = alice.send(&person("alice"), "still here").await.unwrap();
    until("the stream goes on elsewhere", async || {
        (stream.count(sent.conversation.0) == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_transferred_to_the_named_node() {
    let cluster = Cluster::start(3).await;
    let (root, _) = cluster.administrator().await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    for _ in 0..2 {
        let to = cluster.a_follower().await;
        assert_eq!(root.transfer_leader(to).await.unwrap(), to);
        until("the others know it", async || {
            (cluster.leader().await == to).then_some(())
        })
        .await;
        talking.go_on(MESSAGES_PER_CHANGE).await;
    }
    talking.finish_without_error().await;
    witness.judge(&cluster, &[&alice]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_adds_and_removes_a_node_from_the_command_line() {
    let cluster = Cluster::prepare_growing(2).await;
    cluster.start_node(1).await;
    let file = cluster.operator_file().await;
    let conclave = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_conclave"))
            .arg("cluster")
            .args(arguments)
            .env("CONCLAVE_ENDPOINTS", cluster.endpoint(1))
            .env("CONCLAVE_OPERATOR_FILE", &file)
            .output()
            .unwrap();
        let talk = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {talk}");
        (String::from_utf8(output.stdout).unwrap(), talk)
    };
    let (peer, client) = (cluster.peer_address(2), cluster.endpoint(2));
    let add = [
        "add",
        "2",
        "--peer-address",
        &peer,
        "--client-address",
        &client,
    ];
    let (said, hint) = conclave(&add);
    assert!(said.contains("learners: 2"), "{said}");
    assert!(hint.contains("conclave serve --node 2"), "{hint}");
    cluster.start_node(2).await;
    let (said, _) = conclave(&["promote", "2"]);
    assert!(said.contains("voters: 1, 2"), "{said}");
    let (said, _) = conclave(&["transfer-leader", "--to", "2"]);
    assert_eq!(said, "node 2 is the leader\n");
    let (said, talk) = conclave(&["demote", "1", "--dry-run"]);
    assert!(
        said.contains("voters: 2\n") && talk.contains("would be"),
        "{said}{talk}"
    );
    let (said, _) = conclave(&["demote", "1"]);
    assert!(said.contains("learners: 1"), "{said}");
    let (said, _) = conclave(&["remove", "1", "--force"]);
    assert!(said.contains("learners: none"), "{said}");
    cluster.ends(1).await;
}
