//! Planned work pauses no client: nodes that are asked to stop, nodes that are drained, and a
//! cluster that is restarted node by node as `cluster restart-plan` says.

#![allow(clippy::print_stderr, reason = "it tells what it has measured")]

use std::time::Duration;

use conclave_client::{CallError, Client, Freshness, StartAt, v1};
use conclave_wire::Problem;
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};
use v1::{chat_service_client::ChatServiceClient, live_service_client::LiveServiceClient};

use crate::{
    command::{Home, Person, Ran, Served, run},
    foreign::channel,
    streams::Listener,
    support::{Cluster, PATIENCE, until},
    witness::{Speaker, Talking, Witness, client_of, exists, person, sign_up, stranger_at},
};

/// Number of people who talk while the cluster is restarted, each with connections of its own.
const PEOPLE: usize = 8;
/// Time between two messages of one person.
const PACE: Duration = Duration::from_millis(20);
/// Maximum time that one of a hundred people waits for an acknowledgement because of a planned
/// restart, beyond what the machine makes all wait at any time.
const GAP_P99_MAX: Duration = Duration::from_millis(200);
/// Time for which the nodes of a test still serve calls: longer than the test needs to make some.
const LONG_GRACE_MS: &str = "20000";
/// Maximum time of an end that does not wait for that.
const AT_ONCE: Duration = Duration::from_secs(10);

fn at(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.nodes().into_iter();
    nodes.map(|node| cluster.endpoint(node)).collect()
}

/// Runs a command with the credential of the first operator.
async fn operate(cluster: &Cluster, args: &[&str]) -> Ran {
    let file = cluster.operator_file().await;
    let person = Person::new(&at(cluster));
    let mut command = person.command(args);
    command.env("CONCLAVE_OPERATOR_FILE", file);
    run(command, b"").await
}

/// Returns the status of a node's health page, as load balancers see it.
pub(crate) async fn health(address: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /page/health HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    let start = std::str::from_utf8(&start).unwrap();
    start.strip_prefix("HTTP/1.1 ").unwrap().parse().unwrap()
}

async fn is_draining(cluster: &Cluster, node: u64) -> bool {
    let client = cluster.operator_client().await;
    let other = cluster.nodes().into_iter().find(|other| *other != node);
    let endpoint = cluster.endpoint(other.expect("there are several"));
    let status = client.cluster_status(&endpoint).await.unwrap();
    let own = status.nodes.iter().find(|own| own.node_id == node);
    own.expect("it is a member").draining
}

/// Returns a node that neither leads nor is this one.
async fn third(cluster: &Cluster, node: u64) -> u64 {
    let leader = cluster.leader().await;
    let mut nodes = cluster.nodes().into_iter();
    let third = nodes.find(|third| *third != leader && *third != node);
    third.expect("there are three")
}

/// Returns the text of the status of the cluster, and its warnings.
async fn shown(cluster: &Cluster) -> String {
    let ran = operate(cluster, &["cluster", "status"]).await;
    format!("{}{}", ran.stdout, ran.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_by_the_plan_fails_no_call() {
    let cluster = Cluster::start_undisturbed(5).await;
    let witness = Witness::new();
    let mut speakers: Vec<Speaker> = Vec::new();
    for number in 0..PEOPLE {
        let (own, peer) = (format!("p{number}"), format!("p{}", number ^ 1));
        exists(&cluster.client(), &peer).await;
        speakers.push(witness.speaker(&cluster.client(), &own, &peer).await);
    }
    let login = sign_up(&cluster.client(), "p0").await;
    let reader = cluster.client().with_token(&login.token).unwrap();
    let listener = Listener::start(&cluster, &reader).await;
    let plan = [
        "cluster",
        "restart-plan",
        "-o",
        "json",
        "--restart",
        "restart {node}",
    ];
    let plan = operate(&cluster, &plan).await.json();
    let leader = cluster.leader().await;
    let steps = plan[0].as_array().unwrap();
    assert_eq!(steps.len(), 5);
    assert_eq!(steps[4]["node"].as_u64(), Some(leader), "{steps:?}");
    let calm = gaps_of(&speakers, async {}).await;
    let mut gaps: Vec<Duration> = Vec::new();
    for step in steps {
        let restarted = async {
            for command in step["commands"].as_array().unwrap() {
                obey(&cluster, command.as_str().unwrap()).await;
            }
        };
        gaps.extend(gaps_of(&speakers, restarted).await);
    }
    let (calm_median, calm_p99) = median_and_p99(calm);
    let (median, p99) = median_and_p99(gaps);
    let restarts = steps.len();
    eprintln!(
        "longest wait of each of {PEOPLE} people: without a restart median {calm_median:?}, p99 \
         {calm_p99:?}; at each of {restarts} restarts median {median:?}, p99 {p99:?}"
    );
    assert!(p99 <= GAP_P99_MAX + calm_p99);
    assert_ne!(cluster.leader().await, leader);
    let speakers: Vec<&Speaker> = speakers.iter().collect();
    let verdict = witness.judge(&cluster, &speakers).await;
    assert_eq!(verdict.unknown, 0);
    let place = reader
        .conversations(100, Freshness::Linearizable)
        .await
        .unwrap();
    let place = &place[0];
    let last = usize::try_from(place.sequence_last).unwrap();
    until("the stream has told everything", async || {
        (listener.count(place.id) >= last).then_some(())
    })
    .await;
    listener.look(|heard| {
        assert_eq!(heard.out_of_order, None);
        let sequences = heard.messages[&place.id].iter().map(|m| m.sequence);
        assert!(sequences.eq(1..=place.sequence_last));
    });
}

/// Runs a command of the plan.
async fn obey(cluster: &Cluster, command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    match words[..] {
        ["conclave", ref args @ ..] => {
            operate(cluster, args).await.succeeded();
        }
        ["restart", node] => {
            let node = node.parse().unwrap();
            cluster.stop(node).await;
            cluster.start_node(node).await;
        }
        _ => panic!("not a command of the plan: {command}"),
    }
}

/// Lets all people talk before, during and after `work`, and returns the longest wait of each.
async fn gaps_of(speakers: &[Speaker], work: impl Future<Output = ()>) -> Vec<Duration> {
    let talking = |speaker: &Speaker| speaker.keep_talking_at(PACE);
    let mut all: Vec<_> = speakers.iter().map(talking).collect();
    join_all(all.iter_mut().map(|talking| talking.go_on(50))).await;
    work.await;
    join_all(all.iter_mut().map(|talking| talking.go_on(50))).await;
    let talks = all.into_iter().map(Talking::finish_without_error);
    let talks = join_all(talks).await;
    talks.iter().map(|talk| talk.slowest).collect()
}

fn median_and_p99(mut gaps: Vec<Duration>) -> (Duration, Duration) {
    gaps.sort_unstable();
    let p99 = gaps[(gaps.len() * 99).div_ceil(100) - 1];
    (gaps[gaps.len() / 2], p99)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_node_serves_calls_and_sends_streams_away() {
    let mut cluster = Cluster::prepare(3).await;
    for node in cluster.nodes() {
        cluster.set_variable(node, "CONCLAVE_DRAIN_MS", "5000");
    }
    cluster.start_all().await;
    let alice = sign_up(&cluster.client(), "alice").await;
    exists(&cluster.client(), "bob").await;
    let leaves = cluster.leader().await;
    let address = cluster.endpoint(leaves);
    let only_there = client_of(&address, &alice.token);
    let listener = Listener::start(&cluster, &only_there).await;
    assert_eq!(health(&address).await, 200);

    let mut live = LiveServiceClient::new(channel(&address).await);
    let mut request = tonic::Request::new(v1::SubscribeRequest::default());
    let token = format!("Bearer {}", alice.token);
    let metadata = request.metadata_mut();
    metadata.insert("authorization", token.parse().unwrap());
    let mut stream = live.subscribe(request).await.unwrap().into_inner();
    cluster.ask_to_stop(leaves);
    let mut last = None;
    while let Some(response) = timeout(PATIENCE, stream.message()).await.unwrap().unwrap() {
        last = Some(response);
    }
    let last = last.expect("it says why it ends");
    let kind = last.events.last().and_then(|event| event.event.as_ref());
    let reason = match kind {
        Some(v1::event::Event::GoingAway(going)) => going.reason(),
        other => panic!("{other:?}"),
    };
    assert_eq!(reason, v1::GoingAwayReason::Stopping);
    assert!(!last.resume_token.is_empty());
    // Streams are sent away once another node leads. Calls are still served, and not refused.
    assert_eq!(health(&address).await, 503);
    let warning = format!("node {leaves} is drained or stopping");
    assert!(shown(&cluster).await.contains(&warning));
    let sent = only_there.send(&person("bob"), "during the grace").await;
    sent.expect("the node forwards it");
    let elsewhere = until("the stream goes on elsewhere", async || {
        listener.node().filter(|node| *node != address)
    });
    elsewhere.await;
    cluster.ends(leaves).await;
    assert_ne!(cluster.leader().await, leaves);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_node_at_once() {
    let mut cluster = Cluster::prepare(3).await;
    for node in cluster.nodes() {
        cluster.set_variable(node, "CONCLAVE_DRAIN_MS", LONG_GRACE_MS);
        cluster.set_variable(node, "CONCLAVE_STOP_SECONDS", "60");
    }
    cluster.start_all().await;
    cluster.operator().await;
    let node = cluster.a_follower().await;
    cluster.ask_to_stop(node);
    until("it is stopping", async || {
        is_draining(&cluster, node).await.then_some(())
    })
    .await;
    assert!(!cluster.has_ended(node), "it serves calls for a while");
    let asked = Instant::now();
    cluster.ask_to_stop(node);
    cluster.ends(node).await;
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stops_within_its_deadline_whatever_its_grace() {
    let home = Home::new().await;
    let environment = [
        ("CONCLAVE_DRAIN_MS", LONG_GRACE_MS),
        ("CONCLAVE_STOP_SECONDS", "2"),
    ];
    let node: Served = home.try_alone("data", &[], &environment).await.unwrap();
    let asked = Instant::now();
    node.stop().await;
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_gives_its_clients_away_until_the_drain_ends() {
    let cluster = Cluster::start(3).await;
    let operator = cluster.operator_client().await;
    let alice = sign_up(&cluster.client(), "alice").await;
    exists(&cluster.client(), "bob").await;
    let node = cluster.leader().await;
    let (number, address) = (node.to_string(), cluster.endpoint(node));
    operator.prefer_leader(node).await.unwrap();
    let at_node = client_of(&address, &alice.token);
    let listener = Listener::start(&cluster, &at_node).await;

    let drained = operate(&cluster, &["node", "drain", &number, "-o", "json"]).await;
    let told = &drained.json()[0];
    assert_eq!(told["drained"], true, "{told}");
    assert_ne!(told["leader"], node, "{told}");
    assert_eq!(health(&address).await, 503);
    assert!(is_draining(&cluster, node).await);
    let elsewhere = until("the stream goes on elsewhere", async || {
        listener.node().filter(|other| *other != address)
    });
    elsewhere.await;
    // A call to this node alone is refused, with the reason for which clients go elsewhere.
    let stuck = Client::builder()
        .endpoints([address.as_str()])
        .total_timeout(AT_ONCE)
        .token(&alice.token)
        .build()
        .unwrap();
    let mut sole = ChatServiceClient::new(channel(&address).await);
    let mut request = tonic::Request::new(v1::ListConversationsRequest::default());
    let token = format!("Bearer {}", alice.token);
    let metadata = request.metadata_mut();
    metadata.insert("authorization", token.parse().unwrap());
    let refused = sole.list_conversations(request).await.unwrap_err();
    let problem = Problem::from_status(&refused);
    assert_eq!(problem, Some(Problem::GoingAway));
    assert!(refused.metadata().contains_key("conclave-leader"));
    // The client of the library is led to the others by that hint.
    let sent = stuck.send(&person("bob"), "hello").await;
    sent.expect("another node serves");

    // Without a second voter that stays, no other node may be drained.
    let other = third(&cluster, node).await;
    let refused = operate(&cluster, &["node", "drain", &other.to_string()]).await;
    refused.failed(5, "too few voters");
    let planned = operate(&cluster, &["cluster", "restart-plan"]).await;
    planned.failed(5, "is drained already");
    let waited = operate(&cluster, &["node", "wait", &number, "--within", "1"]).await;
    waited.failed(69, "it was not restarted yet");

    assert_ne!(cluster.leader().await, node, "although it is preferred");
    let by_address = ["node", "undrain", "--endpoints", &address];
    let back = operate(&cluster, &by_address).await.succeeded();
    assert!(
        back.contains(&format!("node {node} serves clients")),
        "{back}"
    );
    until("the preferred leader leads again", async || {
        (cluster.leader().await == node).then_some(())
    })
    .await;
    until("it is ready", async || {
        (health(&address).await == 200).then_some(())
    })
    .await;
    let fresh = stranger_at(&address).with_token(&alice.token).unwrap();
    let mut events = fresh.subscribe(StartAt::Now);
    timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    operate(&cluster, &["node", "wait", &number])
        .await
        .succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_ends_a_drain_and_other_callers_cannot_drain() {
    let cluster = Cluster::start(3).await;
    let node = cluster.a_follower().await;
    let number = node.to_string();
    let ran = Person::new(&at(&cluster))
        .run(&["node", "drain", &number])
        .await;
    ran.failed(4, "credential of an operator");
    let request = v1::DrainNodeRequest {
        node_id: 9,
        ..Default::default()
    };
    let operator = cluster.operator_client().await;
    let unknown = operator.drain_node(request).await.unwrap_err();
    assert!(matches!(unknown, CallError::Refused { .. }), "{unknown:?}");
    operate(&cluster, &["node", "drain", &number])
        .await
        .succeeded();
    // A drained node votes: with it and one other there is a majority.
    let third = third(&cluster, node).await;
    cluster.kill(third).await;
    exists(&cluster.client(), "carol").await;
    cluster.start_node(third).await;
    cluster.stop(node).await;
    cluster.start_node(node).await;
    operate(&cluster, &["node", "wait", &number])
        .await
        .succeeded();
    assert!(!is_draining(&cluster, node).await);
}
