//! The state of a witness: what concerns the cluster is as on every full node, and nothing of
//! people is in it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod generated_commands;
mod read_support;
mod state_support;
mod story;

use std::path::Path;

use conclave_storage::state::{Entry, Options, State};
use generated_commands::*;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use story::rows;

/// What the log says of the cluster.
const OF_THE_CLUSTER: [&str; 7] = [
    "SELECT applied_index, log_time, date, node_last, preferred_leader, authority_generation,
        authority_next, cluster_version FROM meta",
    "SELECT * FROM membership",
    "SELECT * FROM join_tokens ORDER BY 1",
    "SELECT * FROM operators ORDER BY 1",
    "SELECT * FROM cluster_nodes ORDER BY 1",
    "SELECT * FROM retired_nodes ORDER BY 1",
    "SELECT * FROM date_steps ORDER BY 1",
];

/// What it says of people: of each there is something in the whole of the generated logs.
const OF_PEOPLE: [&str; 12] = [
    "SELECT id FROM accounts",
    "SELECT id FROM sessions",
    "SELECT session FROM answers",
    "SELECT id FROM conversations",
    "SELECT conversation FROM members",
    "SELECT conversation FROM messages",
    "SELECT conversation FROM reactions",
    "SELECT id FROM invites",
    "SELECT account FROM blocks",
    "SELECT position FROM changes",
    "SELECT key FROM throttles",
    "SELECT 'a person' FROM meta
        WHERE accounts + messages + admins + rooms + invites + throttles + changes > 0",
];

fn witness() -> Options {
    Options {
        witness: true,
        ..Options::default()
    }
}

fn state_of(directory: &Path, options: Options, entries: &[Entry]) -> State {
    let mut state = State::open(directory, options).unwrap();
    for chunk in entries.chunks(20) {
        state.apply(chunk).unwrap();
    }
    state
}

fn is_same_cluster(one: &Path, other: &Path) {
    for sql in OF_THE_CLUSTER {
        assert_eq!(rows(one, sql), rows(other, sql), "{sql}");
    }
}

#[test]
fn a_witness_knows_the_cluster_as_full_nodes_do_and_no_person() {
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(generated_command(), 150);
    let mut seen = [0; OF_PEOPLE.len()];
    for _ in 0..20 {
        let entries = log(&strategy.new_tree(&mut runner).unwrap().current());
        let directories = [(); 4].map(|()| tempfile::tempdir().unwrap());
        let [full, follower, joined, brought] = &directories;
        let half = entries.len() / 2;
        let mut state = state_of(full.path(), Options::default(), &entries[..half]);
        let snapshot = brought.path().join("snapshot");
        state.reader().snapshot_to(&snapshot).unwrap();
        state.apply(&entries[half..]).unwrap();

        // One follows the log from its beginning, one gets a snapshot on the way.
        state_of(follower.path(), witness(), &entries);
        let mut late = State::open(joined.path(), witness()).unwrap();
        late.install(&snapshot).unwrap();
        for sql in OF_PEOPLE {
            assert_eq!(rows(joined.path(), sql), [""; 0], "after a snapshot: {sql}");
        }
        late.apply(&entries[half..]).unwrap();
        drop((late, state));
        for directory in [follower.path(), joined.path()] {
            is_same_cluster(full.path(), directory);
            for sql in OF_PEOPLE {
                assert_eq!(rows(directory, sql), [""; 0], "{sql}");
            }
        }
        for (count, sql) in seen.iter_mut().zip(OF_PEOPLE) {
            *count += rows(full.path(), sql).len();
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn a_directory_with_people_loses_them_when_a_witness_opens_it() {
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(generated_command(), 3000);
    let entries = log(&strategy.new_tree(&mut runner).unwrap().current());
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [full, directory] = &directories;
    drop(state_of(full.path(), Options::default(), &entries));
    drop(state_of(directory.path(), Options::default(), &entries));
    let file = directory.path().join("state.db");
    let before = std::fs::metadata(&file).unwrap().len();
    drop(State::open(directory.path(), witness()).unwrap());
    is_same_cluster(full.path(), directory.path());
    for sql in OF_PEOPLE {
        assert_eq!(rows(directory.path(), sql), [""; 0], "{sql}");
    }
    let after = std::fs::metadata(&file).unwrap().len();
    assert!(
        after < before,
        "their room is given back: {after} of {before}"
    );
}
