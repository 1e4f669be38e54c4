//! Calls against nodes that fail in every way, over real connections on this machine.

pub(crate) mod fake;
mod flaky_connection;
mod send_stream;

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::{AccountName, Recipient, Rejection};
use conclave_wire::{Problem, Reason, v1};
use futures::future::join_all;
use tokio::time::Instant;

use crate::{
    CallError, Client, Freshness, IN_FLIGHT_MAX, RequestKey,
    tests::fake::{Fake, Step},
};

/// Long enough for an answer on this machine, short enough to wait for in a test.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Time within which a node is asked for a sign of life, and left if it gives none.
const ASK_OTHERS: Duration = Duration::from_millis(600);
const TOTAL_SHORT: Duration = Duration::from_secs(2);
const TOTAL_LONG: Duration = Duration::from_secs(60);

fn client(nodes: &[&Fake], total: Duration) -> Client {
    Client::builder()
        .endpoints(nodes.iter().map(|node| node.address.clone()))
        .token("token")
        .attempt_timeout(ATTEMPT)
        .total_timeout(total)
        .build()
        .unwrap()
}

fn bob() -> Recipient {
    Recipient::Account(AccountName::new("bob").unwrap())
}

fn no_leader() -> Step {
    Step::Problem(Problem::NoLeader {
        nodes_reachable: Some((2, 5)),
    })
}

fn refuse(rejection: Rejection) -> Step {
    Step::Problem(rejection.into())
}

async fn send(client: &Client) -> Result<crate::Sent, CallError> {
    client.send(&bob(), "hi").await
}

#[tokio::test]
async fn a_retry_keeps_number_and_nonce_after_every_failure() {
    let unknown = Step::Problem(Problem::OutcomeUnknown { waited_ms: 1 });
    let node = Fake::start(vec![
        unknown,
        Step::Cut,
        Step::Hang,
        Step::Problem(Problem::Busy),
        Step::Problem(Problem::GoingAway),
        no_leader(),
    ])
    .await;
    node.node.request_last.store(41, Ordering::SeqCst);
    let client = client(&[&node], TOTAL_LONG);
    let sent = send(&client).await.unwrap();
    assert_eq!(sent.sequence.0, 42, "it goes on where the session was");
    let seen = node.sends();
    assert_eq!(seen.len(), 7);
    assert!(seen.iter().all(|id| *id == seen[0]), "{seen:?}");

    send(&client).await.unwrap();
    let next = node.sends()[7];
    assert_eq!((next.number, next.nonce), (43, seen[0].nonce));
}

#[tokio::test]
async fn a_retry_of_a_login_carries_the_same_id_and_token() {
    let node = Fake::start(vec![Step::Cut, no_leader()]).await;
    let login = client(&[&node], TOTAL_LONG)
        .login("alice", "password")
        .await
        .unwrap();
    let seen = node.node.seen.logins.lock().unwrap().clone();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|request| *request == seen[0]));
    assert_eq!(seen[0].request_id.len(), 16);
    assert_eq!(login.token, URL_SAFE_NO_PAD.encode(&seen[0].token));
}

#[tokio::test]
async fn the_node_that_is_named_as_the_leader_is_asked_next() {
    let leader = Fake::start(vec![]).await;
    let name = leader.address.clone();
    let follower = Fake::always(move || Step::AnswerNaming(name.clone())).await;
    let client = client(&[&follower], TOTAL_LONG);
    for _ in 0..3 {
        send(&client).await.unwrap();
    }
    assert_eq!((follower.sends().len(), leader.sends().len()), (1, 2));
    assert_eq!(client.endpoints(), [&*follower.address, &*leader.address]);
}

#[tokio::test]
async fn the_leader_named_in_an_error_gets_the_retry() {
    let (leader, other) = (Fake::start(vec![]).await, Fake::start(vec![]).await);
    let name = leader.address.clone();
    let busy = Step::ProblemNaming(Problem::Busy, name);
    let follower = Fake::start(vec![busy]).await;
    // Without the hint the retry would go to the next in the list.
    let client = client(&[&follower, &other, &leader], TOTAL_LONG);
    send(&client).await.unwrap();
    assert_eq!((other.sends().len(), leader.sends().len()), (0, 1));
}

#[tokio::test]
async fn a_call_moves_to_another_node_when_its_node_dies() {
    let (mut one, two) = (Fake::start(vec![]).await, Fake::start(vec![]).await);
    let client = client(&[&one, &two], TOTAL_LONG);
    send(&client).await.unwrap();
    one.stop().await;
    assert_eq!(send(&client).await.unwrap().sequence.0, 2);
    assert_eq!(two.sends().len(), 1);
}

#[derive(Debug, PartialEq)]
enum Certainty {
    NotDone,
    Unknown,
}

#[tokio::test]
async fn an_error_distinguishes_not_done_from_unknown() {
    use Certainty::{NotDone, Unknown};
    let busy = || Step::Problem(Problem::Busy);
    let going = || Step::Problem(Problem::GoingAway);
    let unknown = || Step::Problem(Problem::OutcomeUnknown { waited_ms: 1 });
    let broken = || {
        Step::Problem(Problem::Broken {
            sentence: "x".to_owned(),
        })
    };
    type Case = (&'static str, Vec<Step>, fn() -> Step, Certainty);
    let cases: [Case; 9] = [
        ("busy", vec![], busy, NotDone),
        ("going away", vec![], going, NotDone),
        ("no leader", vec![], no_leader, Unknown),
        ("unknown", vec![], unknown, Unknown),
        ("broken", vec![], broken, Unknown),
        ("cut", vec![], || Step::Cut, Unknown),
        ("hang", vec![], || Step::Hang, Unknown),
        ("busy after a hang", vec![Step::Hang], busy, Unknown),
        ("going away after a cut", vec![Step::Cut], going, Unknown),
    ];
    let checks = cases
        .into_iter()
        .map(async |(name, script, then, expected)| {
            let node = Fake::always(then).await;
            node.extend(script);
            let started = Instant::now();
            let error = send(&client(&[&node], TOTAL_SHORT)).await.unwrap_err();
            let waited = started.elapsed();
            assert!(waited >= TOTAL_SHORT, "{name}: gave up after {waited:?}");
            assert!(waited < TOTAL_LONG / 2, "{name}: took {waited:?}");
            let first = node.sends()[0];
            match error {
                CallError::NotDone { nodes, .. } => {
                    assert_eq!(expected, NotDone, "{name}");
                    assert_eq!(nodes, [&*node.address], "{name}");
                }
                CallError::Unknown { request, .. } => {
                    assert_eq!(expected, Unknown, "{name}");
                    let v1::RequestId { number, nonce } = first;
                    assert_eq!(request, Some(RequestKey { number, nonce }), "{name}");
                }
                other => panic!("{name}: {other:?}"),
            }
        });
    join_all(checks).await;
}

#[tokio::test]
async fn a_call_that_was_never_sent_is_reported_as_not_done() {
    let mut node = Fake::start(vec![]).await;
    let client = client(&[&node], TOTAL_SHORT);
    send(&client).await.unwrap();
    node.stop().await;
    // The first attempt after the cut may still find the broken connection.
    let _ = send(&client).await;
    let error = send(&client).await.unwrap_err();
    let CallError::NotDone { sentence, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(sentence.contains("cannot connect"), "{sentence}");
    assert_eq!(node.sends().len(), 1);
}

#[tokio::test]
async fn a_read_without_an_answer_is_reported_as_not_done() {
    let node = Fake::always(|| Step::Hang).await;
    let client = client(&[&node], TOTAL_SHORT);
    let error = client.unread(20, Freshness::default()).await.unwrap_err();
    assert!(matches!(error, CallError::NotDone { .. }), "{error:?}");
}

#[tokio::test]
async fn an_unknown_outcome_is_retried_with_the_same_key() {
    let node = Fake::start(vec![Step::Hang, Step::Hang, Step::Hang, Step::Hang]).await;
    let client = client(&[&node], TOTAL_SHORT);
    let Err(CallError::Unknown {
        request: Some(key), ..
    }) = send(&client).await
    else {
        panic!("it should be unknown");
    };
    let sent = loop {
        match client.send_again(key, &bob(), "hi").await {
            Ok(sent) => break sent,
            Err(error) => assert!(matches!(error, CallError::Unknown { .. }), "{error:?}"),
        }
    };
    assert_eq!(sent.sequence.0, key.number);
    let seen = node.sends();
    assert!(seen.iter().all(|id| *id == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn a_thousand_sends_are_pipelined_within_the_bound() {
    const SENDS: usize = 1000;
    /// Divides the number of sends, so that the last ones are answered too.
    const TOGETHER: usize = 125;
    let node = Fake::gated(TOGETHER).await;
    let client = Client::builder()
        .endpoints([&node.address])
        .token("token")
        .build()
        .unwrap();
    let sent = join_all((0..SENDS).map(|_| send(&client))).await;
    let numbers: BTreeSet<u64> = sent.into_iter().map(|s| s.unwrap().sequence.0).collect();
    assert_eq!(numbers, (1..=SENDS as u64).collect());
    let max = node.node.seen.in_flight_max.load(Ordering::SeqCst);
    assert!((TOGETHER..=IN_FLIGHT_MAX).contains(&max), "{max}");
}

#[tokio::test]
async fn a_number_used_by_another_program_is_replaced_by_a_greater() {
    let reused = Rejection::RequestReused { last: 70 };
    let node = Fake::start(vec![Step::Hang, refuse(reused)]).await;
    let client = client(&[&node], TOTAL_LONG);
    assert_eq!(send(&client).await.unwrap().sequence.0, 71);
    assert_eq!(send(&client).await.unwrap().sequence.0, 72);
    let numbers: Vec<u64> = node.sends().iter().map(|id| id.number).collect();
    assert_eq!(numbers, [1, 1, 71, 72]);
}

#[tokio::test]
async fn a_too_old_number_is_replaced_at_first_and_unknown_on_a_retry() {
    let too_old = || refuse(Rejection::RequestTooOld { last: 500 });
    let node = Fake::start(vec![too_old(), Step::Answer, Step::Hang, too_old()]).await;
    let client = client(&[&node], TOTAL_LONG);
    assert_eq!(send(&client).await.unwrap().sequence.0, 501);
    let error = send(&client).await.unwrap_err();
    assert!(matches!(error, CallError::Unknown { .. }), "{error:?}");
}

#[tokio::test]
async fn an_out_of_range_number_is_retried_with_another_nonce() {
    let out_of_range = refuse(Rejection::RequestOutOfRange { last: 5 });
    let node = Fake::start(vec![out_of_range]).await;
    node.node.request_last.store(900, Ordering::SeqCst);
    let client = client(&[&node], TOTAL_LONG);
    assert_eq!(send(&client).await.unwrap().sequence.0, 6);
    let seen = node.sends();
    assert_eq!((seen[0].number, seen[1].number), (901, 6));
    assert_ne!(seen[0].nonce, seen[1].nonce);
}

#[tokio::test]
async fn endless_collisions_end_as_not_done() {
    let node = Fake::always(|| refuse(Rejection::RequestReused { last: 9 })).await;
    let error = send(&client(&[&node], TOTAL_LONG)).await.unwrap_err();
    assert!(matches!(error, CallError::NotDone { .. }), "{error:?}");
}

#[tokio::test]
async fn a_refusal_is_final_and_session_expiry_reports_its_certainty() {
    let expired = || refuse(Rejection::SessionExpired);
    let no_account = refuse(Rejection::NoSuchAccount);
    let node = Fake::start(vec![no_account, expired(), Step::Hang, expired()]).await;
    let client = client(&[&node], TOTAL_LONG);
    let error = send(&client).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::NoSuchAccount));
    for expected in [true, false] {
        match send(&client).await.unwrap_err() {
            CallError::SessionExpired { certain, .. } => assert_eq!(certain, expected),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(node.sends().len(), 4);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let node = Fake::start(vec![]).await;
    let client = Client::builder()
        .endpoints([&node.address])
        .build()
        .unwrap();
    let error = send(&client).await.unwrap_err();
    assert!(
        matches!(error, CallError::SessionExpired { certain: true, .. }),
        "{error:?}"
    );
    assert!(node.sends().is_empty());
}

#[tokio::test]
async fn an_invalid_text_is_refused_before_it_is_sent() {
    let node = Fake::start(vec![]).await;
    let client = client(&[&node], TOTAL_LONG);
    let error = client.send(&bob(), "").await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::TextEmpty));
    assert!(node.sends().is_empty());
}

#[tokio::test]
async fn a_node_that_hangs_is_left_once_another_names_the_leader() {
    let hung = Fake::always(|| Step::Hang).await;
    let leader = Fake::start(vec![]).await;
    let follower = Fake::start(vec![]).await;
    *follower.node.leader.lock().unwrap() = Some(leader.address.clone());
    let client = Client::builder()
        .endpoints([&hung, &follower, &leader].map(|node| node.address.clone()))
        .token("token")
        .attempt_timeout(TOTAL_LONG / 2)
        .total_timeout(TOTAL_LONG)
        .build()
        .unwrap();
    let started = Instant::now();
    send(&client).await.unwrap();
    assert!(started.elapsed() < TOTAL_LONG / 4);
    assert_eq!((hung.sends().len(), leader.sends().len()), (1, 1));
    assert_eq!(hung.sends(), leader.sends(), "the same number");
}

/// Listens at an address that accepts connections and never answers.
async fn mute() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn silent_nodes_are_left_while_another_shows_signs_of_life() {
    let (first, second) = (mute().await, mute().await);
    let well = Fake::start(vec![]).await;
    let client = Client::builder()
        .endpoints([&first.1, &second.1, &well.address])
        .token("token")
        .attempt_timeout(TOTAL_LONG / 2)
        .total_timeout(TOTAL_LONG)
        .build()
        .unwrap();
    let started = Instant::now();
    // A log-in has no short first attempt: it may hash a password.
    client.login("alice", "correct horse").await.unwrap();
    assert!(started.elapsed() < TOTAL_LONG / 4);
}

#[tokio::test]
async fn a_slow_node_that_shows_signs_of_life_is_not_left() {
    let slow = Fake::always(|| Step::Hang).await;
    let well = Fake::start(vec![]).await;
    let limit = 3 * ASK_OTHERS;
    let client = Client::builder()
        .endpoints([&slow.address, &well.address])
        .token("token")
        .attempt_timeout(limit)
        .total_timeout(TOTAL_LONG)
        .build()
        .unwrap();
    let started = Instant::now();
    client.login("alice", "correct horse").await.unwrap();
    assert!(started.elapsed() >= limit, "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_future_of_a_call_may_move_between_threads() {
    let node = Fake::start(vec![]).await;
    let client = client(&[&node], TOTAL_LONG);
    let sent = tokio::spawn(async move { send(&client).await });
    assert!(sent.await.unwrap().is_ok());
}
