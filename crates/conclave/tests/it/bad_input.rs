//! Wrong input is refused with a word and a sentence, changes nothing and disturbs no other client:
//! at the command line, on the wire, between the nodes, in the configuration and on the disk.
//!
//! Input that is well-formed and refused all the same is in `bad_requests.rs`.

use std::{fs, time::Duration};

use conclave_client::{
    CallError, Client, Freshness, Login, Page,
    core::{MessageRef, Sequence},
    v1::{
        self, account_service_client::AccountServiceClient,
        admin_service_client::AdminServiceClient, chat_service_client::ChatServiceClient,
    },
};
use conclave_wire::peer::{self, peer_service_client::PeerServiceClient};
use tonic::{Code, transport::Channel};

use crate::{
    command::{ANY_PORT, Home, Person, Ran, Served, not_utf8},
    foreign::{
        call_with_bytes, channel, foreign_peers_are_refused, is_hung_up_on, other_protocols,
        other_than, peer_channel, refusal, with_token,
    },
    support::until,
    witness::{PASSWORD, client_of, person, sign_up},
};

/// Reads that see what other clients have had acknowledged.
pub(crate) const FRESH: Freshness = Freshness::Linearizable;
/// A user who is logged in at one node, with the bare protocol and with the library.
pub(crate) struct User {
    pub(crate) login: Login,
    pub(crate) client: Client,
    pub(crate) bare: ChatServiceClient<Channel>,
}

impl User {
    pub(crate) async fn new(node: &Served, name: &str) -> Self {
        let login = sign_up(&node.client(), name).await;
        Self {
            client: client_of(&node.client_address, &login.token),
            bare: ChatServiceClient::new(channel(&node.client_address).await),
            login,
        }
    }

    /// Returns all texts of the conversation with this person.
    pub(crate) async fn history(&self, with: &str) -> Vec<String> {
        let with = person(with);
        let page = self.client.messages(&with, Page::Newest, 1000, FRESH).await;
        let page = page.unwrap().messages;
        page.into_iter().map(|message| message.text).collect()
    }

    /// Sends a message with this request number, without any check on the client's side.
    pub(crate) async fn send_as(
        &mut self,
        request: Option<(u64, u64)>,
        text: &str,
    ) -> Result<v1::SendMessageResponse, tonic::Status> {
        let to = v1::send_message_request::To::RecipientName("bob".to_owned());
        let message = v1::SendMessageRequest {
            request: request.map(|(number, nonce)| v1::RequestId { number, nonce }),
            to: Some(to),
            text: text.to_owned(),
            ..Default::default()
        };
        let answer = self
            .bare
            .send_message(with_token(message, &self.login.token));
        answer.await.map(tonic::Response::into_inner)
    }
}

/// Returns the reason for which a call was refused.
pub(crate) fn reason<T: std::fmt::Debug>(answer: Result<T, CallError>) -> String {
    let error = answer.expect_err("it is refused");
    error
        .reason()
        .map_or("no reason", conclave_client::Reason::name)
        .to_owned()
}

/// Returns the status of an invalid argument with this reason.
pub(crate) fn invalid(word: &str) -> (Code, String) {
    (Code::InvalidArgument, word.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_passwords_and_texts_out_of_bounds_are_refused() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    let (mut alice, _bob) = (
        User::new(&node, "alice").await,
        User::new(&node, "bob").await,
    );
    let mut accounts = AccountServiceClient::new(channel(&node.client_address).await);
    let mut create = async |name: &str, password: &str| {
        let (name, password) = (name.to_owned(), password.to_owned());
        let request_id = Vec::new().into();
        let request = v1::CreateAccountRequest {
            request_id,
            name,
            password,
            grant: None,
        };
        accounts.create_account(request).await
    };
    let (longest, too_long) = ("n".repeat(32), "n".repeat(33));
    let names = [
        ("", "NAME_EMPTY"),
        (&too_long, "NAME_TOO_LONG"),
        ("al ice", "NAME_CHARACTER"),
        ("alicé", "NAME_CHARACTER"),
        ("a/b", "NAME_CHARACTER"),
        ("a\n", "NAME_CHARACTER"),
        ("*", "NAME_CHARACTER"),
    ];
    for (name, word) in names {
        assert_eq!(
            refusal(create(name, PASSWORD).await),
            invalid(word),
            "{name:?}"
        );
    }
    for (bytes, word) in [(7, "PASSWORD_TOO_SHORT"), (257, "PASSWORD_TOO_LONG")] {
        let refused = refusal(create("carol", &"p".repeat(bytes)).await);
        assert_eq!(refused, invalid(word));
    }
    create("s", &"p".repeat(8)).await.unwrap();
    create(&longest, &"p".repeat(256)).await.unwrap();
    let taken = (Code::AlreadyExists, "NAME_TAKEN".to_owned());
    assert_eq!(refusal(create("ALICE", PASSWORD).await), taken);

    let longest = "x".repeat(16 * 1024);
    assert_eq!(
        refusal(alice.send_as(Some((1, 1)), "").await),
        invalid("TEXT_EMPTY")
    );
    let refused = refusal(alice.send_as(Some((2, 1)), &format!("{longest}x")).await);
    assert_eq!(refused, invalid("TEXT_TOO_LONG"));
    alice.send_as(Some((3, 1)), &longest).await.unwrap();
    let nothing = alice.client.delete_messages(&[], false).await;
    assert_eq!(reason(nothing), "LIST_EMPTY");
    assert_eq!(alice.history("bob").await, [longest]);

    at_the_command_line(&node).await;
    let all = alice
        .client
        .list_all_accounts("", 1000, FRESH)
        .await
        .unwrap();
    assert_eq!(all.len(), 5, "{all:?}");
}

/// Checks the exit codes: each says what kind of mistake it is.
async fn at_the_command_line(node: &Served) {
    let cli = Person::named(std::slice::from_ref(&node.client_address), "cli").await;
    let too_long = "x".repeat(16 * 1024 + 1);
    let cases: [(&[&str], i32, &str); 12] = [
        (&["account", "create", "a b"], 2, "name"),
        (&["account", "create", "cli"], 5, "taken"),
        (&["account", "list", "[x"], 2, "pattern"),
        (&["account", "delete"], 2, "no terminal"),
        (&["send", "mallory", "hi"], 3, "account"),
        (&["send", "bob", ""], 2, "text"),
        (&["send", "bob", &too_long], 2, "text"),
        (&["delete", "99.1"], 3, ""),
        (&["delete", "99"], 2, "two numbers"),
        (&["read", "--with", "a b"], 2, "name"),
        (&["login", "mallory"], 4, "password"),
        (&["frobnicate"], 2, "frobnicate"),
    ];
    for (args, code, part) in cases {
        cli.run(args).await.failed(code, part);
    }
    let stdin = ["account", "create", "carol", "--password-stdin"];
    cli.run_with(&stdin, b"short\n").await.failed(2, "password");
    cli.run_with(&stdin, b"").await.failed(2, "password");
    cli.run(&["whoami", "--endpoints", "nonsense"])
        .await
        .failed(2, "nonsense");
    // No server listens there: port 1 is unused.
    let nowhere = [
        "send",
        "bob",
        "x",
        "--endpoints",
        "127.0.0.1:1",
        "--timeout",
        "1",
    ];
    cli.run(&nowhere).await.failed(69, "127.0.0.1:1");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_utf8_in_a_message_is_refused_at_the_byte_level() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    let (alice, bob) = (
        User::new(&node, "alice").await,
        User::new(&node, "bob").await,
    );
    let connection = channel(&node.client_address).await;
    let send = async |number: u8, text: &[u8]| {
        // Field 1: number and nonce; field 2: the recipient; field 4: the text.
        let head = [
            0x0a, 4, 0x08, number, 0x10, 1, 0x12, 3, b'b', b'o', b'b', 0x22,
        ];
        let length = u8::try_from(text.len()).unwrap();
        let message = [&head[..], &[length], text].concat();
        let path = "/conclave.v1.ChatService/SendMessage";
        call_with_bytes(&connection, path, &alice.login.token, message).await
    };
    send(1, "früher".as_bytes()).await.unwrap();
    let bad: [&[u8]; 4] = [b"\xff\xfe", b"cut \xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80"];
    for (number, text) in (2..).zip(bad) {
        let refused = send(number, text).await.unwrap_err();
        assert!(refused.message().contains("UTF-8"), "{refused:?}");
    }
    // A length that points beyond the end of the message.
    let cut = vec![0x22, 0x7f, b'x'];
    let path = "/conclave.v1.ChatService/SendMessage";
    assert!(
        call_with_bytes(&connection, path, &alice.login.token, cut)
            .await
            .is_err()
    );
    // The same connection still works, and the request numbers were not used up.
    send(2, b"later").await.unwrap();

    let terminal = Person::new(std::slice::from_ref(&node.client_address));
    terminal.run(&["login", "bob"]).await.succeeded();
    let lines = b"good\n\xff\xfe\nnot sent\n";
    let ran = terminal.run_with(&["send", "alice"], lines).await;
    assert_eq!(ran.stdout, "sent 1.3\n");
    ran.failed(2, "line 2: it is not UTF-8");
    let mut command = terminal.command(&["send", "alice"]);
    command.arg(not_utf8());
    crate::command::run(command, b"").await.failed(2, "UTF-8");
    assert_eq!(bob.history("alice").await, ["früher", "later", "good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_frame_is_refused() {
    let home = Home::new().await;
    let node = home.alone("data").await;
    let (mut alice, _bob) = (
        User::new(&node, "alice").await,
        User::new(&node, "bob").await,
    );
    let huge = "x".repeat(2 * 1024 * 1024);
    let refused = alice.send_as(Some((1, 1)), &huge).await.unwrap_err();
    let sizes = [Code::OutOfRange, Code::ResourceExhausted];
    assert!(sizes.contains(&refused.code()), "{refused:?}");
    // The connection still works as before.
    alice.send_as(Some((1, 1)), "small").await.unwrap();
    let huge_list: Vec<MessageRef> = (1..=501)
        .map(|sequence| MessageRef {
            conversation: conclave_client::core::ConversationId(1),
            sequence: Sequence(sequence),
        })
        .collect();
    let refused = alice.client.delete_messages(&huge_list, false).await;
    assert_eq!(reason(refused), "LIST_TOO_LONG");
    assert_eq!(alice.history("bob").await, ["small"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_wrong_port_are_refused() {
    let home = Home::new().await;
    let (_, nodes) = home.three().await;
    let alice = User::new(&nodes[0], "alice").await;
    alice.client.send(&person("alice"), "before").await.unwrap();
    let before = status(&home, &nodes[0]).await;
    let wrong_port = (Code::FailedPrecondition, "WRONG_PORT".to_owned());
    for node in &nodes {
        let clients = channel(&node.client_address).await;
        let own = status(&home, node).await.node_id;
        let peers = peer_channel(&home, &node.peer_address, other_than(own));
        let mut lost_client = AdminServiceClient::new(peers.clone());
        let answer = lost_client.get_cluster_status(v1::GetClusterStatusRequest {});
        assert_eq!(refusal(answer.await), wrong_port);
        let mut lost_peer = PeerServiceClient::new(clients);
        let answer = lost_peer.get_node_status(peer::GetNodeStatusRequest { envelope: None });
        assert_eq!(refusal(answer.await), wrong_port);
        foreign_peers_are_refused(&before.cluster_id, own, PeerServiceClient::new(peers)).await;
        for address in [&node.client_address, &node.peer_address] {
            for (what, bytes) in other_protocols() {
                is_hung_up_on(address, what, &bytes).await;
            }
        }
    }
    // The library gives up instead of trying forever.
    let lost = Client::builder()
        .endpoints([&nodes[0].peer_address])
        .total_timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    lost.login("alice", PASSWORD).await.unwrap_err();
    let after = status(&home, &nodes[0]).await;
    let lead = |status: &v1::GetClusterStatusResponse| (status.leader_id, status.nodes[0].term);
    assert_eq!(lead(&before), lead(&after), "a leader was deposed");
    alice.client.send(&person("alice"), "after").await.unwrap();
    assert_eq!(alice.history("alice").await, ["before", "after"]);
    assert!(nodes.iter().all(|node| !node.log().contains("panicked")));
}

async fn status(home: &Home, node: &Served) -> v1::GetClusterStatusResponse {
    let client = node.client().with_operator(&home.operator().await);
    until("the node knows the operator", async || {
        let status = client.cluster_status(&node.client_address).await;
        status.ok().filter(|status| !status.partial)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_comes_from_file_environment_and_flags() {
    let home = Home::new().await;
    let file = home.path("conclave.toml");
    let path = file.to_str().unwrap();
    let data = home.path("from-file");
    let text = format!(
        "data = {:?}\nnode = 4\nclient_address = {ANY_PORT:?}\npeer_address = {ANY_PORT:?}\n",
        data.to_str().unwrap()
    );
    fs::write(&file, &text).unwrap();
    let log = home.path("log");
    let start = async |args: &[&str], environment: &[(&str, &str)]| {
        let args = [&["--config", path], args].concat();
        Served::start(&log, &args, environment).await
    };
    let number = |served: Result<Served, Ran>| {
        let line = served.unwrap().line;
        line.rsplit_once("node=").unwrap().1.to_owned()
    };
    assert_eq!(number(start(&[], &[]).await), "4");
    assert!(data.join("identity.json").exists());
    // The environment overrides the file, and a flag overrides both.
    let (second, third) = (home.path("second"), home.path("third"));
    let second = ("CONCLAVE_DATA", second.to_str().unwrap());
    let node = ("CONCLAVE_NODE", "5");
    assert_eq!(number(start(&[], &[second, node]).await), "5");
    let flags = ["--node", "6", "--data", third.to_str().unwrap()];
    assert_eq!(number(start(&flags, &[second, node]).await), "6");
    let by_environment = [("CONCLAVE_CONFIG", path)];
    assert_eq!(number(Served::start(&log, &[], &by_environment).await), "4");
    // All members, according to each of the three.
    let members = "4=10.255.0.1:1/10.255.0.1:2,5=10.255.0.2:1/10.255.0.2:2";
    let secret = home.secret_file();
    let text = format!("{text}secret_file = '{}'\n", secret.display());
    let file_with = format!("{text}members = [{}]\n", members.replace(',', "','"));
    let file_with = file_with.replace('[', "['").replace(']', "']");
    fs::write(&file, &file_with).unwrap();
    let elsewhere = |name: &str| home.path(name).to_str().unwrap().to_owned();
    let (a, b, c) = (elsewhere("a"), elsewhere("b"), elsewhere("c"));
    let started = [
        start(&["--data", &a], &[]).await,
        start(&["--data", &b], &[("CONCLAVE_MEMBERS", members)]).await,
        start(&["--data", &c, "--members", members], &[]).await,
    ];
    for served in started {
        let served = served.unwrap();
        // Without the other member no operator exists yet.
        let client = served.client();
        let told = client.cluster_status(&served.client_address).await.unwrap();
        let numbers: Vec<u64> = told.nodes.iter().map(|node| node.node_id).collect();
        assert_eq!(numbers, [4, 5], "{told:?}");
    }
    // Unknown keys and values that cannot be parsed are refused by name.
    let wrong = [
        ("nodes = 3\n", "nodes"),
        ("node = 'three'\n", "node"),
        ("node = [\n", "TOML parse error at line 1"),
        ("[server]\nnode = 3\n", "server"),
    ];
    for (text, part) in wrong {
        fs::write(&file, text).unwrap();
        start(&[], &[]).await.unwrap_err().failed(2, part);
    }
    fs::write(&file, "").unwrap();
    let bad = start(&[], &[("CONCLAVE_NODE", "three")]).await;
    bad.unwrap_err().failed(2, "CONCLAVE_NODE");
    let bad = start(&["--nodes", "3"], &[]).await;
    bad.unwrap_err().failed(2, "--nodes");
    fs::remove_file(&file).unwrap();
    start(&[], &[])
        .await
        .unwrap_err()
        .failed(2, "conclave.toml");
}
