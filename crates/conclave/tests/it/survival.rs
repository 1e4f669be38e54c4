//! Nodes die, hang and come back while people talk: no acknowledged message is lost, no message
//! exists twice, no session ends, and every node that can serve safely does so.
//!
//! Every test starts the real binary with real disks and kills it with real signals. The tests
//! about starting, restarting and being away are in `survival_restart.rs`.

use std::time::Duration;

use conclave_client::{
    CallError, Client, Freshness, Page, StartAt,
    core::{MessageRef, Progress},
    v1::{self, chat_service_client::ChatServiceClient},
};
use conclave_wire::Problem;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    support::{Cluster, until},
    witness::{
        PASSWORD, Speaker, Witness, agreed_digests, client_of, next_message, person, sign_up,
        stranger_at,
    },
};

/// Shortest time after which a follower without a heartbeat asks for votes: an operation that is
/// faster has not waited for an election.
const ELECTION_MIN: Duration = Duration::from_millis(550);
/// Maximum time for a client to leave a node that hangs: an attempt, an election, and the time that
/// two busy cores may add.
const LEAVE_MAX: Duration = Duration::from_secs(6);
/// Maximum time that the clients wait that are expected to be refused.
const IMPATIENCE: Duration = Duration::from_secs(3);
/// Maximum time of a refusal beyond the time that the client gave it.
const REFUSAL_SLACK: Duration = Duration::from_secs(1);

/// Returns a client of these nodes that gives up soon.
fn impatient(cluster: &Cluster, nodes: &[u64]) -> Client {
    Client::builder()
        .endpoints(nodes.iter().map(|node| cluster.endpoint(*node)))
        .total_timeout(IMPATIENCE)
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_of_five_may_be_killed() {
    two_are_killed(Cluster::start(5).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_of_five_encrypted_nodes_may_be_killed() {
    two_are_killed(Cluster::start_encrypted(5).await).await;
}

async fn two_are_killed(cluster: Cluster) {
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    let first = cluster.leader().await;
    cluster.kill(first).await;
    talking.go_on(20).await;
    let second = cluster.leader().await;
    assert_ne!(first, second, "a dead node leads");
    cluster.kill(second).await;
    talking.go_on(20).await;
    for node in [first, second] {
        cluster.start_node(node).await;
    }
    cluster.all_rejoined().await;
    talking.go_on(20).await;
    let talk = talking.finish_without_error().await;
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!((verdict.acked, verdict.unknown), (talk.said, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_messages_survive_kill_9_of_all_nodes() {
    let cluster = Cluster::start(3).await;
    let witness = Witness::new();
    let client = impatient(&cluster, &cluster.nodes());
    let mut speakers = Vec::new();
    for name in ["alice", "bob", "carol", "dora"] {
        speakers.push(witness.speaker(&client, name, "erik").await);
    }
    let mut all: Vec<_> = speakers.iter().map(Speaker::keep_talking).collect();
    for talking in &mut all {
        talking.go_on(50).await;
    }
    cluster.kill_all().await;
    let mut talks = Vec::new();
    for talking in all {
        talks.push(talking.finish().await);
    }
    cluster.start_all().await;
    for (speaker, talk) in speakers.iter().zip(&talks) {
        assert!(talk.said >= 50);
        speaker.settle(&talk.unsaid).await;
    }
    let speakers: Vec<&Speaker> = speakers.iter().collect();
    let verdict = witness.judge(&cluster, &speakers).await;
    assert_eq!(verdict.unknown, 0, "everything was settled: {verdict:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_survive_repeated_leader_deaths() {
    let cluster = Cluster::start(3).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    for _ in 0..3 {
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        alice.say().await.unwrap();
        for node in cluster.nodes().into_iter().filter(|node| *node != leader) {
            let client = client_of(&cluster.endpoint(node), &alice.token);
            let session = client.session(Freshness::Linearizable).await.unwrap();
            assert_eq!(session.account.unwrap().name, "alice");
        }
        cluster.start_node(leader).await;
        cluster.all_rejoined().await;
        let client = client_of(&cluster.endpoint(leader), &alice.token);
        client.session(Freshness::Linearizable).await.unwrap();
    }
    witness.judge(&cluster, &[&alice]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_death_causes_no_election_and_no_delay() {
    let cluster = Cluster::start_undisturbed(3).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let leader = cluster.leader().await;
    let term = cluster.term(leader).await;
    let follower = cluster.a_follower().await;
    let mut talking = alice.keep_talking();
    talking.go_on(50).await;
    cluster.kill(follower).await;
    talking.go_on(200).await;
    cluster.start_node(follower).await;
    cluster.all_rejoined().await;
    talking.go_on(50).await;
    let talk = talking.finish_without_error().await;
    assert!(
        talk.slowest < ELECTION_MIN,
        "a message took {:?}",
        talk.slowest
    );
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.term(leader).await, term, "there was an election");
    witness.judge(&cluster, &[&alice]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_is_left_within_seconds() {
    let cluster = Cluster::start(3).await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    let mut talking = alice.keep_talking();
    talking.go_on(20).await;
    for leading in [true, false] {
        let hangs = match leading {
            true => cluster.leader().await,
            false => cluster.a_follower().await,
        };
        cluster.pause(hangs).await;
        talking.go_on(100).await;
        // A new client whose first node is the one that hangs is served as well.
        let others = cluster.nodes().into_iter().filter(|node| *node != hangs);
        let nodes: Vec<u64> = std::iter::once(hangs).chain(others).collect();
        let newcomer = Client::builder()
            .endpoints(nodes.iter().map(|node| cluster.endpoint(*node)))
            .token(&alice.token)
            .total_timeout(LEAVE_MAX)
            .build()
            .unwrap();
        newcomer.session(Freshness::Linearizable).await.unwrap();
        cluster.resume(hangs).await;
        cluster.all_rejoined().await;
        talking.go_on(20).await;
    }
    let talk = talking.finish_without_error().await;
    assert!(
        talk.slowest < LEAVE_MAX,
        "a message took {:?}",
        talk.slowest
    );
    let verdict = witness.judge(&cluster, &[&alice]).await;
    assert_eq!(verdict.acked, talk.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_quorum_nothing_is_acknowledged_and_stale_reads_work() {
    let cluster = Cluster::start(5).await;
    let witness = Witness::new();
    let patient = witness.speaker(&cluster.client(), "alice", "bob").await;
    let (dead, left) = ([1, 2, 3], [4, 5]);
    let hasty = patient.through(&impatient(&cluster, &left));
    let before = hasty.say().await.unwrap();
    agreed_digests(&cluster).await;
    for node in dead {
        cluster.kill(node).await;
    }

    let began = Instant::now();
    let unsaid = hasty.say().await.unwrap_err();
    assert!(began.elapsed() < IMPATIENCE + REFUSAL_SLACK);
    let CallError::Unknown {
        sentence,
        request: Some(_),
        ..
    } = &unsaid.error
    else {
        panic!("it may have been proposed: {:?}", unsaid.error);
    };
    assert!(
        sentence.contains("no leader") || sentence.contains("no outcome"),
        "{sentence}"
    );
    let began = Instant::now();
    let read = hasty
        .client
        .session(Freshness::Linearizable)
        .await
        .unwrap_err();
    assert!(began.elapsed() < IMPATIENCE + REFUSAL_SLACK);
    assert!(matches!(read, CallError::NotDone { .. }), "{read:?}");
    for node in left {
        let messages = patient.all_messages_at(&cluster.endpoint(node)).await;
        assert_eq!(messages.len(), 1, "node {node} serves what it has");
        let status = cluster.status(node).await;
        assert!(!status.quorum && status.voters_reachable == 2, "{status:?}");
        let reason = reason_of_refused_read(&cluster.endpoint(node), &patient.token).await;
        assert_eq!(reason, "NO_LEADER");
    }

    cluster.start_node(dead[0]).await;
    let first = until("it serves again by itself", async || {
        hasty.say_again(&unsaid).await.ok()
    });
    let first = first.await;
    assert_eq!(first.sequence, before.sequence.next());
    assert_eq!(
        patient.say_again(&unsaid).await.unwrap(),
        first,
        "a retry gets the first answer"
    );
    hasty.settle(&[unsaid]).await;
    let after = patient.say().await.unwrap();
    assert_eq!(after.sequence, first.sequence.next(), "it is there once");
    for node in &dead[1..] {
        cluster.start_node(*node).await;
    }
    let verdict = witness.judge(&cluster, &[&patient]).await;
    assert_eq!((verdict.acked, verdict.unknown), (3, 0));
}

/// Returns the reason with which a node refuses a linearizable read.
async fn reason_of_refused_read(endpoint: &str, token: &str) -> String {
    let mut service = ChatServiceClient::connect(format!("http://{endpoint}"))
        .await
        .unwrap();
    let mut request = tonic::Request::new(v1::ListUnreadRequest::default());
    let authorization = format!("Bearer {token}").parse().unwrap();
    request
        .metadata_mut()
        .insert("authorization", authorization);
    request.set_timeout(IMPATIENCE / 3);
    let refused = service.list_unread(request).await.unwrap_err();
    Problem::from_status(&refused)
        .unwrap()
        .reason()
        .name()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_write_at_once_to_one_node() {
    const ACCOUNTS: usize = 10;
    const SESSIONS: usize = 5;
    const SENDS: u64 = 20;
    for nodes in [1, 3] {
        let cluster = Cluster::start(nodes).await;
        let witness = Witness::new();
        let first = cluster.endpoint(1);
        let mut speakers = Vec::new();
        for account in 0..ACCOUNTS {
            for _ in 0..SESSIONS {
                let client = stranger_at(&first);
                let name = format!("writer{account}");
                speakers.push(witness.speaker(&client, &name, "bob").await);
            }
        }
        let mut writers = JoinSet::new();
        for speaker in &speakers {
            let speaker = speaker.clone();
            writers.spawn(async move {
                for _ in 0..SENDS {
                    speaker.say().await.unwrap();
                }
            });
        }
        writers.join_all().await;
        let messages = (ACCOUNTS * SESSIONS) as u64 * SENDS;
        for (node, digest) in agreed_digests(&cluster).await {
            assert_eq!(digest.messages, messages, "on node {node}");
        }
        // One session of each account: their conversations are the same.
        let speakers: Vec<&Speaker> = speakers.iter().step_by(SESSIONS).collect();
        assert_eq!(witness.judge(&cluster, &speakers).await.acked, messages);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_one_follower_can_do_everything() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    for node in cluster.nodes() {
        assert_eq!(
            cluster.status(node).await.leader_id,
            leader,
            "node {node} names the leader"
        );
    }
    let follower = cluster.a_follower().await;
    let anonymous = stranger_at(&cluster.endpoint(follower));
    let login = sign_up(&anonymous, "alice").await;
    anonymous.create_account("bob", PASSWORD).await.unwrap();
    let alice = anonymous.with_token(&login.token).unwrap();
    let bob = client_of(
        &cluster.endpoint(follower),
        &sign_up(&anonymous, "bob").await.token,
    );

    let sent = alice.send(&person("bob"), "hello").await.unwrap();
    let followed = next_message(&mut bob.subscribe(StartAt::Beginning)).await;
    assert_eq!(
        (followed.text.as_str(), followed.sequence),
        ("hello", sent.sequence.0)
    );
    let fresh = Freshness::Linearizable;
    assert_eq!(bob.unread(10, fresh).await.unwrap().len(), 1);
    let read = Progress {
        delivered: sent.sequence,
        read: sent.sequence,
    };
    bob.advance(&[(sent.conversation, read)]).await.unwrap();
    assert!(bob.unread(10, fresh).await.unwrap().is_empty());
    assert_eq!(
        bob.conversations(10, fresh).await.unwrap()[0].sequence_read,
        1
    );
    let named = MessageRef {
        conversation: sent.conversation,
        sequence: sent.sequence,
    };
    assert_eq!(alice.delete_messages(&[named], true).await.unwrap(), 1);
    let page = alice
        .messages(&person("bob"), Page::Newest, 10, fresh)
        .await
        .unwrap();
    assert!(page.messages[0].deleted);
    assert_eq!(
        bob.list_all_accounts("*", 10, fresh).await.unwrap().len(),
        2
    );

    // The client has learned who leads, and needs the follower no more.
    assert!(
        alice.endpoints().contains(&cluster.endpoint(leader)),
        "{:?}",
        alice.endpoints()
    );
    cluster.kill(follower).await;
    alice.send(&person("bob"), "still here").await.unwrap();
    bob.logout().await.unwrap();
    alice.delete_account(PASSWORD).await.unwrap();
    let ended = alice.session(fresh).await.unwrap_err();
    assert!(
        matches!(ended, CallError::SessionExpired { .. }),
        "{ended:?}"
    );
}
