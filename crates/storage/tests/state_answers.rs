//! Promises of the memory of answers: the first answer whole, and a memory for each kind of request
//! that no other kind can use up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;

use conclave_core::{
    Accepted, AccessOperation, LoginKeys, Operation, Rejection, ThrottleKey,
    limits::{BATCH_COMMANDS_MAX, ONCE_BRIEF_ANSWERS_MAX, ONCE_BRIEF_MS, WEBHOOK_KEYS_MAX},
};
use conclave_storage::state::{Options, State};
use read_support::*;
use state_support::*;

/// Secret of the room's webhook.
const SECRET: u8 = 150;

fn with_webhook(directory: &std::path::Path) -> State {
    let mut state = State::open(directory, Options::default()).unwrap();
    people(&mut state, &["ann"]);
    let room = vec![
        ask(1, 1, create_room("lobby", true)),
        ask(1, 2, webhook("lobby", "hook", SECRET)),
    ];
    accept(&mut state, room);
    state
}

fn attempt(number: u64) -> Operation {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_le_bytes());
    Operation::Access(AccessOperation::TryPassword {
        keys: LoginKeys {
            account: ThrottleKey(key),
            address: ThrottleKey(key),
            pair: ThrottleKey(key),
            ..LoginKeys::default()
        },
    })
}

#[test]
fn a_retry_reports_the_entry_of_its_first_answer() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = with_webhook(directory.path());
    accept(&mut state, vec![ask(1, 3, say("ann", "a note"))]);
    let change = || {
        vec![
            ask(1, 4, edit(2, 1, "another note")),
            once(7, post(SECRET, "hi")),
        ]
    };
    let first = apply(&mut state, change());
    let index = state.applied().last.unwrap().index;
    assert_eq!(first.decided_in, [index, index]);
    accept(&mut state, vec![ask(1, 5, say("ann", "more"))]);

    drop(state);
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    let again = apply(&mut state, change());
    assert_eq!(again.answers, first.answers);
    assert_eq!(again.decided_in, first.decided_in);
    assert_eq!(again.events, []);
}

#[test]
fn a_flood_of_requests_never_duplicates_a_keyed_post() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = with_webhook(directory.path());
    let first = apply(&mut state, vec![once(7, post(SECRET, "hi"))]);
    let mut asked = 0;
    while asked <= ONCE_BRIEF_ANSWERS_MAX {
        let flood = (asked..asked + BATCH_COMMANDS_MAX as u64)
            .map(|number| once(9 << 64 | u128::from(number), attempt(number)));
        apply(&mut state, flood.collect());
        asked += BATCH_COMMANDS_MAX as u64;
    }
    let again = apply(&mut state, vec![once(7, post(SECRET, "hi"))]);
    assert_eq!((again.answers, again.events), (first.answers, Vec::new()));
}

#[test]
fn a_webhook_with_too_many_keys_refuses_new_keys_for_a_day() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = with_webhook(directory.path());
    let keyed = |number: u64| once(9 << 64 | u128::from(number), post(SECRET, "hi"));
    for from in (0..WEBHOOK_KEYS_MAX).step_by(BATCH_COMMANDS_MAX) {
        let to = (from + BATCH_COMMANDS_MAX as u64).min(WEBHOOK_KEYS_MAX);
        // A hundred posts in a second: the maximum for the webhook's account.
        let at = START + 10 * from;
        let answers = apply_at(&mut state, at, (from..to).map(keyed).collect()).answers;
        assert!(answers.iter().all(Result::is_ok), "{from}");
    }
    let first = keyed(0);
    let answers = apply(&mut state, vec![keyed(WEBHOOK_KEYS_MAX), first]).answers;
    let full = Err(Rejection::TooMany {
        what: conclave_core::Bound::WebhookKeys,
    });
    assert_eq!(answers[0], full);
    assert!(answers[1].is_ok(), "a known key gets its first answer");
    let keyless = Operation::Access(AccessOperation::PostByWebhook {
        token: token(SECRET),
        text: conclave_core::MessageText::new("no key").unwrap(),
        keyed: false,
    });
    accept(&mut state, vec![once(9, keyless)]);

    let day = 24 * 60 * 60 * 1000;
    let later = apply_at(&mut state, START + day, vec![keyed(WEBHOOK_KEYS_MAX)]);
    let sent = matches!(later.answers[0], Ok(Accepted::MessageSent { .. }));
    assert!(sent, "{:?}", later.answers);
}

#[test]
fn answers_that_only_nodes_retry_are_forgotten_early() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = with_webhook(directory.path());
    let count = || vec![once(7, attempt(1))];
    let first = apply(&mut state, count());
    let before = apply_at(&mut state, START + ONCE_BRIEF_MS - 1, count());
    assert_eq!((before.answers, before.events.len()), (first.answers, 0));
    let after = apply_at(&mut state, START + ONCE_BRIEF_MS, count());
    assert_ne!(after.events, [], "it is another attempt");
}

#[test]
fn a_remembered_send_takes_few_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = with_webhook(directory.path());
    for number in 3..=3 + conclave_core::limits::REQUEST_WINDOW {
        let at = START + 1000 * number;
        let answer = apply_at(
            &mut state,
            at,
            vec![ask(1, number, say_room("lobby", "hi"))],
        );
        assert!(answer.answers[0].is_ok());
    }
    let connection = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    let sql = "SELECT count(*), max(octet_length(answer)) FROM answers WHERE session = 1";
    let kept = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
    let (rows, longest): (i64, i64) = kept.unwrap();
    assert_eq!(rows, conclave_core::limits::REQUEST_WINDOW as i64);
    assert!(longest <= 20, "{longest} bytes");
}
