//! Snapshots and checkpoints: damaged ones are refused, and a crash leaves one whole state.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod state_support;

use std::{fs, path::Path};

use conclave_storage::state::{Digest, Options, SCHEMA_VERSION, State};
use state_support::*;

/// Returns a state with messages, and a snapshot file of it.
fn source(directory: &Path) -> (State, std::path::PathBuf) {
    let mut state = State::open(directory, Options::default()).unwrap();
    people(&mut state, &["ann", "bea"]);
    for number in 1..=50 {
        accept(
            &mut state,
            vec![ask(1, number, say("bea", "a text that fills some space"))],
        );
    }
    let file = directory.join("snapshot");
    let made = state.reader().snapshot_to(&file).unwrap();
    assert_eq!(made.applied, state.applied());
    let bytes = fs::read(&file).unwrap();
    assert_eq!(made.bytes, bytes.len() as u64);
    assert_eq!(made.blake3, *blake3::hash(&bytes).as_bytes());
    (state, file)
}

/// Returns a state with other contents.
fn target(directory: &Path) -> State {
    let mut state = State::open(directory, Options::default()).unwrap();
    people(&mut state, &["zoe"]);
    state
}

#[test]
fn an_installed_snapshot_is_the_state_and_readers_follow() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, file) = source(one.path());
    let mut to = target(two.path());
    let reader = to.reader();
    assert_eq!(reader.digest().unwrap().accounts, 1);
    assert_eq!(to.install(&file).unwrap(), from.applied());
    assert_eq!(reader.digest().unwrap(), digest(&from));
    assert!(to.checkpoint().unwrap().complete);
    // The snapshot has the sessions and their memory.
    let mut from = from;
    let retry = || vec![ask(1, 50, say("bea", "a text that fills some space"))];
    assert_eq!(apply(&mut to, retry()), apply(&mut from, retry()));
    drop(to);
    let to = State::open(two.path(), Options::default()).unwrap();
    assert_eq!(digest(&to), digest(&from));
}

#[test]
fn a_damaged_snapshot_is_refused_and_the_old_state_stays() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, file) = source(one.path());
    let expected = digest(&from);
    let whole = fs::read(&file).unwrap();
    let mut to = target(two.path());
    let before = digest(&to);
    let damaged = two.path().join("damaged");
    let mut refuse = |bytes: &[u8], what: &str| {
        fs::write(&damaged, bytes).unwrap();
        assert!(to.install(&damaged).is_err(), "{what}");
        assert_eq!(digest(&to), before, "{what}");
    };
    for length in [0, 50, 100, 4096, whole.len() - 4096, whole.len() - 1] {
        refuse(&whole[..length], "truncated");
    }
    let mut other_version = whole.clone();
    other_version[60..64].copy_from_slice(&(SCHEMA_VERSION + 1).to_be_bytes());
    refuse(&other_version, "a newer version");
    other_version[60..64].copy_from_slice(&(SCHEMA_VERSION - 1).to_be_bytes());
    refuse(&other_version, "an older version");
    let mut other_program = whole.clone();
    other_program[68] ^= 1;
    refuse(&other_program, "another program's file");
    let needle = b"a text that fills";
    let text = whole
        .windows(needle.len())
        .position(|part| part == needle)
        .unwrap();
    let mut flipped = whole.clone();
    flipped[text] ^= 0x20;
    refuse(&flipped, "one bit of one text");

    // For any flipped bit: the snapshot is refused, or the bit was in a place that holds nothing.
    for place in (0..whole.len()).step_by(997) {
        let mut flipped = whole.clone();
        flipped[place] ^= 4;
        let three = tempfile::tempdir().unwrap();
        let mut to = target(three.path());
        let damaged = three.path().join("damaged");
        fs::write(&damaged, &flipped).unwrap();
        let accepted = to.install(&damaged).is_ok();
        assert_eq!(
            digest(&to),
            if accepted {
                expected.clone()
            } else {
                before.clone()
            }
        );
    }
}

#[test]
fn a_crash_during_an_installation_leaves_one_whole_state() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, file) = source(one.path());
    let to = target(two.path());
    let (old, new) = (digest(&to), digest(&from));
    let copy_of = |suffixes: &[&str]| {
        let directory = tempfile::tempdir().unwrap();
        for suffix in suffixes {
            let name = format!("state.db{suffix}");
            fs::copy(two.path().join(&name), directory.path().join(&name)).unwrap();
        }
        directory
    };
    let found = |directory: &Path| -> Digest {
        let state = State::open(directory, Options::default()).unwrap();
        assert!(!directory.join("state.db.new").exists());
        digest(&state)
    };
    // The snapshot lies beside a state whose write-ahead log is full: perhaps half of it.
    let beside = copy_of(&["", "-wal"]);
    fs::copy(&file, beside.path().join("state.db.new")).unwrap();
    assert_eq!(found(beside.path()), old);
    let half = copy_of(&["", "-wal"]);
    fs::write(
        half.path().join("state.db.new"),
        &fs::read(&file).unwrap()[..5000],
    )
    .unwrap();
    assert_eq!(found(half.path()), old);
    // The write-ahead log was emptied and removed.
    drop(to);
    assert!(
        !two.path().join("state.db-wal").exists(),
        "closing empties the log"
    );
    let closed = copy_of(&[""]);
    fs::copy(&file, closed.path().join("state.db.new")).unwrap();
    assert_eq!(found(closed.path()), old);
    // The file is renamed, and not opened yet.
    let renamed = copy_of(&[""]);
    fs::rename(&file, renamed.path().join("state.db")).unwrap();
    assert_eq!(found(renamed.path()), new);
}

#[test]
fn a_checkpoint_past_a_pinned_reader_does_not_move_the_fence() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = target(directory.path());
    let fence = state.checkpoint().unwrap();
    assert_eq!(
        (fence.complete, fence.synced_through),
        (true, state.applied().last)
    );
    let mut pinned = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    let reading = pinned.transaction().unwrap();
    let rows = |_: &rusqlite::Row<'_>| Ok(());
    reading.query_row("SELECT 1 FROM meta", [], rows).unwrap();
    accept(&mut state, vec![once(9, create("late"))]);
    let stuck = state.checkpoint().unwrap();
    assert!(!stuck.complete);
    assert_eq!(stuck.synced_through, fence.synced_through);
    drop(reading);
    let free = state.checkpoint().unwrap();
    assert_eq!(
        (free.complete, free.synced_through),
        (true, state.applied().last)
    );
}

#[test]
fn the_write_ahead_log_is_checkpointed_while_entries_apply() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = target(directory.path());
    state.checkpoint().unwrap();
    let path = directory.path().join("state.db");
    let before = fs::read(&path).unwrap();
    let mut number = 10;
    // No test code asks for a checkpoint, and far too little is written for the writer to make one.
    while fs::read(&path).unwrap() == before {
        if number < 200 {
            let name = format!("late{number}");
            accept(&mut state, vec![once(number, create(&name))]);
            number += 1;
        }
        std::thread::yield_now();
    }
    assert!(state.checkpoint().unwrap().complete);
}

#[test]
fn a_database_of_another_version_or_program_is_not_changed() {
    let others = [
        ("user_version", SCHEMA_VERSION - 1),
        ("user_version", SCHEMA_VERSION + 1),
        ("application_id", 1),
    ];
    for (pragma, value) in others {
        let directory = tempfile::tempdir().unwrap();
        drop(target(directory.path()));
        let path = directory.path().join("state.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.pragma_update(None, pragma, value).unwrap();
        connection.close().unwrap();
        let before = fs::read(&path).unwrap();
        assert!(
            State::open(directory.path(), Options::default()).is_err(),
            "{pragma}"
        );
        assert_eq!(fs::read(&path).unwrap(), before, "{pragma}");
    }
}
