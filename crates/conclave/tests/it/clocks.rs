//! Real nodes whose clocks are wrong, and one that is cut off from the others.

use std::time::Duration;

use conclave_client::{Client, Freshness, Grant};
use conclave_wire::v1::{self, live_service_client::LiveServiceClient};
use tokio::time::timeout;
use tonic::{Request, Streaming, transport::Channel};

use crate::{
    support::{Cluster, PATIENCE, until},
    witness::Witness,
};

const FIVE_YEARS_MS: i64 = 5 * 365 * 24 * 60 * 60 * 1000;
/// Maximum error of a date on a busy machine.
pub(crate) const NEAR_MS: u64 = 5 * 60 * 1000;
const HOUR: Duration = Duration::from_secs(3600);
const STALE: Freshness = Freshness::Stale { min_position: 0 };

/// Returns the time of this machine's clock.
#[expect(clippy::disallowed_methods, reason = "the test compares with it")]
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_clock_five_years_ahead_affects_no_expiry_or_date() {
    let cluster = Cluster::start_with_clocks(&[(1, FIVE_YEARS_MS), (2, 0), (3, 0)]).await;
    let (root, _) = cluster.administrator().await;
    let witness = Witness::new();
    let alice = witness.speaker(&cluster.client(), "alice", "bob").await;
    alice.say().await.unwrap();
    until("the node whose clock is wrong leads", async || {
        let moved = root.transfer_leader(1).await;
        (moved.ok()? == 1).then_some(())
    })
    .await;
    let invite = root.create_invite(HOUR, 1).await.unwrap();
    let token = root.create_join_token(HOUR, false).await.unwrap();
    for expires_at_ms in [invite.expires_at_ms, token.expires_at_ms] {
        let left = expires_at_ms.abs_diff(now_ms() + 3_600_000);
        assert!(left < NEAR_MS, "an hour is {left} ms off");
    }
    for _ in 0..5 {
        alice.say().await.unwrap();
    }
    until("the status names the node", async || {
        let status = cluster.status(2).await;
        let off: Vec<_> = status
            .nodes
            .iter()
            .filter(|node| node.clock_is_off)
            .collect();
        let skew_ms = off.first()?.clock_skew_ms?;
        assert!(skew_ms.abs_diff(FIVE_YEARS_MS) < NEAR_MS, "{skew_ms}");
        (off.len() == 1 && off[0].node_id == 1).then_some(())
    })
    .await;
    let lines = cluster
        .log(1)
        .matches("the clock of this node is off")
        .count();
    assert_eq!(lines, 1, "one line for one change");

    // The next leader's clock is right, and its state is as it was.
    cluster.kill(1).await;
    alice.say().await.unwrap();
    let grant = Grant::Invite(invite.code);
    let made = root.create_account_with("carol", "correct horse battery", grant);
    made.await.unwrap();
    let messages = alice.all_messages_at(&cluster.endpoint(2)).await;
    assert_eq!(messages.len(), 7);
    for message in messages {
        let off = message.sent_at_ms.abs_diff(now_ms());
        assert!(off < NEAR_MS, "a message is dated {off} ms off");
    }
}

/// Returns a client that knows only this node.
fn at(cluster: &Cluster, node: u64, token: &str) -> Client {
    let builder = Client::builder().endpoints([cluster.endpoint(node)]);
    builder.token(token).build().unwrap()
}

/// Opens a stream of one node.
async fn stream_of(cluster: &Cluster, node: u64, token: &str) -> Streaming<v1::SubscribeResponse> {
    let address = format!("http://{}", cluster.endpoint(node));
    let channel = Channel::from_shared(address).unwrap().connect().await;
    let request = v1::SubscribeRequest {
        heartbeat_ms: 500,
        ..v1::SubscribeRequest::default()
    };
    let mut request = Request::new(request);
    let header = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", header);
    let mut live = LiveServiceClient::new(channel.unwrap());
    live.subscribe(request).await.unwrap().into_inner()
}

/// Waits until the node ends a stream, and returns the reason.
async fn end_of(mut stream: Streaming<v1::SubscribeResponse>) -> String {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return "it ended without a word".to_owned(),
            Err(status) => {
                let problem = conclave_wire::Problem::from_status(&status);
                return problem.map_or(status.to_string(), |found| found.reason().to_string());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_node_stops_serving_stale_reads_and_streams() {
    let mut cluster = Cluster::prepare(3).await;
    for node in 1..=3 {
        cluster.set_variable(node, "CONCLAVE_STALE_SECONDS", "2");
    }
    cluster.start_all().await;
    let (root, token) = cluster.administrator().await;
    root.session(Freshness::Linearizable).await.unwrap();
    cluster.all_rejoined().await;
    let left = cluster.a_follower().await;
    let lone = at(&cluster, left, &token);
    lone.session(STALE).await.unwrap();
    let others: Vec<u64> = (1..=3).filter(|node| *node != left).collect();
    let stream = stream_of(&cluster, left, &token).await;
    for node in &others {
        cluster.pause(*node).await;
    }
    assert_eq!(timeout(PATIENCE, end_of(stream)).await.unwrap(), "CUT_OFF");
    let refused = lone.session(STALE).await.unwrap_err().to_string();
    assert!(refused.contains("is cut off"), "{refused}");
    for node in &others {
        cluster.resume(*node).await;
    }
    until("it tells again what it has", async || {
        lone.session(STALE).await.ok()
    })
    .await;
}
