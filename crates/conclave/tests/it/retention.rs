//! Messages are forgotten alike on all nodes, whichever node leads, and everything that showed them
//! learns of it.

use std::collections::BTreeSet;

use conclave_client::{
    Client, Freshness, Page, Reason,
    core::{ConversationId, MessageRef, Recipient, RoomName, Sequence},
    v1,
};
use serde_json::json;

use crate::{
    command::Person,
    streams::Listener,
    support::{Cluster, until},
    witness::{agreed_digests, client_of, person, sign_up},
};

/// Messages of the largest conversation here: many commands of the leader.
const MESSAGES: u64 = 1500;

fn room(name: &str) -> Recipient {
    Recipient::Room(RoomName::new(name).unwrap())
}

/// Sends this many messages, several at a time.
async fn talk(client: &Client, to: &Recipient, messages: u64) {
    for _ in 0..messages.div_ceil(50) {
        let sent = (0..50).map(|n| client.send(to, format!("haystack {n}")));
        for sent in futures::future::join_all(sent).await {
            sent.unwrap();
        }
    }
}

/// Returns the newest page of a conversation as this node has it.
async fn page_at(
    cluster: &Cluster,
    node: u64,
    token: &str,
    of: &Recipient,
) -> v1::ListMessagesResponse {
    let client = client_of(&cluster.endpoint(node), token);
    let stale = Freshness::Stale { min_position: 0 };
    client
        .messages(of, Page::Newest, 1000, stale)
        .await
        .unwrap()
}

/// Waits until every node keeps exactly the messages after `through`.
async fn all_have_forgotten(cluster: &Cluster, token: &str, of: &Recipient, through: u64) {
    for node in cluster.nodes() {
        until("a node has forgotten what is due", async || {
            let page = page_at(cluster, node, token, of).await;
            (page.forgotten_through == through).then_some(())
        })
        .await;
        let page = page_at(cluster, node, token, of).await;
        let first = page.messages.first().map(|message| message.sequence);
        assert_eq!(
            (first, page.previous_before_sequence),
            (Some(through + 1), 0)
        );
    }
}

async fn all_agree(cluster: &Cluster) {
    let digests = agreed_digests(cluster).await.into_iter();
    let distinct: BTreeSet<_> = digests.map(|(_, told)| (told.digest, told.chain)).collect();
    assert_eq!(distinct.len(), 1, "the nodes differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_forget_alike_while_leaders_change() {
    let cluster = Cluster::start(3).await;
    let alice = sign_up(&cluster.client(), "alice").await;
    let bob = sign_up(&cluster.client(), "bob").await;
    let [a, b] = [&alice, &bob].map(|login| cluster.client().with_token(&login.token).unwrap());
    a.create_room("lobby", "", false).await.unwrap();
    let conversation = b.join_room("lobby").await.unwrap().0;
    let operator = cluster.operator_client().await;
    talk(&a, &room("lobby"), MESSAGES).await;
    talk(&b, &person("alice"), 50).await;
    let listener = Listener::start(&cluster, &b).await;

    let newest = v1::ChangeRetentionRequest {
        messages: Some(40),
        ..Default::default()
    };
    let set = operator.change_retention(newest).await.unwrap();
    assert_eq!(set.each.unwrap().messages, 40);
    // The leader dies in the middle, and its successor goes on.
    let leader = cluster.leader().await;
    until("the leader has begun", async || {
        let page = page_at(&cluster, leader, &alice.token, &room("lobby")).await;
        (page.forgotten_through > 0).then_some(())
    })
    .await;
    cluster.kill(leader).await;
    cluster.start_node(leader).await;
    cluster.all_rejoined().await;
    all_have_forgotten(&cluster, &alice.token, &room("lobby"), MESSAGES - 40).await;
    all_have_forgotten(&cluster, &alice.token, &person("bob"), 10).await;
    all_agree(&cluster).await;

    // Streams say what is gone, at last all of it.
    until("the stream says it", async || {
        listener.look(|heard| {
            let mut told = heard
                .others
                .iter()
                .rev()
                .filter_map(|event| match &event.event {
                    Some(v1::event::Event::MessagesForgotten(told)) => Some(told),
                    _ => None,
                });
            let mut of_room = told.find(|told| told.conversation_id == conversation);
            of_room
                .take_if(|told| told.through_sequence == MESSAGES - 40)
                .map(|_| ())
        })
    })
    .await;
    assert_eq!(listener.look(|heard| heard.out_of_order.clone()), None);
    // Nothing is unread that is gone, and no search finds it.
    let fresh = Freshness::Linearizable;
    let lists = b.conversations(10, fresh).await.unwrap();
    let unread: Vec<u64> = lists.iter().map(|row| row.unread).collect();
    assert_eq!(unread, [40, 0]);
    let refused = a
        .edit_message(message(conversation, 1), "anew")
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::NoSuchMessage));
    // Messages go on where they were.
    let sent = a.send(&room("lobby"), "and on").await.unwrap();
    assert_eq!(sent.sequence.0, MESSAGES + 1);
    all_have_forgotten(&cluster, &alice.token, &room("lobby"), MESSAGES - 39).await;
    // Of 80 messages in all the cluster keeps 50: the oldest are in the room.
    let total = v1::ChangeRetentionRequest {
        total_messages: Some(50),
        ..Default::default()
    };
    let set = operator.change_retention(total).await.unwrap();
    assert_eq!((set.total_messages, set.each.unwrap().messages), (50, 40));
    all_have_forgotten(&cluster, &alice.token, &room("lobby"), MESSAGES - 9).await;
    all_have_forgotten(&cluster, &alice.token, &person("bob"), 10).await;
    cluster.leader().await;
    all_agree(&cluster).await;
}

fn message(conversation: u64, sequence: u64) -> MessageRef {
    MessageRef {
        conversation: ConversationId(conversation),
        sequence: Sequence(sequence),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cli_sets_and_shows_what_is_kept() {
    let cluster = Cluster::start(3).await;
    let endpoints: Vec<String> = cluster
        .nodes()
        .iter()
        .map(|n| cluster.endpoint(*n))
        .collect();
    let operator = Person::new(&endpoints);
    let file = cluster.operator_file().await;
    operator
        .run(&["operator", "use", file.to_str().unwrap()])
        .await
        .succeeded();
    let ann = Person::named(&endpoints, "ann").await;
    let shown = ann.run(&["cluster", "retention"]).await.succeeded();
    assert!(shown.contains("age       forever"), "{shown}");
    let refused = ann.run(&["cluster", "retention", "age=90d"]).await;
    refused.failed(4, "credential of an operator");
    let set = [
        "cluster",
        "retention",
        "age=90d",
        "messages=1000",
        "total=1000000",
        "-o",
        "json",
    ];
    let set = operator.run(&set).await.json();
    assert_eq!(set[0]["age_ms"], 90_u64 * 24 * 60 * 60 * 1000);
    assert_eq!(
        (&set[0]["messages"], &set[0]["total"], &set[0]["rooms"]),
        (&json!(1000), &json!(1_000_000), &json!("shorter"))
    );
    let brief = operator.run(&["cluster", "retention", "age=1s"]).await;
    brief.failed(2, "age=1s: messages are kept for a minute");

    ann.run(&["room", "create", "lobby"]).await.succeeded();
    let longer = ann.run(&["room", "retention", "lobby", "age=365d"]).await;
    longer.failed(5, "a room of this cluster cannot keep messages longer");
    ann.run(&["room", "retention", "lobby", "age=7d"])
        .await
        .succeeded();
    let both = ann
        .run(&["room", "retention", "lobby", "messages=10"])
        .await;
    assert!(
        both.stderr
            .contains("#lobby keeps messages: 7d, 10 messages"),
        "{both:?}"
    );
    let listed = ann.run(&["room", "list"]).await.succeeded();
    assert!(listed.contains("7d, 10 messages"), "{listed}");
    let listed = ann.run(&["room", "list", "-o", "json"]).await.json();
    assert_eq!(listed[0]["keeps"]["messages"], 10);

    // What the room has set stays, and more is allowed once the operator says so.
    operator
        .run(&["cluster", "retention", "rooms=longer"])
        .await
        .succeeded();
    let forever = [
        "room",
        "retention",
        "lobby",
        "age=forever",
        "messages=cluster",
    ];
    let forever = ann.run(&forever).await;
    assert!(
        forever
            .stderr
            .contains("#lobby keeps messages: 1000 messages"),
        "{forever:?}"
    );
}
