//! Curves: what must not grow with what others have stored. Each test prints its own; run them
//! with `cargo test --release -p conclave-storage --test scale -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::print_stdout,
    reason = "the curve is what each of these tests is for"
)]
#![allow(clippy::disallowed_methods, reason = "they measure time")]

mod read_support;
mod state_support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use conclave_core::{AccountId, Position};
use conclave_storage::state::{Options, State};
use read_support::*;
use state_support::*;

/// Returns the median of some rounds.
fn median(mut ask: impl FnMut()) -> Duration {
    let mut rounds: Vec<Duration> = (0..9)
        .map(|_| {
            let begun = Instant::now();
            ask();
            begun.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

/// Changes the database while no state has it open.
fn with_sql(directory: &Path, state: State, sql: &str) -> State {
    drop(state);
    let connection = rusqlite::Connection::open(directory.join("state.db")).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    State::open(directory, Options::default()).unwrap()
}

/// Adds messages of a conversation of accounts 1 and 2, as if each were an entry of its own.
fn messages_of_others(from: u64, to: u64) -> String {
    format!(
        "WITH RECURSIVE n(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM n WHERE n < {to})
        INSERT INTO messages (position, conversation, sequence, by_account, sent_at, text, action,
            ordinal, in_room)
        SELECT (1000 + n) << 20, 1, n, 1, 1, 'what a person says in a line of its own', 0, n, 0
            FROM n;
        UPDATE conversations SET message_last = (1000 + {to}) << 20 WHERE id = 1;
        UPDATE meta SET applied_index = 1000 + {to}"
    )
}

#[test]
#[ignore = "prints a curve"]
fn resuming_does_not_grow_with_the_messages_of_others() {
    let (directory, mut state) = opened();
    people(&mut state, &["ann", "bea", "cyd"]);
    accept(&mut state, vec![ask(1, 1, say("bea", "hi"))]);
    accept(&mut state, vec![ask(3, 1, say("bea", "hi"))]);
    println!("messages of others | pages | until the end of the stream");
    let mut from = 2;
    for others in [1_000, 10_000, 100_000, 1_000_000] {
        state = with_sql(directory.path(), state, &messages_of_others(from, others));
        from = others + 1;
        let reader = state.reader();
        let mut pages = 0;
        let took = median(|| {
            let (mut after, mut complete) = (Position(0), false);
            pages = 0;
            while !complete {
                let page = reader.stream(AccountId(3), after, 1000).unwrap();
                (after, complete) = (page.scanned_to, page.complete);
                pages += 1;
            }
        });
        println!("{others:>18} | {pages:>5} | {took:?}");
        assert!(took < Duration::from_millis(100), "{took:?}");
    }
}

#[test]
#[ignore = "prints a curve"]
fn the_end_of_a_stream_with_many_conversations() {
    let (directory, mut state) = opened();
    people(&mut state, &["ann", "bea"]);
    accept(&mut state, vec![ask(1, 1, say("bea", "hi"))]);
    println!("own conversations | end of the stream");
    let mut from = 2;
    for own in [100, 1_000, 10_000] {
        let sql = format!(
            "WITH RECURSIVE n(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM n WHERE n < {own})
            INSERT INTO conversations (id, direct_low, direct_high, opened_at, message_last)
                SELECT n, 2, 1000 + n, 1, 1 FROM n;
            INSERT INTO members SELECT id, direct_low, 0, 0, 0, 0, 0, 1 FROM conversations
                WHERE id >= {from};
            INSERT INTO members SELECT id, direct_high, 0, 0, 0, 0, 0, 1 FROM conversations
                WHERE id >= {from}"
        );
        state = with_sql(directory.path(), state, &sql);
        from = own + 1;
        let reader = state.reader();
        let end = reader.applied_position().unwrap();
        let took = median(|| assert!(reader.stream(AccountId(2), end, 1000).unwrap().complete));
        println!("{own:>17} | {took:?}");
    }
}

/// Adds accounts, each with a session of the same number that has been answered eight times, to
/// room 1.
fn members_of_room_1(from: u64, to: u64) -> String {
    format!(
        "WITH RECURSIVE n(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM n WHERE n < {to})
        INSERT INTO accounts
            SELECT n, 'p' || n, 'p' || n, 'p' || n, '', 1, 1, 0, '', 0 FROM n;
        INSERT INTO sessions
            SELECT id, id, CAST('token of ' || id AS BLOB), 1, 1 << 50, 0, '', {START}, {START}
                FROM accounts WHERE id >= {from};
        INSERT INTO members SELECT 1, id, 0, 0, 0, 0, 0, 1 FROM accounts WHERE id >= {from};
        UPDATE meta SET account_last = {to}, session_last = {to}, accounts = {to};
        UPDATE conversations SET members = {to} WHERE id = 1"
    )
}

#[test]
#[ignore = "prints a curve"]
fn a_send_does_not_grow_with_the_sessions_in_use() {
    let (directory, mut state) = opened();
    people(&mut state, &["ann"]);
    accept(&mut state, vec![ask(1, 1, create_room("hall", true))]);
    println!("sessions in use | one send of each in turn");
    let (mut from, mut number) = (2, 2);
    for sessions in [30_000, 60_000, 90_000, 120_000] {
        state = with_sql(directory.path(), state, &members_of_room_1(from, sessions));
        from = sessions + 1;
        let mut took = Duration::ZERO;
        // The first round brings everything into memory.
        for _ in 0..3 {
            let begun = Instant::now();
            for first in (1..=sessions).step_by(500) {
                let sends = (first..(first + 500).min(sessions + 1))
                    .map(|session| ask(session, number, say_in(1, "hello")));
                accept(&mut state, sends.collect());
            }
            number += 1;
            took = begun.elapsed();
        }
        println!(
            "{sessions:>15} | {:?}",
            took / u32::try_from(sessions).unwrap()
        );
    }
}

#[test]
#[ignore = "prints a curve"]
fn a_deletion_does_not_grow_with_what_it_leaves_behind() {
    println!("rows behind it | message with reactions | account with conversations");
    for rows in [100, 1_000, 10_000, 100_000] {
        let (directory, mut state) = opened();
        people(&mut state, &["ann", "bea"]);
        accept(&mut state, vec![ask(1, 1, say("bea", "hi"))]);
        let sql = format!(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
            INSERT INTO reactions SELECT 1, 1, 1000 + n, '+1' FROM n;
            INSERT INTO reaction_counts VALUES (1, 1, '+1', {rows});
            WITH RECURSIVE n(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
            INSERT INTO conversations (id, direct_low, direct_high, opened_at, message_last)
                SELECT n, 2, 1000 + n, 1, 1 FROM n;
            INSERT INTO members SELECT id, direct_low, 0, 0, 0, 0, 0, 1 FROM conversations
                WHERE id >= 2;
            INSERT INTO members SELECT id, direct_high, 0, 0, 0, 0, 0, 1 FROM conversations
                WHERE id >= 2"
        );
        state = with_sql(directory.path(), state, &sql);
        let mut time = |command| {
            let begun = Instant::now();
            accept(&mut state, vec![command]);
            begun.elapsed()
        };
        let message = time(ask(1, 2, delete(1, &[1], true)));
        let leave = conclave_core::AccountOperation::DeleteAccount {
            password_version: 1,
        };
        let account = time(ask(2, 1, conclave_core::Operation::Account(leave)));
        println!("{rows:>14} | {message:>22?} | {account:>26?}");
    }
}
