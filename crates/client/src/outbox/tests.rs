//! Messages of an outbox arrive once, in order, across cuts and restarts.

use conclave_wire::Reason;
use std::{collections::BTreeSet, fs, sync::atomic::Ordering, time::Duration};

use conclave_core::{AccountName, Recipient, Rejection};
use conclave_wire::v1;
use futures::FutureExt as _;
use tokio::time::timeout;

use super::{Outbox, OutboxError, Restored, journal::Journal, record::Record};
use crate::{
    CallError, Client, OUTBOX_BYTES_MAX,
    tests::fake::{Fake, Step},
};

/// Time limit of each test: a test that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(30);

fn client(node: &Fake, token: &str) -> Client {
    Client::builder()
        .endpoints([&node.address])
        .token(token)
        .attempt_timeout(Duration::from_millis(500))
        .total_timeout(Duration::from_secs(1))
        .build()
        .unwrap()
}

fn to(name: &str) -> Recipient {
    Recipient::Account(AccountName::new(name).unwrap())
}

fn texts(node: &Fake) -> Vec<(v1::RequestId, String)> {
    node.node.seen.texts.lock().unwrap().clone()
}

/// Opens the file once its last user has closed it.
async fn open(client: &Client, path: &std::path::Path) -> (Outbox, Vec<Restored>) {
    let opened = async {
        loop {
            match Outbox::with_file(client.clone(), path) {
                Ok(opened) => return opened,
                Err(OutboxError::InUse { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(LIMIT, opened).await.unwrap()
}

async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, met).await.unwrap();
}

#[tokio::test]
async fn messages_arrive_once_and_in_order_over_cuts_and_hangs() {
    let node = Fake::start(vec![
        Step::Cut,
        Step::Answer,
        Step::Hang,
        Step::Hang,
        Step::Hang,
    ])
    .await;
    let outbox = Outbox::new(client(&node, "token"));
    let mut tickets = Vec::new();
    for count in 0..5 {
        let text = format!("message {count}");
        tickets.push(outbox.send(&to("bob"), text).await.unwrap());
    }
    timeout(LIMIT, outbox.flush()).await.unwrap();
    assert_eq!(outbox.waiting(), 0);
    for ticket in tickets {
        ticket.outcome().await.unwrap();
    }
    let seen = texts(&node);
    let mut distinct: Vec<(u64, u64, String)> = Vec::new();
    for (id, text) in &seen {
        distinct.push((id.number, id.nonce, text.clone()));
    }
    distinct.dedup();
    let order: Vec<&str> = distinct.iter().map(|(_, _, text)| &**text).collect();
    let expected: Vec<String> = (0..5).map(|count| format!("message {count}")).collect();
    assert_eq!(
        order, expected,
        "each under one number, one after the other"
    );
    assert!(seen.len() > 5, "some were tried again");
}

#[tokio::test]
async fn a_restarted_outbox_keeps_its_request_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let node = Fake::always(|| Step::Hang).await;
    let client = client(&node, "token");
    let (outbox, restored) = open(&client, &path).await;
    assert!(restored.is_empty());
    for text in ["one", "two"] {
        outbox.send(&to("bob"), text).await.unwrap();
    }
    until(|| !texts(&node).is_empty()).await;
    let first = texts(&node)[0].clone();
    drop(outbox);

    let other = Fake::start(vec![]).await;
    other
        .node
        .request_last
        .store(first.0.number, Ordering::SeqCst);
    let (outbox, restored) = open(&self::client(&other, "token"), &path).await;
    let left: Vec<&str> = restored.iter().map(|one| &*one.message.text).collect();
    assert_eq!(left, ["one", "two"]);
    timeout(LIMIT, outbox.flush()).await.unwrap();
    let seen = texts(&other);
    assert_eq!(seen[0], first, "the same number for the same message");
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[1].0.number, seen[0].0.number);
    drop(outbox);
    let (outbox, restored) = open(&self::client(&other, "token"), &path).await;
    assert!(restored.is_empty(), "what is acknowledged is gone");
    drop(outbox);
}

#[tokio::test]
async fn a_send_tried_in_another_session_is_unknown_and_not_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let node = Fake::always(|| Step::Hang).await;
    let (outbox, _) = open(&client(&node, "one"), &path).await;
    // So many are under way at once.
    for _ in 0..64 {
        outbox.send(&to("bob"), "in doubt").await.unwrap();
    }
    outbox.send(&to("bob"), "never tried").await.unwrap();
    until(|| !texts(&node).is_empty()).await;
    drop(outbox);

    let other = Fake::start(vec![]).await;
    let (outbox, restored) = open(&client(&other, "two"), &path).await;
    let mut outcomes = Vec::new();
    for one in restored {
        outcomes.push(timeout(LIMIT, one.ticket.outcome()).await.unwrap());
    }
    let last = outcomes.pop().unwrap();
    assert!(last.is_ok(), "{last:?}");
    let unknown = outcomes.iter().filter(|outcome| {
        let outcome = outcome.as_ref();
        matches!(outcome, Err(OutboxError::Call(CallError::Unknown { .. })))
    });
    assert!(unknown.count() > 0, "{outcomes:?}");
    let tried = texts(&other);
    assert_eq!(tried.last().unwrap().1, "never tried");
    assert!(tried.len() < 65, "what was tried is not repeated");
    drop(outbox);
}

fn expired() -> Step {
    Step::Problem(Rejection::SessionExpired.into())
}

fn is_expired(outcome: &Result<crate::Sent, OutboxError>, expected: bool) -> bool {
    matches!(
        outcome,
        Err(OutboxError::Call(CallError::SessionExpired { certain, .. })) if *certain == expected
    )
}

#[tokio::test]
async fn the_end_of_the_session_leaves_messages_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let mut gone = Fake::start(vec![]).await;
    gone.stop().await;
    let (outbox, _) = open(&client(&gone, "one"), &path).await;
    // More than are under way at once.
    let texts_sent: Vec<String> = (0..100).map(|count| format!("message {count}")).collect();
    for text in &texts_sent {
        outbox.send(&to("bob"), text.as_str()).await.unwrap();
    }
    drop(outbox);

    // The numbers are known or not when the session turns out to have ended.
    for learns in [false, true] {
        let node = Fake::always(expired).await;
        node.node.ended.store(!learns, Ordering::SeqCst);
        let (outbox, restored) = open(&client(&node, "one"), &path).await;
        assert_eq!(restored.len(), 100, "{learns}");
        for one in restored {
            let outcome = timeout(LIMIT, one.ticket.outcome()).await.unwrap();
            assert!(is_expired(&outcome, true), "{learns} {outcome:?}");
        }
        timeout(LIMIT, outbox.flush()).await.unwrap();
        assert_eq!(outbox.waiting(), 100, "{learns}");
        let refused = outbox.send(&to("bob"), "late").await.map(drop);
        let refused = refused.unwrap_err();
        let is_expired = matches!(refused, OutboxError::Call(CallError::SessionExpired { .. }));
        assert!(is_expired, "{learns} {refused:?}");
        // The file is free, although a handle is left.
        let (journal, _) = Outbox::with_file(client(&gone, "one"), &path).unwrap();
        drop((journal, outbox));
    }

    let node = Fake::start(vec![]).await;
    let (outbox, restored) = open(&client(&node, "two"), &path).await;
    for one in restored {
        timeout(LIMIT, one.ticket.outcome()).await.unwrap().unwrap();
    }
    let arrived: Vec<String> = texts(&node).into_iter().map(|(_, text)| text).collect();
    assert_eq!(arrived, texts_sent);
    drop(outbox);
}

#[tokio::test]
async fn a_message_in_doubt_stays_in_doubt_after_its_session() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let node = Fake::start(vec![Step::Hang, expired()]).await;
    let (outbox, _) = open(&client(&node, "one"), &path).await;
    let doubt = outbox.send(&to("bob"), "in doubt").await.unwrap();
    until(|| !texts(&node).is_empty()).await;
    let doubt = timeout(LIMIT, doubt.outcome()).await.unwrap();
    assert!(is_expired(&doubt, false), "{doubt:?}");

    let other = Fake::start(vec![]).await;
    let (_outbox, restored) = Outbox::with_file(client(&other, "two"), &path).unwrap();
    for one in restored {
        let outcome = timeout(LIMIT, one.ticket.outcome()).await.unwrap();
        let is_unknown = matches!(outcome, Err(OutboxError::Call(CallError::Unknown { .. })));
        assert!(is_unknown, "{outcome:?}");
    }
    assert!(texts(&other).is_empty());
    drop(outbox);
}

#[tokio::test]
async fn the_outbox_replaces_a_reused_but_not_a_too_old_number() {
    let too_old = Rejection::RequestTooOld { last: 900 };
    let reused = Rejection::RequestReused { last: 70 };
    let node = Fake::start(vec![
        Step::Hang,
        Step::Problem(reused.into()),
        Step::Answer,
        Step::Hang,
        Step::Problem(too_old.into()),
    ])
    .await;
    let outbox = Outbox::new(client(&node, "token"));
    let one = outbox.send(&to("bob"), "one").await.unwrap();
    let two = outbox.send(&to("bob"), "two").await.unwrap();
    let sent = timeout(LIMIT, one.outcome()).await.unwrap().unwrap();
    assert_eq!(sent.sequence.0, 71);
    let outcome = timeout(LIMIT, two.outcome()).await.unwrap();
    assert!(
        matches!(outcome, Err(OutboxError::Call(CallError::Unknown { .. }))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_refusal_affects_only_its_own_message() {
    let node = Fake::start(vec![Step::Problem(Rejection::NoSuchAccount.into())]).await;
    let outbox = Outbox::new(client(&node, "token"));
    let one = outbox.send(&to("bob"), "one").await.unwrap();
    let two = outbox.send(&to("bob"), "two").await.unwrap();
    let refused = timeout(LIMIT, one.outcome()).await.unwrap();
    let Err(OutboxError::Call(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.reason(), Some(Reason::NoSuchAccount));
    timeout(LIMIT, two.outcome()).await.unwrap().unwrap();
    assert!(outbox.send(&to("bob"), "").await.is_err(), "refused here");
}

#[test]
fn a_torn_journal_keeps_its_whole_records() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let mut bytes = b"conclvo1".to_vec();
    let mut ends = Vec::new();
    for id in 1..=3 {
        let message = format!("message {id}").into();
        let to = to("bob");
        Record::Accepted { id, to, message }.encode(&mut bytes);
        ends.push(bytes.len());
    }
    for end in 0..=bytes.len() {
        fs::write(&path, &bytes[..end]).unwrap();
        let journal = Journal::open(&path).unwrap();
        let whole = ends.iter().filter(|whole| **whole <= end).count();
        assert_eq!(journal.live().count(), whole, "torn at {end}");
    }
    fs::write(&path, b"something else").unwrap();
    let opened = Journal::open(&path);
    assert!(matches!(opened, Err(OutboxError::NotAnOutbox { .. })));
}

#[test]
fn a_journal_is_private_and_open_in_only_one_program() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let journal = Journal::open(&path).unwrap();
    let second = Journal::open(&path);
    assert!(
        matches!(second, Err(OutboxError::InUse { .. })),
        "{second:?}"
    );
    drop(journal);
    let _journal = Journal::open(&path).unwrap();
    let modes: BTreeSet<u32> = fs::read_dir(directory.path())
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().permissions().mode() & 0o777)
        .collect();
    assert_eq!(modes, BTreeSet::from([0o600]));
}

#[tokio::test]
async fn a_full_outbox_makes_the_sender_wait() {
    let node = Fake::always(|| Step::Hang).await;
    let outbox = Outbox::new(client(&node, "token"));
    let text = "x".repeat(conclave_core::limits::TEXT_BYTES_MAX);
    let mut taken = 0;
    while let Some(sent) = timeout(
        Duration::from_secs(1),
        outbox.send(&to("bob"), text.as_str()),
    )
    .map(Result::ok)
    .await
    {
        sent.unwrap();
        taken += text.len();
    }
    assert!(taken <= OUTBOX_BYTES_MAX, "{taken}");
    assert!(taken > OUTBOX_BYTES_MAX * 9 / 10, "{taken}");
}
