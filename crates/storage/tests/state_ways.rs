//! Random logs of all commands: however they are applied they make one state, and every number that
//! is stored in it is what counting returns.

#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod generated_commands;
mod read_support;
mod state_support;
mod story;

use std::path::Path;

use conclave_storage::state::{Digest, Entry, EntryResult, Options, State};
use generated_commands::*;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use state_support::*;
use story::rows;

/// A way to apply a log to a state.
#[derive(Clone)]
struct Way {
    options: Options,
    entries_per_transaction: usize,
    entries_per_opening: usize,
    snapshot_after: usize,
}

fn run(way: &Way, entries: &[Entry]) -> (Vec<EntryResult>, Digest, tempfile::TempDir) {
    let mut directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), way.options.clone()).unwrap();
    let mut results = Vec::new();
    let mut since_opening = 0;
    for chunk in entries.chunks(way.entries_per_transaction) {
        results.extend(state.apply(chunk).unwrap());
        since_opening += chunk.len();
        if since_opening >= way.entries_per_opening {
            drop(state);
            state = State::open(directory.path(), way.options.clone()).unwrap();
            since_opening = 0;
        }
        if results.len() == way.snapshot_after {
            let other = tempfile::tempdir().unwrap();
            let file = other.path().join("snapshot");
            state.reader().snapshot_to(&file).unwrap();
            state = State::open(other.path(), way.options.clone()).unwrap();
            state.install(&file).unwrap();
            directory = other;
        }
    }
    (results, digest(&state), directory)
}

fn check(generated: &[GeneratedCommand]) {
    let entries = log(generated);
    let plain = Way {
        options: Options::default(),
        entries_per_transaction: 1,
        entries_per_opening: usize::MAX,
        snapshot_after: usize::MAX,
    };
    let (results, digest, directory) = run(&plain, &entries);
    let others = [
        Way {
            entries_per_transaction: 50,
            ..plain.clone()
        },
        Way {
            options: tiny(),
            ..plain.clone()
        },
        Way {
            entries_per_opening: 3,
            ..plain.clone()
        },
        Way {
            options: tiny(),
            snapshot_after: entries.len() / 2,
            ..plain.clone()
        },
    ];
    for (number, way) in others.iter().enumerate() {
        let (again, same, _directory) = run(way, &entries);
        assert_eq!(again, results, "way {number}");
        assert_eq!(same, digest, "way {number}");
    }
    check_counters(directory.path());
}

/// Queries that find contradictions: none of them may ever return a row.
const CONTRADICTIONS: [&str; 16] = [
    "SELECT accounts, admins FROM meta WHERE accounts <> (SELECT count(*) FROM accounts)
        OR admins <> (SELECT count(*) FROM accounts WHERE role = 1 AND suspended = 0)",
    "SELECT rooms FROM meta WHERE rooms <>
        (SELECT count(*) FROM conversations WHERE key IS NOT NULL)",
    "SELECT invites, throttles FROM meta WHERE invites <> (SELECT count(*) FROM invites)
        OR throttles <> (SELECT count(*) FROM throttles)",
    "SELECT changes FROM meta WHERE changes <> (SELECT count(*) FROM changes)
        OR orphans <> (SELECT count(*) FROM orphans)
        OR once_last < (SELECT coalesce(max(number), 0) FROM once_answers)",
    "SELECT pool, answers FROM once_pools p
        WHERE answers <> (SELECT count(*) FROM once_answers WHERE pool = p.pool)
        OR (SELECT count(*) FROM once_answers)
            <> (SELECT sum(answers) FROM once_pools)",
    "SELECT 'offered beside an administrator' FROM meta
        WHERE admins > 0 AND setup_token IS NOT NULL",
    "SELECT id, members FROM conversations c WHERE key IS NOT NULL
        AND members <> (SELECT count(*) FROM members WHERE conversation = c.id)",
    "SELECT id FROM conversations c WHERE key IS NULL AND direct_low IS NULL
        AND id NOT IN (SELECT conversation FROM orphans WHERE conversation IS NOT NULL)",
    "SELECT conversation, sequence, ordinal FROM
        (SELECT *, row_number() OVER (PARTITION BY conversation, by_account ORDER BY sequence)
            AS n, row_number() OVER (PARTITION BY conversation ORDER BY position) AS place
            FROM messages WHERE conversation NOT IN
            (SELECT conversation FROM orphans WHERE conversation IS NOT NULL))
        WHERE ordinal <> n OR sequence <> place",
    "SELECT conversation, account, sent_read FROM members m WHERE sent_read <>
        (SELECT count(*) FROM messages WHERE conversation = m.conversation
            AND by_account = m.account AND sequence <= m.read)",
    "SELECT conversation, sequence, reaction, count FROM reaction_counts c WHERE count <>
        (SELECT count(*) FROM reactions r WHERE r.conversation = c.conversation
            AND r.sequence = c.sequence AND r.reaction = c.reaction)",
    "SELECT conversation, sequence, reaction FROM reactions
        WHERE (conversation, sequence, reaction) NOT IN
        (SELECT conversation, sequence, reaction FROM reaction_counts)",
    "SELECT conversation, sequence FROM messages WHERE text IS NULL AND
        ((conversation, sequence) IN (SELECT conversation, sequence FROM mentions)
        OR (conversation, sequence) IN (SELECT conversation, sequence FROM reactions))",
    "SELECT * FROM members WHERE account NOT IN (SELECT id FROM accounts)
        OR conversation NOT IN (SELECT id FROM conversations)",
    "SELECT * FROM invitations WHERE account NOT IN (SELECT id FROM accounts)
        OR (conversation, account) IN (SELECT conversation, account FROM members)
        OR conversation NOT IN (SELECT id FROM conversations WHERE key IS NOT NULL)",
    "SELECT account FROM webhooks w WHERE (conversation, account) NOT IN
        (SELECT conversation, account FROM members)",
];

fn check_counters(directory: &Path) {
    for sql in CONTRADICTIONS {
        assert_eq!(rows(directory, sql), [""; 0], "{sql}");
    }
    let sql = "SELECT account, other FROM blocks WHERE account NOT IN (SELECT id FROM accounts)
        OR other NOT IN (SELECT id FROM accounts)";
    assert_eq!(rows(directory, sql), [""; 0], "an account that is gone");
}

/// Returns a configuration with enough cases for the desk; a failing log is kept as a test, not as
/// a seed.
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
    fn one_log_gives_one_state_with_correct_counters(
        generated in prop::collection::vec(generated_command(), 1..150)
    ) {
        check(&generated);
    }
}

#[test]
fn generated_commands_succeed_often_enough() {
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(generated_command(), 150);
    let mut told = std::collections::BTreeMap::<String, u64>::new();
    for _ in 0..40 {
        let generated = strategy.new_tree(&mut runner).unwrap().current();
        let plain = Way {
            options: Options::default(),
            entries_per_transaction: 50,
            entries_per_opening: usize::MAX,
            snapshot_after: usize::MAX,
        };
        let (results, ..) = run(&plain, &log(&generated));
        for (_, event) in results.into_iter().flat_map(|result| result.events) {
            let shown = format!("{event:?}");
            let kind = shown.split([' ', '{']).next().unwrap().to_owned();
            *told.entry(kind).or_default() += 1;
        }
    }
    assert_eq!(told.len(), 49, "{told:?}");
}
