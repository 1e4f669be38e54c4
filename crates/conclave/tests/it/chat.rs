//! People talk: by the command line, by the library and by the bare protocol, on a cluster of real
//! processes.

use conclave_client::{
    CallError, Client, Freshness, Login, Page, Sent, StartAt,
    core::{ConversationId, MessageRef, Position, Progress, Recipient, Sequence},
    v1::{self, session_service_client::SessionServiceClient},
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::timeout,
};

use crate::{
    command::{Person, run},
    support::{Cluster, PATIENCE, until},
    witness::{PASSWORD, client_of, next_message, person, sign_up},
};

/// Reads that see what other clients have had acknowledged.
const FRESH: Freshness = Freshness::Linearizable;
/// A page size larger than any conversation here.
const ALL: usize = 1000;

/// A user who is logged in.
struct User {
    login: Login,
    client: Client,
}

impl User {
    async fn new(cluster: &Cluster, name: &str) -> Self {
        let stranger = cluster.client();
        let login = sign_up(&stranger, name).await;
        let client = stranger.with_token(&login.token).unwrap();
        Self { login, client }
    }

    /// Returns a client of the same person that knows only this node.
    fn at(&self, endpoint: &str) -> Client {
        client_of(endpoint, &self.login.token)
    }

    async fn send(&self, to: &str, text: &str) -> Sent {
        self.client.send(&person(to), text).await.unwrap()
    }

    async fn page(&self, with: &str, page: Page, count: usize) -> v1::ListMessagesResponse {
        let with = person(with);
        self.client
            .messages(&with, page, count, FRESH)
            .await
            .unwrap()
    }

    async fn history(&self, with: &str) -> Vec<v1::Message> {
        self.page(with, Page::Newest, ALL).await.messages
    }

    async fn advance(&self, conversation: u64, delivered: u64, read: u64) {
        let progress = Progress {
            delivered: Sequence(delivered),
            read: Sequence(read),
        };
        let position = (ConversationId(conversation), progress);
        self.client.advance(&[position]).await.unwrap();
    }
}

fn texts(messages: &[v1::Message]) -> Vec<&str> {
    messages.iter().map(|m| m.text.as_str()).collect()
}

fn reference(message: &v1::Message) -> MessageRef {
    MessageRef {
        conversation: ConversationId(message.conversation_id),
        sequence: Sequence(message.sequence),
    }
}

fn endpoints(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.nodes().into_iter();
    nodes.map(|node| cluster.endpoint(node)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_chat_from_the_command_line() {
    let cluster = Cluster::start(3).await;
    let alice = Person::named(&endpoints(&cluster), "alice").await;
    let bob = Person::new(&endpoints(&cluster));
    // A message for an account that is not logged in waits.
    bob.run(&["account", "create", "bob"]).await.succeeded();
    let sent = alice.run(&["send", "bob", "are you there?"]).await;
    assert_eq!(sent.succeeded(), "sent 1.1\n");
    bob.run(&["whoami"]).await.failed(4, "not logged in");
    bob.run(&["login", "bob"]).await.succeeded();
    assert_eq!(bob.run(&["whoami"]).await.succeeded(), "bob\n");
    let me = bob.run(&["whoami", "-o", "json"]).await.json();
    assert_eq!(me[0]["name"], "bob");

    let unread = ["read", "--unread", "10", "-o", "json"];
    let seen = bob.run(&unread).await.json();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let (from, text) = (&seen[0]["from"], &seen[0]["text"]);
    assert_eq!((from, text), (&json!("alice"), &json!("are you there?")));
    assert_eq!(
        bob.run(&unread).await.json(),
        Vec::<serde_json::Value>::new()
    );

    let lines = b"yes\nand you?\n";
    let sent = bob.run_with(&["send", "alice", "-"], lines).await;
    assert_eq!(sent.succeeded(), "sent 1.2\nsent 1.3\n");
    let talk = alice.run(&["read", "--with", "bob", "-o", "json"]).await;
    let talk = talk.json();
    let said: Vec<_> = talk.iter().map(|line| &line["text"]).collect();
    assert_eq!(said, ["are you there?", "yes", "and you?"]);
    assert_eq!(talk[0]["delivery"], "read", "{talk:?}");
    let plain = alice.run(&["read", "--with", "bob", "--limit", "1"]).await;
    let plain = plain.succeeded();
    assert!(plain.ends_with("bob → alice  1.3  and you?\n"), "{plain}");
    let list = alice.run(&["conversations", "-o", "json"]).await.json();
    assert_eq!(list[0]["with"], "bob");
    assert_eq!(list[0]["messages"], 3);

    let tolerates_one = async || {
        let status = alice.run(&["cluster", "status", "-o", "json"]).await;
        (status.json()[0]["tolerates"] == 1).then_some(())
    };
    until("every node answers", tolerates_one).await;
    bob.run(&["logout"]).await.succeeded();
    bob.run(&["read"]).await.failed(4, "not logged in");
    alice.run(&["account", "delete", "--yes"]).await.succeeded();
    alice.run(&["login", "alice"]).await.failed(4, "password");
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_ends_only_that_session_and_may_be_repeated() {
    let cluster = Cluster::start(1).await;
    let first = User::new(&cluster, "alice").await;
    let second = User::new(&cluster, "alice").await;
    assert_ne!(first.login.session, second.login.session);
    first.client.logout().await.unwrap();
    first.client.logout().await.unwrap();
    let refused = [
        first.client.session(FRESH).await.map(drop),
        first.client.unread(1, FRESH).await.map(drop),
        first.client.send(&person("alice"), "x").await.map(drop),
        first.client.delete_account(PASSWORD).await,
    ];
    for outcome in refused {
        let expired = matches!(outcome, Err(CallError::SessionExpired { .. }));
        assert!(expired, "{outcome:?}");
    }
    second.send("alice", "still here").await;
    assert_eq!(texts(&second.history("alice").await), ["still here"]);

    // A retry on the wire succeeds, also after the session has ended.
    let close = || {
        let mut request = tonic::Request::new(v1::CloseSessionRequest {
            request: Some(v1::RequestId {
                number: 200,
                nonce: 1,
            }),
        });
        let token = format!("Bearer {}", second.login.token).parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        request
    };
    let address = format!("http://{}", cluster.endpoint(1));
    let mut service = SessionServiceClient::connect(address).await.unwrap();
    let answer = service.close_session(close()).await.unwrap().into_inner();
    let again = service.close_session(close()).await.unwrap().into_inner();
    // The retry may name a later position of the log: everything before it has been applied, too.
    assert!(answer.position > 0 && again.position >= answer.position);

    // Two terminals of one person.
    let one = Person::named(&endpoints(&cluster), "bob").await;
    let other = Person::new(&endpoints(&cluster));
    other.run(&["login", "bob"]).await.succeeded();
    let kept = std::fs::read(one.credentials()).unwrap();
    one.run(&["logout"]).await.succeeded();
    assert_eq!(other.run(&["whoami"]).await.succeeded(), "bob\n");
    // The ended session is logged out once more, as if the answer had been lost.
    let token: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    let token = token["token"].as_str().unwrap();
    for (line, code) in [("logout", 0), ("whoami", 4)] {
        let mut command = one.command(&[line]);
        command.env("CONCLAVE_TOKEN", token);
        let ran = run(command, b"").await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
    }
    assert_eq!(other.run(&["whoami"]).await.succeeded(), "bob\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_listed_by_wildcard_and_page() {
    let cluster = Cluster::start(1).await;
    let names = ["Anton", "anna", "bert", "carl_1", "carl_22", "d.e-f"];
    for name in names {
        cluster
            .client()
            .create_account(name, "password")
            .await
            .unwrap();
    }
    let user = User::new(&cluster, "zoe").await;
    let sorted = ["anna", "Anton", "bert", "carl_1", "carl_22", "d.e-f", "zoe"];
    let cases: [(&str, &[&str]); 9] = [
        ("", &sorted),
        ("*", &sorted),
        ("an*", &["anna", "Anton"]),
        ("AN*", &["anna", "Anton"]),
        ("?ert", &["bert"]),
        ("*_?", &["carl_1"]),
        ("*r*", &["bert", "carl_1", "carl_22"]),
        ("anna", &["anna"]),
        ("ann", &[]),
    ];
    for (pattern, expected) in cases {
        let found = user.client.list_all_accounts(pattern, ALL, FRESH).await;
        let found = found.unwrap();
        let found: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(found, expected, "{pattern}");
    }
    // Pages of two: each message exactly once, and the last page says that it is the last.
    let mut paged = Vec::new();
    let mut token = String::new();
    loop {
        let page = user.client.list_accounts("", 2, &token, FRESH).await;
        let page = page.unwrap();
        assert!(page.accounts.len() <= 2);
        paged.extend(page.accounts.into_iter().map(|account| account.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, sorted);
    let alice = Person::named(&endpoints(&cluster), "alice").await;
    let listed = alice.run(&["account", "list", "an*", "-o", "json"]).await;
    let listed = listed.json();
    assert_eq!((&listed[0]["name"], listed.len()), (&json!("anna"), 2));
    let listed = alice.run(&["account", "list", "bert"]).await.succeeded();
    assert!(listed.contains("\tbert\t"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_messages_come_in_order_the_next_n_at_a_time() {
    let cluster = Cluster::start(3).await;
    let alice = User::new(&cluster, "alice").await;
    let carol = User::new(&cluster, "carol").await;
    let bob = User::new(&cluster, "bob").await;
    let mut sent = Vec::new();
    for number in 0..8 {
        let (from, text) = match number % 3 {
            0 => (&carol, format!("carol {number}")),
            _ => (&alice, format!("alice {number}")),
        };
        from.send("bob", &text).await;
        sent.push(text);
    }
    // The reader's own messages are not unread.
    bob.send("alice", "my own").await;
    let mut seen = Vec::new();
    for expected in sent.chunks(3) {
        let next = bob.client.unread(3, FRESH).await.unwrap();
        assert_eq!(texts(&next), expected);
        let again = bob.client.unread(3, FRESH).await.unwrap();
        assert_eq!(again, next, "asking alone marks nothing");
        for message in &next {
            let (conversation, sequence) = (message.conversation_id, message.sequence);
            bob.advance(conversation, sequence, sequence).await;
        }
        seen.extend(next);
    }
    assert_eq!(texts(&seen), sent);
    assert_eq!(bob.client.unread(3, FRESH).await.unwrap(), []);
    for text in ["nine", "ten", "eleven"] {
        alice.send("bob", text).await;
    }
    let terminal = Person::new(&endpoints(&cluster));
    terminal.run(&["login", "bob"]).await.succeeded();
    for expected in [vec!["nine", "ten"], vec!["eleven"], vec![]] {
        let read = terminal.run(&["read", "--unread", "2", "-o", "json"]).await;
        let read = read.json();
        let read: Vec<_> = read.iter().map(|line| line["text"].as_str()).collect();
        let expected: Vec<_> = expected.into_iter().map(Some).collect();
        assert_eq!(read, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_a_message_at_once() {
    let cluster = Cluster::start(3).await;
    let alice = User::new(&cluster, "alice").await;
    let bob = User::new(&cluster, "bob").await;
    alice.send("bob", "stored before").await;
    // One program on each node; each shows the stored messages, and then the new ones.
    let mut following = Vec::new();
    for endpoint in endpoints(&cluster) {
        let mut follow = bob.at(&endpoint).subscribe(StartAt::Beginning);
        assert_eq!(next_message(&mut follow).await.text, "stored before");
        following.push(follow);
    }
    let mut own = alice.client.subscribe(StartAt::Beginning);
    assert_eq!(next_message(&mut own).await.text, "stored before");
    for (endpoint, text) in endpoints(&cluster).into_iter().zip(["a", "b", "c"]) {
        let sent = alice.at(&endpoint).send(&person("bob"), text).await;
        let sent = sent.unwrap();
        // No client asks again: the message arrives by itself, on every device.
        for follow in following.iter_mut().chain([&mut own]) {
            let message = next_message(follow).await;
            assert_eq!((&*message.text, message.position), (text, sent.position.0));
        }
    }

    let terminal = Person::new(&endpoints(&cluster));
    terminal.run(&["login", "bob"]).await.succeeded();
    let mut command = terminal.command(&["read", "--follow", "-o", "json"]);
    let mut reading = command.spawn().unwrap();
    let mut lines = BufReader::new(reading.stdout.take().unwrap()).lines();
    for text in ["stored before", "a", "b", "c", "live 1", "live 2"] {
        if text.starts_with("live") {
            alice.send("bob", text).await;
        }
        let line = timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("it is shown").unwrap().unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["text"], text);
    }
    // Messages that were shown are read.
    until("nothing is unread", async || {
        let unread = bob.client.unread(ALL, FRESH).await.unwrap();
        unread.is_empty().then_some(())
    })
    .await;
    reading.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_deleted_for_the_caller_or_for_everyone() {
    let cluster = Cluster::start(3).await;
    let alice = User::new(&cluster, "alice").await;
    let bob = User::new(&cluster, "bob").await;
    let terminal = Person::new(&endpoints(&cluster));
    terminal.run(&["login", "alice"]).await.succeeded();
    for text in ["one", "two", "three", "four", "five"] {
        alice.send("bob", text).await;
    }
    let all = alice.history("bob").await;
    let [one, two, three, four, _] = all.iter().map(reference).collect::<Vec<_>>()[..] else {
        panic!("there are five messages: {all:?}");
    };
    // Deleted for the caller alone: no other account notices.
    assert_eq!(bob.client.delete_messages(&[one], false).await, Ok(1));
    assert_eq!(bob.client.delete_messages(&[one], false).await, Ok(0));
    assert_eq!(texts(&bob.history("alice").await)[..1], ["two"]);
    assert_eq!(alice.history("bob").await, all);
    // Deleted for everyone: the text is gone, the place stays, on every node.
    let several = [two, three];
    assert_eq!(alice.client.delete_messages(&several, true).await, Ok(2));
    let many = [three, four];
    assert_eq!(alice.client.delete_messages(&many, true).await, Ok(1));
    for endpoint in endpoints(&cluster) {
        let (bob, with) = (bob.at(&endpoint), person("alice"));
        let page = bob.messages(&with, Page::Newest, ALL, FRESH).await;
        let page = page.unwrap().messages;
        assert_eq!(texts(&page), ["", "", "", "five"]);
        let deleted: Vec<bool> = page.iter().map(|message| message.deleted).collect();
        assert_eq!(deleted, [true, true, true, false]);
        let places: Vec<u64> = page.iter().map(|message| message.sequence).collect();
        assert_eq!(places, [2, 3, 4, 5]);
    }
    let id = format!("{}.5", one.conversation);
    let delete = ["delete", &id, "--everyone"];
    let told = terminal.run(&delete).await;
    assert!(told.stderr.contains("deleted 1"), "{told:?}");
    told.succeeded();
    let told = terminal.run(&delete).await;
    assert!(told.stderr.contains("1 were deleted before"), "{told:?}");
    assert!(bob.history("alice").await.iter().all(|m| m.deleted));
    assert_eq!(bob.client.unread(ALL, FRESH).await.unwrap(), []);
    // The next message gets the next place: the place of a deleted one is not used again.
    assert_eq!(alice.send("bob", "six").await.sequence, Sequence(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_keeps_every_field() {
    let cluster = Cluster::start(3).await;
    let alice = User::new(&cluster, "alice").await;
    let bob = User::new(&cluster, "Bob").await;
    let text = "naïve 漢字 🎉\n\ttwo lines, \"quoted\" \\ \u{0} 'x'; --";
    alice.send("bob", "before").await;
    let sent = alice.send("bob", text).await;
    let mut expected = v1::Message {
        conversation_id: sent.conversation.0,
        sequence: 2,
        position: sent.position.0,
        sender_id: alice.login.account.id,
        sender_name: "alice".to_owned(),
        recipient_name: "Bob".to_owned(),
        sent_at_ms: sent.sent_at.0,
        text: text.to_owned(),
        deleted: false,
        delivery: v1::Delivery::Queued.into(),
        ..v1::Message::default()
    };
    assert!(sent.sent_at.0 >= bob.login.account.created_at_ms);
    assert!(sent.position > Position(0));
    let progress = [
        (v1::Delivery::Queued, None),
        (v1::Delivery::Delivered, Some((2, 0))),
        (v1::Delivery::Read, Some((2, 2))),
    ];
    for (delivery, come) in progress {
        if let Some((delivered, read)) = come {
            bob.advance(sent.conversation.0, delivered, read).await;
        }
        expected.delivery = delivery.into();
        kept(&cluster, &alice, &sent, &expected).await;
    }
    cluster.kill_all().await;
    cluster.start_all().await;
    kept(&cluster, &alice, &sent, &expected).await;
}

/// Checks that every node shows the message as `expected`.
async fn kept(cluster: &Cluster, reader: &User, sent: &Sent, expected: &v1::Message) {
    for endpoint in endpoints(cluster) {
        for with in [person("bob"), Recipient::Conversation(sent.conversation)] {
            let page = reader.at(&endpoint);
            let page = page.messages(&with, Page::Newest, 1, FRESH).await.unwrap();
            assert_eq!(page.messages, std::slice::from_ref(expected));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn read_messages_stay_in_the_history() {
    let cluster = Cluster::start(1).await;
    let alice = User::new(&cluster, "alice").await;
    let bob = User::new(&cluster, "bob").await;
    let said: Vec<String> = (1..=25).map(|number| format!("word {number}")).collect();
    for (number, text) in said.iter().enumerate() {
        match number % 2 {
            0 => alice.send("bob", text).await,
            _ => bob.send("alice", text).await,
        };
    }
    for (user, with) in [(&alice, "bob"), (&bob, "alice")] {
        let all = user.history(with).await;
        assert_eq!(texts(&all), said);
        user.advance(all[0].conversation_id, 25, 25).await;
        assert_eq!(user.client.unread(ALL, FRESH).await.unwrap(), []);
        assert_eq!(texts(&user.history(with).await), said);
    }
    // The same after a restart, in both directions, for both people.
    cluster.kill(1).await;
    cluster.start_all().await;
    for (user, with) in [(&alice, "bob"), (&bob, "alice")] {
        let mut upwards: Vec<v1::Message> = Vec::new();
        let mut after = 0;
        while upwards.len() < said.len() {
            let page = user.page(with, Page::After(Sequence(after)), 10).await;
            assert!(!page.messages.is_empty(), "it ends after {after}");
            after = page.next_after_sequence;
            upwards.extend(page.messages);
        }
        assert_eq!(texts(&upwards), said);
        let end = user.page(with, Page::After(Sequence(after)), 10).await;
        assert_eq!((end.messages, end.next_after_sequence), (vec![], after));

        let mut downwards: Vec<v1::Message> = Vec::new();
        let mut page = user.page(with, Page::Newest, 10).await;
        loop {
            let before = page.previous_before_sequence;
            downwards.splice(0..0, page.messages);
            if before == 0 {
                break;
            }
            page = user.page(with, Page::Before(Sequence(before)), 10).await;
        }
        assert_eq!(downwards, upwards);
    }
}
