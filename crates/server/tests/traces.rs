//! Traces as a collector of OpenTelemetry gets them, over real gRPC.

#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "traces/collector.rs"]
mod collector;
mod people;

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use collector::{Collector, Hanging, Seen, names};
use conclave_server::{ClusterSecret, Node, NodeConfig, Registration, Sample, TraceConfig};
use conclave_wire::v1::{
    self, chat_service_client::ChatServiceClient, list_messages_request::Conversation,
    send_message_request::To, session_service_client::SessionServiceClient,
};
use futures::future::join_all;
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use people::{PASSWORD, PATIENCE, Person, World, metric};
use tokio::time::{Instant, timeout};
use tonic::Request;

const TEXT: &str = "the text of a message";
const SEND: &str = "conclave.v1.ChatService/SendMessage";
const FORWARD: &str = "conclave.peer.v1.PeerService/Forward";
/// The trace and the span of a client.
const PARENT: (u128, u64) = (
    0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
    0xb7ad_6b71_6920_3331,
);

/// Settings of a node that traces every call.
fn traced(collector: &str) -> NodeConfig {
    NodeConfig {
        client_address: "127.0.0.1:0".to_owned(),
        peer_address: "127.0.0.1:0".to_owned(),
        admin_address: Some("127.0.0.1:0".to_owned()),
        registration: Some(Registration::Open),
        trace: TraceConfig {
            otlp: Some(collector.to_owned()),
            sample: Sample::try_from(1.0).unwrap(),
        },
        ..NodeConfig::default()
    }
}

/// Starts three nodes that trace every call.
async fn three(collector: &str, secret: &Path) -> Vec<World> {
    let text = ClusterSecret::generate().unwrap().to_text();
    std::fs::write(secret, text).unwrap();
    // All are held until all are known, so that no two are the same.
    let held: Vec<_> = (0..6)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let addresses = held
        .iter()
        .map(|held| held.local_addr().unwrap().to_string());
    let addresses: Vec<_> = addresses.collect();
    drop(held);
    let pairs: Vec<_> = addresses.chunks(2).collect();
    let members = (1..).zip(&pairs);
    let members = members.map(|(node, pair)| format!("{node}={}/{}", pair[0], pair[1]));
    let members: Vec<_> = members.collect();
    let nodes = (1..).zip(&pairs).map(|(node, pair)| {
        World::of(NodeConfig {
            node: Some(node),
            members: members.clone(),
            peer_address: pair[0].clone(),
            client_address: pair[1].clone(),
            secret_file: Some(secret.to_owned()),
            ..traced(collector)
        })
    });
    timeout(PATIENCE, join_all(nodes)).await.unwrap()
}

fn message(number: u64) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        request: Some(v1::RequestId { number, nonce: 7 }),
        to: Some(To::RecipientName("alice".to_owned())),
        text: TEXT.to_owned(),
        ..Default::default()
    }
}

/// Adds the header of a client that traces its calls.
fn within_trace<T>(mut request: Request<T>) -> Request<T> {
    let (trace, span) = PARENT;
    let header = format!("00-{trace:032x}-{span:016x}-01");
    let header = header.parse().unwrap();
    request.metadata_mut().insert("traceparent", header);
    request
}

/// Returns those of a trace, by their numbers.
fn of_trace(seen: &[Seen], trace: u128) -> BTreeMap<Vec<u8>, Seen> {
    let id = trace.to_be_bytes();
    let of = seen.iter().filter(|seen| seen.span.trace_id == id);
    of.map(|seen| (seen.span.span_id.clone(), seen.clone()))
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "spans have the time of the system"
)]
fn unix_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_nanos().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_through_a_follower_is_one_trace() {
    let began = unix_nanos();
    let collector = Collector::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut nodes = three(&collector.address, &directory.path().join("secret")).await;
    let leader = nodes[0].node.ready().await;
    let follower = nodes.iter().position(|world| world.node.node() != leader);
    let world = &mut nodes[follower.unwrap()];
    let here = world.node.node().to_string();
    world.create("alice", None, None).await.unwrap();
    let alice = world.login("alice").await;
    let mut chat = ChatServiceClient::new(world.channel.clone());
    let sent = chat.send_message(within_trace(alice.ask(message(1)))).await;
    sent.unwrap();

    let leader = leader.to_string();
    let (here, leader) = (&*here, &*leader);
    let expected = [
        (here, SEND),
        (here, "queue"),
        (here, "forward"),
        (leader, FORWARD),
        (leader, "queue"),
        (leader, "propose"),
        (leader, "append"),
        (leader, "replicate"),
        (leader, "apply"),
    ];
    let mut expected = Vec::from(expected);
    expected.sort_unstable();
    let is_whole = |seen: &[Seen]| of_trace(seen, PARENT.0).len() >= expected.len();
    let seen = collector.until(is_whole).await;
    let spans = of_trace(&seen, PARENT.0);
    let all: Vec<Seen> = spans.values().cloned().collect();
    assert_eq!(names(&all).into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(spans.len(), expected.len(), "each step once");

    // Each step lies in the one around it: that of the client is the first.
    let around = |name: &str| {
        let of = spans
            .values()
            .find(|seen| (&*seen.node, &*seen.span.name) == (leader, name));
        let mut names = Vec::new();
        let mut next = of.map(|seen| seen.span.parent_span_id.clone()).unwrap();
        while let Some(seen) = spans.get(&next) {
            names.push(seen.span.name.clone());
            next.clone_from(&seen.span.parent_span_id);
        }
        assert_eq!(next, PARENT.1.to_be_bytes());
        names
    };
    assert_eq!(around("append"), ["propose", FORWARD, "forward", SEND]);
    for Seen { span, .. } in spans.values() {
        assert!(began <= span.start_time_unix_nano);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(span.end_time_unix_nano <= unix_nanos());
        assert!(span.status.is_none(), "{span:?}");
        let kind = match &*span.name {
            SEND | FORWARD => SpanKind::Server,
            "forward" => SpanKind::Client,
            _ => SpanKind::Internal,
        };
        assert_eq!(span.kind(), kind, "{}", span.name);
    }
    let call = spans.values().find(|seen| seen.span.name == SEND).unwrap();
    let attributes = call.span.attributes.iter().map(|one| &*one.key);
    let attributes: Vec<_> = attributes.collect();
    assert_eq!(attributes, ["rpc.system", "rpc.grpc.status_code"]);

    // Nothing that people wrote is in any span, and nothing by which they prove who they are.
    let bytes = collector.bytes();
    for secret in [TEXT, PASSWORD, &alice.token, "alice"] {
        let found = bytes
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        assert!(!found, "`{secret}` was sent to the collector");
    }
    for world in &nodes {
        world.node.stop(Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_session_names_no_trace() {
    let collector = Collector::start().await;
    let mut world = World::of(traced(&collector.address)).await;
    world.create("alice", None, None).await.unwrap();
    let login = v1::OpenSessionRequest {
        request_id: world.request_id().into(),
        name: "alice".to_owned(),
        password: "another".to_owned(),
        ..Default::default()
    };
    let mut sessions = SessionServiceClient::new(world.channel.clone());
    let refused = sessions
        .open_session(within_trace(Request::new(login)))
        .await;
    refused.unwrap_err();
    // A call that is refused by its headers is not even traced.
    let mut chat = ChatServiceClient::new(world.channel.clone());
    let refused = chat
        .send_message(within_trace(Request::new(message(1))))
        .await;
    refused.unwrap_err();
    let alice = world.login("alice").await;
    chat.send_message(alice.ask(message(1))).await.unwrap();

    let is_whole = |seen: &[Seen]| names(seen).contains(&("1", SEND));
    let seen = collector.until(is_whole).await;
    assert!(of_trace(&seen, PARENT.0).is_empty());
    let logins = seen
        .iter()
        .filter(|seen| seen.span.name.ends_with("OpenSession"));
    let logins: Vec<_> = logins.collect();
    assert_eq!(logins.len(), 2);
    for login in logins {
        assert!(login.span.parent_span_id.is_empty());
        // A wrong password is no fault of the server.
        let status = login.span.status.clone().unwrap_or_default();
        assert_ne!(status.code(), StatusCode::Error);
    }
    let sends = seen.iter().filter(|seen| seen.span.name == SEND);
    assert_eq!(sends.count(), 1);
    world.node.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_a_host_and_a_port_without_encryption() {
    for (wrong, said) in [
        ("", "http://HOST:PORT"),
        ("127.0.0.1:4317", "http://HOST:PORT"),
        ("http://", "http://HOST:PORT"),
        ("http://127.0.0.1", "http://HOST:PORT"),
        ("http://127.0.0.1:0", "http://HOST:PORT"),
        ("http://127.0.0.1:4317/v1/traces", "http://HOST:PORT"),
        ("http://user:secret@127.0.0.1:4317", "http://HOST:PORT"),
        ("grpc://127.0.0.1:4317", "http://HOST:PORT"),
        ("https://127.0.0.1:4317", "https"),
    ] {
        let data = tempfile::tempdir().unwrap();
        let config = NodeConfig {
            data: data.path().to_owned(),
            ..traced(wrong)
        };
        let refused = Node::start(config).await.map(drop).unwrap_err().to_string();
        assert!(refused.contains(said), "{wrong}: {refused}");
        let left = std::fs::read_dir(data.path()).unwrap();
        assert_eq!(left.count(), 0, "nothing was begun");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_are_sent_before_a_node_stops() {
    let collector = Collector::start().await;
    let mut world = World::of(traced(&collector.address)).await;
    world.create("alice", None, None).await.unwrap();
    let alice = world.login("alice").await;
    send(&world, &alice, 1..2).await;
    world.node.stop(Duration::from_secs(5)).await;
    assert!(names(&collector.seen()).contains(&("1", SEND)));
}

async fn send(world: &World, person: &Person, numbers: std::ops::Range<u64>) {
    let mut chat = ChatServiceClient::new(world.channel.clone());
    for number in numbers {
        let sent = timeout(PATIENCE, chat.send_message(person.ask(message(number))));
        sent.await.unwrap().unwrap();
    }
}

/// Messages that have more spans than wait for a collector and fit one request.
const MANY: u64 = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_costs_no_message_and_no_time() {
    let collector = Hanging::start();
    let limit = Duration::from_secs(4);
    let mut world = World::of(traced(&collector.address)).await;
    let alice = world.administrator("alice").await;
    let unlimited = [("messages-per-minute", 0), ("bytes-per-minute", 0)];
    let unlimited = unlimited.map(|(name, value)| v1::AccountLimit {
        name: name.to_owned(),
        value,
        ..Default::default()
    });
    let request = v1::SetAccountLimitsRequest {
        request: world.number(),
        limits: unlimited.into(),
    };
    let set = world.admin().set_account_limits(alice.ask(request)).await;
    set.unwrap();
    send(&world, &alice, 100..100 + MANY).await;
    let dropped = "conclave_trace_spans_dropped_total{reason=\"queue_full\"}";
    assert!(metric(&world, dropped).await > 0);
    assert_eq!(metric(&world, "conclave_trace_spans_sent_total").await, 0);
    let request = v1::ListMessagesRequest {
        conversation: Some(Conversation::PeerName("alice".to_owned())),
        page_size: 1000,
        ..Default::default()
    };
    let mut chat = ChatServiceClient::new(world.channel.clone());
    let page = chat.list_messages(alice.ask(request)).await.unwrap();
    let last = page
        .into_inner()
        .messages
        .iter()
        .map(|one| one.sequence)
        .max();
    assert_eq!(last, Some(MANY));
    let began = Instant::now();
    world.node.stop(limit).await;
    let took = began.elapsed();
    assert!(took < limit, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_collector_costs_no_message_and_is_counted() {
    let collector = Hanging::start();
    let address = collector.address.clone();
    drop(collector);
    let mut world = World::of(traced(&address)).await;
    world.create("alice", None, None).await.unwrap();
    let alice = world.login("alice").await;
    send(&world, &alice, 1..4).await;
    let dropped = "conclave_trace_spans_dropped_total{reason=\"collector\"}";
    let noticed = async {
        while metric(&world, dropped).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, noticed).await.unwrap();
    let began = Instant::now();
    let limit = Duration::from_secs(4);
    world.node.stop(limit).await;
    assert!(began.elapsed() < limit);
}
