//! A node as programs see it that post to a room by plain HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;

use conclave_server::{Node, NodeConfig};
use conclave_wire::v1::{
    self, account_service_client::AccountServiceClient, chat_service_client::ChatServiceClient,
    room_service_client::RoomServiceClient, session_service_client::SessionServiceClient,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Request, transport::Channel};

/// A node with one account, which has a room.
struct World {
    node: Node,
    _data: tempfile::TempDir,
    channel: Channel,
    token: String,
    number: u64,
}

impl World {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = NodeConfig {
            plain: true,
            data: data.path().to_owned(),
            client_address: "127.0.0.1:0".to_owned(),
            peer_address: "127.0.0.1:0".to_owned(),
            unsafe_no_sync: true,
            ..NodeConfig::default()
        };
        let node = Node::start(config).await.unwrap();
        node.ready().await;
        let address = format!("http://{}", node.client_address());
        let channel = Channel::from_shared(address)
            .unwrap()
            .connect()
            .await
            .unwrap();
        let (name, password) = ("anna", "correct horse");
        let account = v1::CreateAccountRequest {
            name: name.to_owned(),
            password: password.to_owned(),
            ..Default::default()
        };
        let mut accounts = AccountServiceClient::new(channel.clone());
        accounts.create_account(account).await.unwrap();
        let login = v1::OpenSessionRequest {
            name: name.to_owned(),
            password: password.to_owned(),
            ..Default::default()
        };
        let mut sessions = SessionServiceClient::new(channel.clone());
        let session = sessions.open_session(login).await.unwrap().into_inner();
        let mut world = Self {
            node,
            _data: data,
            channel,
            token: session.token,
            number: 0,
        };
        let room = v1::CreateRoomRequest {
            request: world.next(),
            name: "ops".to_owned(),
            ..Default::default()
        };
        world.rooms().create_room(world.asks(room)).await.unwrap();
        world
    }

    fn rooms(&self) -> RoomServiceClient<Channel> {
        RoomServiceClient::new(self.channel.clone())
    }

    fn next(&mut self) -> Option<v1::RequestId> {
        self.number += 1;
        Some(v1::RequestId {
            number: self.number,
            nonce: 1,
        })
    }

    fn asks<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let header = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", header);
        request
    }

    /// Creates a webhook; returns its number and path.
    async fn webhook(&mut self, account: &str) -> (u64, String) {
        let webhook = v1::CreateWebhookRequest {
            request: self.next(),
            name: "ops".to_owned(),
            account_name: account.to_owned(),
            ..Default::default()
        };
        let made = self.rooms().create_webhook(self.asks(webhook)).await;
        let made = made.unwrap().into_inner();
        (made.webhook_id, made.path)
    }

    /// Returns sender and text of every message in the room.
    async fn texts(&self) -> Vec<(String, String)> {
        self.page(0).await
    }

    /// Returns sender and text of the messages in the room after a sequence.
    async fn page(&self, after: u64) -> Vec<(String, String)> {
        let page = v1::ListMessagesRequest {
            conversation: Some(v1::list_messages_request::Conversation::RoomName(
                "ops".to_owned(),
            )),
            from: Some(v1::list_messages_request::From::AfterSequence(after)),
            page_size: 1000,
            ..Default::default()
        };
        let mut chat = ChatServiceClient::new(self.channel.clone());
        let page = chat.list_messages(self.asks(page)).await.unwrap();
        let told = page.into_inner().messages.into_iter();
        told.map(|message| (message.sender_name, message.text))
            .collect()
    }

    async fn post(&self, path: &str, more: &str, body: &str) -> (u16, String, Value) {
        let headers = format!("content-type: application/json\r\n{more}");
        http(self.node.client_address(), "POST", path, &headers, body).await
    }
}

/// Makes one call by HTTP/1.1; returns the status, the head and the body.
async fn http(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: conclave\r\nconnection: close\r\n\
         content-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The node may close the connection if it refuses the call before it has read the body.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (
        status,
        head.to_lowercase(),
        serde_json::from_str(body).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyed_post_is_sent_once_and_has_one_answer() {
    let mut world = World::start().await;
    let (_, path) = world.webhook("builds").await;
    let (key, body) = ("idempotency-key: build-7\r\n", r#"{"text": "green"}"#);
    let (status, _, first) = world.post(&path, key, body).await;
    assert_eq!((status, &first["sequence"]), (200, &json!(1)));
    assert!(first["position"].as_u64().unwrap() > 0);
    let (status, _, again) = world.post(&path, key, body).await;
    assert_eq!((status, &again), (200, &first));
    let green = ("builds".to_owned(), "green".to_owned());
    assert_eq!(world.texts().await, std::slice::from_ref(&green));

    let (status, _, other) = world.post(&path, key, r#"{"text": "red"}"#).await;
    assert_eq!(
        (status, &other["error"]["reason"]),
        (409, &json!("REQUEST_REUSED"))
    );

    // A key belongs to the bytes that were sent, and not to the text that they make.
    let same_text = r#"{"text": "green", "icon": "x"}"#;
    let event = format!("{key}x-github-event: push\r\n");
    for (headers, body) in [(key, same_text), (&event, body)] {
        let (status, _, other) = world.post(&path, headers, body).await;
        let reason = &other["error"]["reason"];
        assert_eq!((status, reason), (409, &json!("REQUEST_REUSED")), "{body}");
    }
    let again = world.post(&path, key, body).await;
    assert_eq!((again.0, &again.2), (200, &first));

    // Another webhook has keys of its own, and posts without a key are different posts.
    let (_, path) = world.webhook("alarms").await;
    for key in [key, "", ""] {
        assert_eq!(world.post(&path, key, body).await.0, 200);
    }
    let from_alarms = ("alarms".to_owned(), "green".to_owned());
    let expected = [green, from_alarms.clone(), from_alarms.clone(), from_alarms];
    assert_eq!(world.texts().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_post_gets_a_sentence_with_the_cause() {
    let mut world = World::start().await;
    let (_, path) = world.webhook("builds").await;
    let address = world.node.client_address();
    let good = r#"{"text": "green"}"#;
    let long = format!(r#"{{"text": "{}"}}"#, "x".repeat(256 * 1024));
    let unknown = format!("/hooks/{}", "A".repeat(43));
    let xml = "content-type: text/xml\r\n";
    let packed = "content-encoding: br\r\n";
    let wide = "content-type: application/json; charset=utf-16\r\n";
    let bad_key = "idempotency-key:\r\n";
    let answers = [
        (world.post(&path, "", "green").await, 400, "BODY_INVALID"),
        (
            world.post(&path, "", r#"{"text": ""}"#).await,
            400,
            "TEXT_EMPTY",
        ),
        (
            world.post(&path, bad_key, good).await,
            400,
            "IDEMPOTENCY_KEY_INVALID",
        ),
        (world.post(&unknown, "", good).await, 404, "NO_SUCH_WEBHOOK"),
        (
            world.post("/hooks/x/y", "", good).await,
            404,
            "NO_SUCH_WEBHOOK",
        ),
        (
            world.post("/hooks/", "", good).await,
            404,
            "NO_SUCH_WEBHOOK",
        ),
        (
            http(address, "GET", &path, "", "").await,
            405,
            "METHOD_NOT_ALLOWED",
        ),
        (world.post(&path, "", &long).await, 413, "BODY_TOO_LONG"),
        (
            http(address, "POST", &path, xml, good).await,
            415,
            "CONTENT_TYPE_INVALID",
        ),
        (
            http(address, "POST", &path, packed, good).await,
            415,
            "CONTENT_ENCODING_INVALID",
        ),
        (
            http(address, "POST", &path, wide, good).await,
            415,
            "CHARSET_INVALID",
        ),
    ];
    for ((status, head, body), expected, reason) in answers {
        assert_eq!(
            (status, &body["error"]["reason"]),
            (expected, &json!(reason))
        );
        assert!(head.contains("content-type: application/json"), "{head}");
        let sentence = body["error"]["sentence"].as_str().unwrap();
        assert!(!sentence.is_empty() && !sentence.contains(&path["/hooks/".len()..]));
    }
    assert_eq!(world.texts().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlong_webhook_text_is_cut_and_the_answer_says_so() {
    let mut world = World::start().await;
    let (_, path) = world.webhook("builds").await;
    let long = format!(r#"{{"text": "{}"}}"#, "long ".repeat(10_000));
    // Some senders add a slash to each address, here behind the secret.
    let (status, _, told) = world.post(&format!("{path}/"), "", &long).await;
    assert_eq!((status, &told["cut"]), (200, &json!(true)));
    let texts = world.texts().await;
    assert!(texts[0].1.ends_with("16 KiB)") && texts[0].1.len() <= 16 * 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn corpus_bodies_are_posted_or_refused_with_the_cause() {
    let mut world = World::start().await;
    let (_, path) = world.webhook("world").await;
    let address = world.node.client_address();
    let mut expected = Vec::new();
    for line in [
        include_str!("webhook_bodies/slack.jsonl"),
        include_str!("webhook_bodies/mattermost.jsonl"),
        include_str!("webhook_bodies/grafana.jsonl"),
        include_str!("webhook_bodies/alertmanager.jsonl"),
        include_str!("webhook_bodies/github.jsonl"),
    ]
    .into_iter()
    .flat_map(str::lines)
    {
        let case: Value = serde_json::from_str(line).unwrap();
        let body = match &case["body"] {
            Value::String(body) => body.clone(),
            body => body.to_string(),
        };
        let mut headers = String::new();
        let kind = case["type"].as_str().unwrap_or("application/json");
        if !kind.is_empty() {
            headers += &format!("content-type: {kind}\r\n");
        }
        if let Some(event) = case["event"].as_str() {
            headers += &format!("x-github-event: {event}\r\n");
        }
        let (status, _, told) = http(address, "POST", &path, &headers, &body).await;
        let name = &case["name"];
        match case["refused"].as_str() {
            Some(reason) => {
                assert!((400..500).contains(&status), "{name}: {status} {told}");
                assert_eq!(told["error"]["reason"], reason, "{name}");
            }
            None => assert_eq!(status, 200, "{name}: {told}"),
        }
        match case["nothing"] == true {
            true => assert_eq!(told["posted"], false, "{name}"),
            false if status == 200 => expected.push(case),
            false => {}
        }
    }
    let mut texts = Vec::new();
    while texts.len() < expected.len() {
        let after = texts.len() as u64;
        texts.extend(world.page(after).await);
    }
    assert_eq!(texts.len(), expected.len());
    for ((_, text), case) in texts.iter().zip(&expected) {
        for part in case["says"].as_array().unwrap() {
            assert!(text.contains(part.as_str().unwrap()), "{case}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_webhook_refuses_posts() {
    let mut world = World::start().await;
    let (webhook_id, path) = world.webhook("builds").await;
    let list = v1::ListWebhooksRequest {
        name: "OPS".to_owned(),
        ..Default::default()
    };
    let listed = world.rooms().list_webhooks(world.asks(list)).await;
    let listed = listed.unwrap().into_inner().webhooks;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].webhook_id, listed[0].by_name.as_str()),
        (webhook_id, "anna")
    );
    let delete = v1::DeleteWebhookRequest {
        request: world.next(),
        webhook_id,
    };
    let deleted = world.rooms().delete_webhook(world.asks(delete)).await;
    assert!(deleted.unwrap().into_inner().position > 0);
    let (status, ..) = world.post(&path, "", r#"{"text": "green"}"#).await;
    assert_eq!(status, 404);
}
