//! Applying: a retry changes nothing, deleted data is removed, and a kill leaves a whole state.

#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod generated_commands;
mod read_support;
mod state_support;

use std::{path::Path, process};

use conclave_core::{Rejection, limits::SWEEP_ROWS_PER_ENTRY};
use conclave_storage::state::{Entry, Options, Payload, State};
use generated_commands::{generated_command, log};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use state_support::*;

#[test]
fn a_retry_gets_the_first_answer_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    people(&mut state, &["ann", "bea"]);
    let first = apply(
        &mut state,
        vec![ask(1, 1, say("bea", "hi")), ask(1, 2, say("nix", "hi"))],
    );
    assert_eq!(first.answers[1], Err(Rejection::NoSuchAccount));
    for _ in 0..2 {
        let again = vec![ask(1, 1, say("bea", "hi")), ask(1, 2, say("nix", "hi"))];
        let retried = apply(&mut state, again);
        assert_eq!(retried.answers, first.answers);
        assert_eq!(retried.events, vec![]);
        drop(state);
        state = State::open(directory.path(), Options::default()).unwrap();
    }
    assert_eq!(digest(&state).messages, 1);
}

#[test]
fn a_deleted_account_leaves_no_data_and_frees_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    people(&mut state, &["ann", "bea"]);
    let messages = 1000;
    for number in 1..=messages {
        accept(&mut state, vec![ask(1, number, say("bea", "secret"))]);
    }
    let named = |sequence| conclave_core::MessageRef {
        conversation: conclave_core::ConversationId(1),
        sequence: conclave_core::Sequence(sequence),
    };
    let hide = conclave_core::Operation::Message(conclave_core::MessageOperation::DeleteMessages {
        messages: (1..=200).map(named).collect(),
        for_everyone: false,
    });
    accept(&mut state, vec![ask(2, 1, hide)]);
    accept(
        &mut state,
        vec![ask(
            1,
            messages + 1,
            conclave_core::Operation::Account(conclave_core::AccountOperation::DeleteAccount {
                password_version: 1,
            }),
        )],
    );
    assert_eq!(
        digest(&state).messages,
        messages,
        "they stay with their recipient"
    );
    accept(
        &mut state,
        vec![ask(
            2,
            2,
            conclave_core::Operation::Account(conclave_core::AccountOperation::DeleteAccount {
                password_version: 1,
            }),
        )],
    );
    let mut before = digest(&state).messages;
    assert!(
        before >= messages - SWEEP_ROWS_PER_ENTRY as u64,
        "one entry swept too much"
    );
    let mut entries = 0;
    while count(directory.path(), "orphans") > 0 {
        apply(&mut state, vec![]);
        let left = digest(&state).messages;
        assert!(
            before - left <= SWEEP_ROWS_PER_ENTRY as u64,
            "one entry swept too much"
        );
        before = left;
        entries += 1;
        assert!(entries < 100, "the sweep does not end");
    }
    for table in [
        "accounts",
        "conversations",
        "members",
        "messages",
        "hidden",
        "orphans",
    ] {
        assert_eq!(count(directory.path(), table), 0, "{table}");
    }
    accept(&mut state, vec![once(99, create("ANN"))]);
    let ann = state.reader().account_by_key("ann").unwrap().unwrap();
    assert_eq!((ann.id.0, ann.name.as_str()), (3, "ANN"));
}

fn count(directory: &Path, table: &str) -> i64 {
    let connection = rusqlite::Connection::open(directory.join("state.db")).unwrap();
    let sql = format!("SELECT count(*) FROM {table}");
    connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
#[should_panic(expected = "the log would have a gap")]
fn a_gap_in_the_log_is_a_broken_promise() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    let _ = state.apply(&[entry(1, Payload::Blank), entry(3, Payload::Blank)]);
}

const KILLED: &str = "CONCLAVE_TEST_STATE_TO_KILL";

/// Returns a log that is the same in both processes.
fn fixed_log() -> Vec<Entry> {
    let mut runner = TestRunner::deterministic();
    let generated = prop::collection::vec(generated_command(), 400).new_tree(&mut runner);
    let entries = log(&generated.unwrap().current());
    assert!(entries.len() > 100, "it is too short to be killed in");
    entries
}

/// Runs as the process that the next test kills; not a test of its own.
#[test]
fn a_process_that_applies_until_it_is_killed() {
    let Some(directory) = std::env::var_os(KILLED) else {
        return;
    };
    let mut state = State::open(Path::new(&directory), Options::default()).unwrap();
    let done = state.applied().last.map_or(0, |last| last.index as usize);
    for (step, chunk) in fixed_log()[done..].chunks(2).enumerate() {
        state.decide(chunk).unwrap();
        if step % 5 == 4 {
            state.write().unwrap();
        }
    }
    state.write().unwrap();
    // Waits to be killed, so that the end of the process never closes the database.
    loop {
        std::thread::park();
    }
}

#[test]
fn a_node_killed_while_applying_resumes_where_it_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let log = fixed_log();
    State::open(directory.path(), Options::default()).unwrap();
    for round in 1..=6 {
        let mut child = process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_that_applies_until_it_is_killed"])
            .env(KILLED, directory.path())
            .stdout(process::Stdio::null())
            .spawn()
            .unwrap();
        let target = log.len() as u64 * round / 6;
        loop {
            let connection = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
            let sql = "SELECT coalesce(applied_index, 0) FROM meta";
            let at: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap_or(0);
            if at as u64 >= target {
                break;
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut killed = State::open(directory.path(), Options::default()).unwrap();
    let done = killed.applied().last.unwrap().index as usize;
    killed.apply(&log[done..]).unwrap();
    let other = tempfile::tempdir().unwrap();
    let mut uninterrupted = State::open(other.path(), Options::default()).unwrap();
    uninterrupted.apply(&log).unwrap();
    assert_eq!(digest(&killed), digest(&uninterrupted));
}

/// `cargo test --release -p conclave-storage --test state_apply -- --ignored --nocapture`
#[test]
#[ignore = "measures; run it with --release"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn measure_the_cost_of_applying_a_message() {
    for commands in [1_u64, 16, 256] {
        let directory = tempfile::tempdir().unwrap();
        let mut state = State::open(directory.path(), Options::default()).unwrap();
        people(&mut state, &["ann", "bea"]);
        accept(&mut state, vec![ask(1, 1, say("bea", "hi"))]);
        let messages = 200_000 / if commands == 1 { 4 } else { 1 };
        let text = "x".repeat(100);
        let first = state.applied().last.unwrap().index + 1;
        let mut number = 1;
        let log: Vec<_> = (0..messages / commands)
            .map(|n| {
                let mut send = || {
                    number += 1;
                    ask(1, number, say("bea", &text))
                };
                let sends = (0..commands).map(|_| send()).collect();
                entry(first + n, batch(START, sends))
            })
            .collect();
        let (cpu, since) = (cpu_us(), std::time::Instant::now());
        for entry in &log {
            state.apply(std::slice::from_ref(entry)).unwrap();
        }
        let (cpu, wall) = (cpu_us() - cpu, since.elapsed());
        let count = (log.len() as u64 * commands) as f64;
        println!(
            "{commands:>4} per transaction: {:>9.0} messages/s, {:>6.2} CPU us/message",
            count / wall.as_secs_f64(),
            cpu / count
        );
    }
}

/// Returns the CPU time of this process so far, in microseconds (clock ticks of 10 ms).
fn cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next().unwrap().parse::<f64>().unwrap();
    (ticks() + ticks()) * 10_000.0
}
