//! The file of the database becomes smaller after its rows have gone, a little at a time, and the
//! state stays what it was.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use conclave_core::{ClusterOperation, ClusterVersion, NodeId, Operation};
use conclave_storage::state::{FreeRoom, Options, State, VACUUM_STEP_PAGES};
use read_support::*;
use rusqlite::Connection;
use state_support::*;

const PAGE_BYTES: u64 = 4096;
/// Messages of the measurement.
const MANY: u64 = 300_000;

/// Fills a state with some 40 MiB of messages, and has all but one forgotten.
fn fill_and_forget(state: &mut State) {
    people(state, &["ann"]);
    let raise = Operation::Cluster(ClusterOperation::RaiseVersion {
        to: ClusterVersion::RETENTION,
        asked: vec![NodeId(1)],
    });
    accept(
        state,
        vec![once(1, raise), ask(1, 1, create_room("lobby", true))],
    );
    let text = "x".repeat(16 * 1024);
    let mut number = 1;
    for minute in 0..10_u64 {
        // The account's bytes for a minute.
        for _ in 0..256 {
            number += 1;
            let at = START + minute * 60_000;
            let sent = apply_at(state, at, vec![ask(1, number, say_room("lobby", &text))]);
            assert!(sent.answers[0].is_ok(), "{:?}", sent.answers);
        }
    }
    let keep = ask(1, number + 1, keep_in("lobby", None, Some(1)));
    let at = START + 10 * 60_000;
    assert!(apply_at(state, at, vec![keep]).answers[0].is_ok());
    for command in 0..=2560 / 64 {
        apply_at(state, at, vec![once(1000 + command, forget(&[1]))]);
    }
    assert_eq!(digest(state).messages, 1);
}

/// Gives back what can be given back; returns the number of steps and what is free at last.
fn vacuum(state: &mut State) -> (u64, FreeRoom) {
    for steps in 1.. {
        let free = state.vacuum().unwrap();
        if !free.may_shrink {
            return (steps, free);
        }
    }
    unreachable!("it ends")
}

fn bytes_of(state: &mut State, directory: &Path) -> u64 {
    assert!(state.checkpoint().unwrap().complete);
    fs::metadata(directory.join("state.db")).unwrap().len()
}

#[test]
fn the_file_shrinks_in_small_steps_after_messages_are_forgotten() {
    let (directory, mut state) = opened();
    fill_and_forget(&mut state);
    let (before, digest_before) = (bytes_of(&mut state, directory.path()), digest(&state));
    assert!(before > 30 << 20, "{before}");
    let mut length = before / PAGE_BYTES;
    loop {
        let free = state.vacuum().unwrap();
        let now = bytes_of(&mut state, directory.path()) / PAGE_BYTES;
        // And a page, seldom, in which SQLite notes where pages are.
        assert!(length - now <= VACUUM_STEP_PAGES + 1, "{length} {now}");
        length = now;
        if !free.may_shrink {
            break;
        }
    }
    assert!(length * PAGE_BYTES < 12 << 20, "{length} pages are left");
    assert_eq!(digest(&state), digest_before, "no row has changed");
    assert_eq!(vacuum(&mut state).0, 1, "what stays free is left alone");
    // It goes on as any other, also after a restart, and so does a copy of it.
    let file = directory.path().join("copy");
    state.reader().snapshot_to(&file).unwrap();
    drop(state);
    let state = State::open(directory.path(), Options::default()).unwrap();
    let (_other, mut copy) = opened();
    copy.install(&file).unwrap();
    assert_eq!(digest(&copy), digest(&state));
}

#[test]
fn nothing_is_given_back_while_entries_wait_to_be_written() {
    let (directory, mut state) = opened();
    fill_and_forget(&mut state);
    let before = bytes_of(&mut state, directory.path());
    let index = state.applied().last.unwrap().index + 1;
    state.decide(&[entry(index, batch(START, vec![]))]).unwrap();
    assert_eq!(state.vacuum().unwrap(), FreeRoom::default());
    state.write().unwrap();
    assert_eq!(bytes_of(&mut state, directory.path()), before);
    assert!(vacuum(&mut state).0 > 1);
}

#[test]
fn a_file_from_before_shrinks_once_it_was_made_anew() {
    let (directory, state) = opened();
    drop(state);
    let path = directory.path().join("state.db");
    // As a build made it that did not set this.
    let made_anew = |mode: &str| {
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "auto_vacuum", mode).unwrap();
        connection.execute_batch("VACUUM").unwrap();
        connection.close().unwrap();
    };
    made_anew("none");
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    fill_and_forget(&mut state);
    let (before, digest_before) = (bytes_of(&mut state, directory.path()), digest(&state));
    let (steps, free) = vacuum(&mut state);
    assert_eq!((steps, free.may_shrink), (1, false));
    assert!(free.bytes > 20 << 20, "{free:?}");
    assert_eq!(bytes_of(&mut state, directory.path()), before);
    drop(state);
    // What docs/operations.md says.
    made_anew("incremental");
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    assert_eq!(digest(&state), digest_before);
    assert!(bytes_of(&mut state, directory.path()) < 12 << 20);
}

/// `cargo test --release -p conclave-storage --test state_vacuum -- --ignored --nocapture`
#[test]
#[ignore = "measures; run it with --release"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn measure_a_step_that_gives_pages_back() {
    let (directory, mut state) = opened();
    people(&mut state, &["ann"]);
    drop(state);
    // Three rooms that talk in turn, so that their rows lie in the same pages of each index.
    let connection = Connection::open(directory.path().join("state.db")).unwrap();
    let sql = format!(
        "INSERT INTO conversations (id, opened_at, name, key, topic, public, members, message_last)
            VALUES (1, 1, 'one', 'one', '', 1, 1, 0), (2, 1, 'two', 'two', '', 1, 1, 0),
                (3, 1, 'three', 'three', '', 1, 1, 0);
        INSERT INTO members (conversation, account, delivered, read, sent_read, advanced_at, role,
            joined_at)
            VALUES (1, 1, 0, 0, 0, 0, 2, 0), (2, 1, 0, 0, 0, 0, 2, 0), (3, 1, 0, 0, 0, 0, 2, 0);
        INSERT OR REPLACE INTO allowances (account, messages, bytes, edits, reactions, deletions,
            positions, rooms, changes, conversations, stored_bytes)
            VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 512 * {MANY});
        WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {MANY})
        INSERT INTO messages (position, conversation, sequence, by_account, sent_at, text, action,
            ordinal, in_room)
        SELECT (1000 + n) << 20, 1 + n % 3, 1 + n / 3, 1, 1,
            'what a person says in a line of its own, as long as most are, ' || n, 0, 1 + n / 3, 1
            FROM n;
        UPDATE meta SET messages = {MANY}, rooms = 3, conversation_last = 3,
            applied_index = 1000 + {MANY}, cluster_version = 3, aged_since = 0"
    );
    connection.execute_batch(&sql).unwrap();
    connection.close().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    // A tenth of each room stays.
    for (number, name) in ["one", "two", "three"].into_iter().enumerate() {
        let keep = keep_in(name, None, Some(MANY / 30));
        accept(&mut state, vec![ask(1, 1 + number as u64, keep)]);
    }
    let mut forgets = Vec::new();
    for command in 0.. {
        let began = Instant::now();
        let gone = apply(&mut state, vec![once(1000 + command, forget(&[1, 2, 3]))]);
        if gone.events.is_empty() {
            break;
        }
        forgets.push(began.elapsed());
    }
    let before = bytes_of(&mut state, directory.path());
    let mut steps = Vec::new();
    loop {
        let began = Instant::now();
        let free = state.vacuum().unwrap();
        steps.push(began.elapsed());
        if !free.may_shrink {
            break;
        }
    }
    let after = bytes_of(&mut state, directory.path());
    let shown = |what: &str, mut took: Vec<Duration>| {
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() * percent).div_ceil(100) - 1];
        let (median, p99, last) = (at(50), at(99), at(100));
        println!(
            "{:>5} {what}: p50 {median:.2?}, p99 {p99:.2?}, max {last:.2?}",
            took.len()
        );
    };
    println!(
        "{MANY} messages, {} MiB before, {} MiB after",
        before >> 20,
        after >> 20
    );
    shown("commands that forget 64 messages", forgets);
    shown("steps that give 64 pages back", steps);
}
