//! The limits of an account are counted once for the whole cluster: no node and no fail-over gives
//! the account more, and each refusal says when to retry.

use std::time::Duration;

use conclave_client::{
    CallError, Client,
    core::{AccountName, Recipient},
};
use conclave_wire::{
    Problem,
    v1::{self, chat_service_client::ChatServiceClient, send_message_request::To},
};
use tokio::time::Instant;
use tonic::{Request, transport::Channel};
use tonic_types::StatusExt as _;

use crate::support::{Cluster, until};

/// Number of messages that may be sent at once. Further ones are allowed one a minute: slower than
/// any fail-over.
const BURST: u64 = 3;

fn to(name: &str) -> Recipient {
    Recipient::Account(AccountName::new(name).unwrap())
}

/// Returns a cluster of three with an account that has used up its limit.
async fn exhausted() -> (Cluster, Client, String) {
    let cluster = Cluster::start(3).await;
    let (root, _) = cluster.administrator().await;
    let limits = [("messages-per-minute", 1), ("messages-burst", BURST)];
    let limits = limits.map(|(name, value)| (name.to_owned(), value));
    root.set_account_limits(limits).await.unwrap();
    let anonymous = cluster.client();
    for name in ["alice", "bob"] {
        anonymous.create_account(name, "open sesame").await.unwrap();
    }
    let login = anonymous.login("alice", "open sesame").await.unwrap();
    let alice = anonymous.with_token(&login.token).unwrap();
    for _ in 0..BURST {
        alice.send(&to("bob"), "hello").await.unwrap();
    }
    (cluster, alice, login.token)
}

/// Sends a message to one node, without a library that waits; returns the refusal.
async fn attempt(cluster: &Cluster, node: u64, token: &str, number: u64) -> Option<Problem> {
    let address = format!("http://{}", cluster.endpoint(node));
    let channel = Channel::from_shared(address).unwrap().connect_lazy();
    let mut request = Request::new(v1::SendMessageRequest {
        request: Some(v1::RequestId { number, nonce: 1 }),
        to: Some(To::RecipientName("bob".to_owned())),
        text: "more".to_owned(),
        ..v1::SendMessageRequest::default()
    });
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let sent = ChatServiceClient::new(channel).send_message(request).await;
    let status = sent.err()?;
    let problem = Problem::from_status(&status)?;
    if let Problem::RateLimited { wait_ms, .. } = problem {
        let told = status.get_details_retry_info().unwrap().retry_delay;
        assert_eq!(told, Some(Duration::from_millis(wait_ms)));
        assert!(wait_ms <= 60_000, "{wait_ms}");
    }
    Some(problem)
}

/// Returns the answer of a node, once it is one that a serving node gives.
async fn told(cluster: &Cluster, node: u64, token: &str, number: u64) -> Option<Problem> {
    until("a node can say yes or no", async || {
        match attempt(cluster, node, token, number).await {
            Some(Problem::NoLeader { .. } | Problem::OutcomeUnknown { .. }) => None,
            told => Some(told),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_bucket_is_empty_on_every_node_and_after_a_fail_over() {
    let (cluster, alice, token) = exhausted().await;
    let began = Instant::now();
    for node in cluster.nodes() {
        let next = alice_next(&alice).await;
        let told = told(&cluster, node, &token, next).await;
        let limited = matches!(told, Some(Problem::RateLimited { .. }));
        assert!(
            limited || began.elapsed() > Duration::from_secs(55),
            "{node}: {told:?}"
        );
    }
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    let next = alice_next(&alice).await;
    let node = cluster.nodes().into_iter().find(|node| *node != leader);
    let told = told(&cluster, node.unwrap(), &token, next).await;
    let limited = matches!(told, Some(Problem::RateLimited { .. }));
    assert!(
        limited || began.elapsed() > Duration::from_secs(55),
        "{told:?}"
    );
    cluster.start_node(leader).await;
}

/// Returns the next number that the session has not used.
async fn alice_next(alice: &Client) -> u64 {
    let session = alice
        .session(conclave_client::Freshness::Linearizable)
        .await;
    session.unwrap().request_number_last + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_waits_out_a_rate_limit_or_reports_not_done() {
    let (cluster, alice, _) = exhausted().await;
    // A minute is longer than the deadline of a call.
    let refused = alice.send(&to("bob"), "more").await.unwrap_err();
    assert!(matches!(refused, CallError::NotDone { .. }), "{refused:?}");
    assert!(
        refused.to_string().contains("too many messages"),
        "{refused}"
    );
    let (root, limit) = (cluster.client(), |value| {
        [("messages-per-minute".to_owned(), value)]
    });
    let login = root
        .login("root", crate::support::ROOT_PASSWORD)
        .await
        .unwrap();
    let root = root.with_token(&login.token).unwrap();
    // Half a second is shorter. Under changed limits the bucket is full at first.
    root.set_account_limits(limit(120)).await.unwrap();
    let began = Instant::now();
    for number in 1..=BURST + 2 {
        let sent = alice.send(&to("bob"), "more").await.unwrap();
        assert_eq!(sent.sequence.0, BURST + number);
    }
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "it did not wait"
    );
}
