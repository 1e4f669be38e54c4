//! Texts that people write, in every script: passwords of other keyboards, names, reactions,
//! mentions and messages, with the real program and the library, on a cluster of real processes.

use std::collections::BTreeSet;

use conclave_client::{
    CallError, Client, Freshness,
    core::{ConversationId, MessageRef, Progress, Recipient, RoomName, Sequence},
};
use conclave_text::is_hidden;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use crate::{
    command::Person,
    support::Cluster,
    witness::{agreed_digests, client_of, sign_up},
};

/// Number of texts of each kind that a run sends.
const TEXTS: usize = 40;

fn endpoints(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.nodes().into_iter();
    nodes.map(|node| cluster.endpoint(node)).collect()
}

fn reason<T: std::fmt::Debug>(refused: Result<T, CallError>) -> String {
    let refused = refused.expect_err("it is refused");
    refused
        .reason()
        .map_or("", conclave_client::Reason::name)
        .to_owned()
}

fn room(name: &str) -> Recipient {
    Recipient::Room(RoomName::new(name).unwrap())
}

fn message(conversation: u64, sequence: u64) -> MessageRef {
    MessageRef {
        conversation: ConversationId(conversation),
        sequence: Sequence(sequence),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_another_unicode_form_is_the_same_password() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    let (composed, apart) = ("pässwörter\u{a0}eins", "pa\u{308}sswo\u{308}rter eins");
    client.create_account("alice", composed).await.unwrap();
    let login = client.login("alice", apart).await.unwrap();
    client.login("alice", composed).await.unwrap();
    let wrong = client.login("alice", "passworter eins").await;
    assert_eq!(reason(wrong), "WRONG_CREDENTIALS");

    // The password is changed with one spelling and verified with the other, at another node.
    let session = client.with_token(&login.token).unwrap();
    let (other, other_apart) = ("ключ Ёжика й", "ключ Е\u{308}жика и\u{306}");
    session.change_password(apart, other_apart).await.unwrap();
    let login = client.login("alice", other).await.unwrap();
    let follower = cluster.endpoint(cluster.a_follower().await);
    let session = client_of(&follower, &login.token);
    let hidden = session
        .change_password(other_apart, "password\u{200b}1")
        .await;
    assert_eq!(reason(hidden), "PASSWORD_CHARACTER");
    let short = session.change_password(other, "яяяя").await;
    assert_eq!(reason(short), "PASSWORD_TOO_SHORT");
    session.delete_account(other_apart).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_reactions_and_mentions_follow_the_unicode_rules() {
    let cluster = Cluster::start(3).await;
    let alice = Person::named(&endpoints(&cluster), "alice").await;
    let bob = Person::named(&endpoints(&cluster), "bob").await;
    let display =
        async |person: &Person, name: &str| person.run(&["account", "display-name", name]).await;
    display(
        &alice,
        "  Алиса\u{3000}Ивановна-Петровская из Новосибирска ",
    )
    .await
    .succeeded();
    display(&alice, "Alice").await.succeeded();
    display(&bob, "Ali\u{202e}ce").await.failed(2, "U+202E");
    display(&bob, "\u{200b}").await.failed(2, "shows nothing");
    display(&bob, &"я".repeat(65))
        .await
        .failed(2, "64 characters; this one has 65");
    display(&bob, "Аlice")
        .await
        .failed(5, "looks like that of another account");
    display(&bob, "Боб").await.succeeded();
    let alike = bob.run(&["account", "create", "aIice"]).await;
    alike.failed(5, "looks like that of another account");

    alice.run(&["room", "create", "ops"]).await.succeeded();
    bob.run(&["room", "join", "ops"]).await.succeeded();
    alice.run(&["send", "#ops", "hello"]).await.succeeded();
    alice
        .run(&["send", "#ops", "\u{200b} \u{2800}"])
        .await
        .failed(2, "the text is empty");
    let kiss = "👩🏻\u{200d}❤\u{fe0f}\u{200d}💋\u{200d}👨🏾";
    for reaction in [kiss, "❤", ":+1:"] {
        alice.run(&["react", "1.1", reaction]).await.succeeded();
    }
    for reaction in ["❤\u{fe0f}", "+1"] {
        bob.run(&["react", "1.1", reaction]).await.succeeded();
    }
    alice
        .run(&["react", "1.1", "\u{200b}"])
        .await
        .failed(2, "shows nothing");
    alice
        .run(&["react", "1.1", "two words"])
        .await
        .failed(2, "one emoji");
    let seen = alice
        .run(&["read", "--with", "#ops", "-o", "json"])
        .await
        .json();
    let counted = seen[0]["reactions"].as_array().unwrap().iter();
    let counted: BTreeSet<(&str, u64)> = counted
        .map(|reaction| {
            let count = reaction["count"].as_u64().unwrap();
            (reaction["reaction"].as_str().unwrap(), count)
        })
        .collect();
    assert_eq!(
        counted,
        BTreeSet::from([(kiss, 1), ("❤\u{fe0f}", 2), ("+1", 2)])
    );

    // Bob has read the message; then an edit mentions him.
    let mentions = async |person: &Person| {
        let told = person.run(&["conversations", "-o", "json"]).await.json();
        told[0]["unread_mentions"].as_u64().unwrap()
    };
    bob.run(&["read", "--with", "#ops"]).await.succeeded();
    assert_eq!(mentions(&bob).await, 0);
    alice
        .run(&["edit", "1.1", "hello, _@bob_"])
        .await
        .succeeded();
    assert_eq!(mentions(&bob).await, 1);
    alice
        .run(&["edit", "1.1", "hello, 中文@bob中文"])
        .await
        .succeeded();
    assert_eq!(mentions(&bob).await, 1);
    bob.run(&["read", "--with", "#ops"]).await.succeeded();
    assert_eq!(mentions(&bob).await, 0);
    alice
        .run(&["send", "#ops", "`@bob` bob@example.com https://x/@bob"])
        .await
        .succeeded();
    assert_eq!(mentions(&bob).await, 0);
    alice
        .run(&["send", "#ops", "ask @bob.Then sleep"])
        .await
        .succeeded();
    assert_eq!(mentions(&bob).await, 1);
}

/// Makes one request with a random text; a refusal is an answer like any other.
async fn try_text(client: &Client, number: usize, text: &str) {
    let tried = match number % 4 {
        0 => client.send(&room("hall"), text).await.map(|_| ()),
        1 => client.set_display_name(text).await.map(|_| ()),
        2 => client
            .set_reaction(message(1, 1), text, true)
            .await
            .map(|_| ()),
        _ => client.set_topic("hall", text).await.map(|_| ()),
    };
    if let Err(error) = tried {
        let reason = error
            .reason()
            .map_or("", conclave_client::Reason::name)
            .to_owned();
        let known = [
            "TEXT_EMPTY",
            "LINE_INVALID",
            "REACTION_INVALID",
            "NAME_ALIKE",
            "TOO_MANY",
        ];
        assert!(known.contains(&&*reason), "{text:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unicode_texts_agree_on_all_nodes_and_show_nothing_hidden() {
    let cluster = Cluster::start(3).await;
    let reader = Person::named(&endpoints(&cluster), "reader").await;
    reader.run(&["room", "create", "hall"]).await.succeeded();
    let writer = sign_up(&cluster.client(), "writer").await;
    let clients = endpoints(&cluster);
    let clients: Vec<Client> = clients
        .iter()
        .map(|at| client_of(at, &writer.token))
        .collect();
    clients[0].join_room("hall").await.unwrap();
    let root = "first @reader \u{202e}\u{1b}[31m\u{200b}";
    clients[0].send(&room("hall"), root).await.unwrap();
    // Gives the role that may set topics.
    let raised = ["room", "role", "hall", "writer", "moderator"];
    reader.run(&raised).await.succeeded();

    let mut runner = TestRunner::deterministic();
    let hostile = "[\\u{0}-\\u{20}\\u{ad}\\u{200b}-\\u{202e}\\u{2066}-\\u{2069}\\u{fe0f}\\u{e0001}\
                   -\\u{e007f}👩💻🏴a1@`]{1,12}";
    let texts = proptest::prop_oneof![".{1,20}", "\\PC{1,9}", hostile];
    for number in 0..4 * TEXTS {
        let text = texts.new_tree(&mut runner).unwrap().current();
        try_text(&clients[number % clients.len()], number, &text).await;
    }

    for args in [
        &["read", "--with", "#hall", "--limit", "1000"][..],
        &["read", "--with", "#hall", "--limit", "1000", "-o", "json"],
        &["room", "list"],
        &["room", "members", "hall"],
        &["account", "list"],
        &["conversations"],
    ] {
        let shown = reader.run(args).await.succeeded();
        let stays = |c: char| {
            matches!(
                c,
                '\n' | '\t' | '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}'
            )
        };
        let hidden = shown.chars().find(|c| is_hidden(*c) && !stays(*c));
        assert_eq!(hidden, None, "{args:?}: {shown:?}");
    }
    let seen = reader
        .run(&["read", "--with", "#hall", "--limit", "1000"])
        .await
        .succeeded();
    assert!(seen.contains("first @reader [31m"), "{seen:?}");
    let progress = Progress {
        delivered: Sequence(1),
        read: Sequence(1),
    };
    clients[0]
        .advance(&[(ConversationId(1), progress)])
        .await
        .unwrap();
    let list = clients[1]
        .conversations(10, Freshness::Linearizable)
        .await
        .unwrap();
    assert_eq!(list.len(), 1);
    let digests = agreed_digests(&cluster).await;
    let distinct: BTreeSet<_> = digests.iter().map(|(_, of)| of.digest.clone()).collect();
    assert_eq!((digests.len(), distinct.len()), (3, 1));
}
