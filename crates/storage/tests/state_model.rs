//! Storage decides as the simplest state does: the same log gives the same answers, however it is
//! cut, cached, interrupted or moved.

#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../core/tests/model/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a part of the core's own tests")]
mod model;
mod state_support;
#[path = "../../core/tests/support/mod.rs"]
#[allow(dead_code, reason = "a part of the core's own tests")]
mod support;

use std::sync::Arc;

use bytes::Bytes;
use conclave_core::{Accepted, Answer, Position};
use conclave_storage::state::{Digest, Entry, EntryResult, Options, Payload, State};
use model::plan::{Weather, plan, play};
use proptest::prelude::*;
use state_support::*;

fn entries(history: &model::plan::History) -> Vec<Entry> {
    let mut entries = vec![entry(
        1,
        Payload::Membership {
            bytes: Bytes::from_static(b"five nodes"),
            // The simplest state does not know the cluster's members.
            nodes: std::collections::BTreeSet::new(),
        },
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

/// A way to apply a log to a state.
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
    fn one_log_gives_one_state_however_it_is_applied(steps in plan(Weather::Wild, 120)) {
        check_all_ways(&play(&steps));
    }
}
