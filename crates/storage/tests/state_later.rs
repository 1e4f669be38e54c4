//! A file of the release after this one is used by this build: a node can go back one release.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod read_support;
mod state_support;
mod story;

use conclave_storage::state::{Options, SCHEMA_VERSION, State};
use read_support::opened;
use state_support::digest;
use story::{story, tables};

#[test]
fn a_file_of_a_later_build_is_used_as_any_other() {
    let (directory, state) = opened();
    drop(state);
    let path = directory.path().join("state.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    for table in tables(directory.path()) {
        let sql = format!("ALTER TABLE {table} ADD COLUMN later INTEGER NOT NULL DEFAULT 7");
        connection.execute(&sql, []).unwrap();
    }
    let sql = "CREATE TABLE later (id INTEGER PRIMARY KEY) STRICT; INSERT INTO later VALUES (1)";
    connection.execute_batch(sql).unwrap();
    let next = SCHEMA_VERSION + 1;
    connection
        .execute("UPDATE format SET version = ?1", [next])
        .unwrap();
    connection
        .pragma_update(None, "user_version", next)
        .unwrap();
    connection.close().unwrap();

    let mut later = State::open(directory.path(), Options::default()).unwrap();
    story(&mut later);
    let (_kept, mut plain) = opened();
    story(&mut plain);
    assert_eq!(
        digest(&later),
        digest(&plain),
        "what only it has is in no digest"
    );

    // A snapshot of it goes to a node whose tables are of this build.
    let file = directory.path().join("snapshot");
    later.reader().snapshot_to(&file).unwrap();
    let (_other, mut receiver) = opened();
    receiver.install(&file).unwrap();
    assert_eq!(digest(&receiver), digest(&plain));
    drop(later);
    let again = State::open(directory.path(), Options::default()).unwrap();
    assert_eq!(digest(&again), digest(&plain));
}
