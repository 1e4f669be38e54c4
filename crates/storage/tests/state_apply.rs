//! Applying: the same log makes the same state, however it is cut, cached, interrupted or moved.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../core/tests/model/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a part of the core's own tests")]
mod model;
mod state_support;
#[path = "../../core/tests/support/mod.rs"]
#[allow(dead_code, reason = "a part of the core's own tests")]
mod support;

use std::{path::Path, process, sync::Arc};

use bytes::Bytes;
use conclave_core::{Accepted, Answer, Position, Rejection, limits::SWEEP_ROWS_PER_ENTRY};
use conclave_storage::state::{Digest, Entry, EntryResult, Options, Payload, State};
use model::plan::{Weather, plan, play};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use state_support::*;

fn entries(history: &model::plan::History) -> Vec<Entry> {
    let mut entries = vec![entry(
        1,
        Payload::Membership(Bytes::from_static(b"five nodes")),
    )];
    for batch in &history.batches {
        let index = entries.len() as u64 + 1;
        entries.push(entry(index, Payload::Commands(Arc::new(batch.clone()))));
        if index.is_multiple_of(7) {
            entries.push(entry(index + 1, Payload::Blank));
        }
    }
    entries
}

/// How a log is brought into a state.
struct Way {
    options: Options,
    entries_per_transaction: usize,
    entries_per_opening: usize,
    snapshot_in_the_middle: bool,
}

fn run(way: &Way, entries: &[Entry]) -> (Vec<EntryResult>, Digest) {
    let mut directory = tempfile::tempdir().unwrap();
    let mut results = Vec::new();
    let mut state = State::open(directory.path(), way.options.clone()).unwrap();
    let mut since_opening = 0;
    for (number, chunk) in entries.chunks(way.entries_per_transaction).enumerate() {
        results.extend(state.apply(chunk).unwrap());
        since_opening += chunk.len();
        if since_opening >= way.entries_per_opening {
            drop(state);
            state = State::open(directory.path(), way.options.clone()).unwrap();
            since_opening = 0;
        }
        if way.snapshot_in_the_middle && number == entries.len() / 2 {
            let other = tempfile::tempdir().unwrap();
            let file = other.path().join("snapshot");
            let made = state.reader().snapshot_to(&file).unwrap();
            state = State::open(other.path(), way.options.clone()).unwrap();
            assert_eq!(state.install(&file).unwrap(), made.applied);
            directory = other;
        }
    }
    assert_eq!(state.applied(), state.reader().applied().unwrap());
    let digest = digest(&state);
    drop(directory);
    (results, digest)
}

fn check_all_ways(history: &model::plan::History) {
    let entries = entries(history);
    let plain = Way {
        options: Options::default(),
        entries_per_transaction: 1,
        entries_per_opening: usize::MAX,
        snapshot_in_the_middle: false,
    };
    let (results, digest) = run(&plain, &entries);
    let answers = results.iter().flat_map(|result| result.answers.clone());
    let decided = history.decisions.iter().flatten().map(|d| d.answer.clone());
    // Positions differ: the model has neither membership entries nor blank ones.
    let comparable = |mut answer: Answer| {
        if let Ok(Accepted::MessageSent { position, .. }) = &mut answer {
            *position = Position(0);
        }
        answer
    };
    let ours: Vec<_> = answers.map(comparable).collect();
    let theirs: Vec<_> = decided.map(comparable).collect();
    assert_eq!(
        ours, theirs,
        "storage and the simplest state decide differently"
    );

    let other_ways = [
        Way {
            entries_per_transaction: 50,
            ..plain_of(Options::default())
        },
        plain_of(tiny()),
        Way {
            entries_per_opening: 3,
            ..plain_of(Options::default())
        },
        Way {
            snapshot_in_the_middle: true,
            ..plain_of(tiny())
        },
    ];
    for (number, way) in other_ways.iter().enumerate() {
        let (again, same) = run(way, &entries);
        assert_eq!(again, results, "way {number}");
        assert_eq!(same, digest, "way {number}");
    }
}

fn plain_of(options: Options) -> Way {
    Way {
        options,
        entries_per_transaction: 1,
        entries_per_opening: usize::MAX,
        snapshot_in_the_middle: false,
    }
}

/// Enough for the desk; a failing log is kept as a test, not as a seed.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn one_log_makes_one_state_however_it_is_applied(steps in plan(Weather::Wild, 120)) {
        check_all_ways(&play(&steps));
    }
}

#[test]
fn a_retry_gets_the_first_answer_even_after_the_node_was_restarted() {
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
fn a_deleted_account_leaves_nothing_and_its_name_is_free() {
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
    let hide = conclave_core::Operation::DeleteMessages {
        messages: (1..=200).map(named).collect(),
        for_everyone: false,
    };
    accept(&mut state, vec![ask(2, 1, hide)]);
    accept(
        &mut state,
        vec![ask(
            1,
            messages + 1,
            conclave_core::Operation::DeleteAccount,
        )],
    );
    assert_eq!(
        digest(&state).messages,
        messages,
        "they stay with their recipient"
    );
    accept(
        &mut state,
        vec![ask(2, 2, conclave_core::Operation::DeleteAccount)],
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

/// A log that is the same in both processes.
fn fixed_log() -> Vec<Entry> {
    let mut runner = TestRunner::deterministic();
    let mut entries_all = Vec::new();
    let steps = prop::collection::vec(plan(Weather::Wild, 400), 1..2);
    while entries_all.len() < 100 {
        let steps = steps.new_tree(&mut runner).unwrap().current().concat();
        entries_all = entries(&play(&steps));
    }
    entries_all
}

/// Not a test of its own: the process that the next test kills.
#[test]
fn a_process_that_applies_until_it_is_killed() {
    let Some(directory) = std::env::var_os(KILLED) else {
        return;
    };
    let mut state = State::open(Path::new(&directory), Options::default()).unwrap();
    let done = state.applied().last.map_or(0, |last| last.index as usize);
    for chunk in fixed_log()[done..].chunks(2) {
        state.apply(chunk).unwrap();
    }
    // Wait to be killed, so that the end of the process never closes the database.
    loop {
        std::thread::park();
    }
}

#[test]
fn a_node_killed_while_it_applies_goes_on_where_it_was() {
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
    let (_, uninterrupted) = run(&plain_of(Options::default()), &log);
    assert_eq!(digest(&killed), uninterrupted);
}

/// `cargo test --release -p conclave-storage --test state_apply -- --ignored --nocapture`
#[test]
#[ignore = "measures; run it with --release"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn what_a_message_costs() {
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

/// CPU time of this process so far, in microseconds (clock ticks of 10 ms).
fn cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next().unwrap().parse::<f64>().unwrap();
    (ticks() + ticks()) * 10_000.0
}
