//! A state with damaged files reports the damage, or is correct once the log was applied again.
//!
//! The digest shows damage that SQLite cannot see: that nodes compare digests is not tested here.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod state_support;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use conclave_storage::state::{
    CHAIN_POINT_ENTRIES, CHAIN_POINTS_KEPT, CheckError, Digest, Entry, OpenError, Options, State,
};
use state_support::*;

/// Number of damages of each kind.
const ROUNDS: u64 = 150;
/// Number of entries of the log whose state is damaged.
const ENTRIES: u64 = 400;

/// Random number generator: the same seed gives the same numbers.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn log() -> Vec<Entry> {
    let mut entries = vec![entry(
        1,
        batch(
            START,
            vec![
                once(1, create("alice")),
                once(2, create("bob")),
                once(3, login(1)),
            ],
        ),
    )];
    for index in 2..=ENTRIES {
        let text = format!("message {index} {}", "and so on ".repeat(20));
        let said = vec![ask(1, index, say("bob", &text))];
        entries.push(entry(index, batch(START + index, said)));
    }
    entries
}

/// Outcome for a damaged state.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The state is not opened, accepts no entry, or a check finds it bad.
    Noticed,
    /// Every row is what it should be.
    Harmless,
    /// Only a comparison with other nodes shows the damage.
    Differs,
}

/// Opens the state, applies the rest of the log, and checks the result.
fn outcome(directory: &Path, entries: &[Entry], truth: &Digest) -> Outcome {
    let mut state = match State::open(directory, Options::default()) {
        Ok(state) => state,
        Err(error) => {
            let known = matches!(
                error,
                OpenError::NotOurs { .. } | OpenError::TooOld { .. } | OpenError::TooNew { .. }
            );
            assert!(error.is_damage() || known, "{error:?}");
            return Outcome::Noticed;
        }
    };
    let applied = state.applied().last.map_or(0, |last| last.index);
    if applied > ENTRIES {
        // The log turns out to end too early.
        return Outcome::Noticed;
    }
    for entries in entries[applied as usize..].chunks(50) {
        let tried = catch_unwind(AssertUnwindSafe(|| state.apply(entries)));
        match tried.expect("damage is no panic") {
            Ok(_) => {}
            Err(error) => {
                assert!(state.reader().damage().is_some(), "{error:?}");
                return Outcome::Noticed;
            }
        }
    }
    let checked = state.reader().pin().map(|pinned| {
        pinned.check_file()?;
        pinned.digest(&mut || true)
    });
    match checked {
        Ok(Ok(found)) if found.digest == truth.digest => Outcome::Harmless,
        Ok(Ok(_)) => Outcome::Differs,
        Ok(Err(CheckError::Damaged(_) | CheckError::Sqlite(_))) | Err(_) => Outcome::Noticed,
        Ok(Err(error)) => panic!("{error}"),
    }
}

/// Returns the files of a state in the midst of its work, as a killed process leaves them.
fn files(entries: &[Entry], is_read: bool) -> (Vec<(PathBuf, Vec<u8>)>, Digest) {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    for part in entries[..100].chunks(10) {
        state.apply(part).unwrap();
    }
    // A reader keeps the write-ahead log from being restarted: the log's beginning is in the
    // database by then, and is read from the log all the same.
    let pinned = is_read.then(|| state.reader().pin().unwrap());
    for part in entries[100..300].chunks(10) {
        state.apply(part).unwrap();
    }
    let mark = directory.path().join("state.mark");
    let before = fs::read(&mark).ok();
    state.apply(&entries[300..301]).unwrap();
    // The thread that moves the write-ahead log into the database writes the mark.
    while !mark.exists() || fs::read(&mark).ok() == before {
        std::thread::yield_now();
    }
    for part in entries[301..350].chunks(10) {
        state.apply(part).unwrap();
    }
    let files = ["state.db", "state.db-wal", "state.mark"].map(|name| {
        let bytes = fs::read(directory.path().join(name)).unwrap();
        (PathBuf::from(name), bytes)
    });
    drop(pinned);
    for part in entries[350..].chunks(10) {
        state.apply(part).unwrap();
    }
    (files.to_vec(), digest(&state))
}

#[expect(clippy::print_stdout, reason = "a replayed seed prints what it did")]
fn tell(what: &str) {
    println!("{what}");
}

/// Damages one file many times; returns how often each outcome occurred.
fn damaged(name: &str, seed: u64) -> [u64; 3] {
    tell(&format!("seed {seed:#x}"));
    let entries = log();
    let (files, truth) = files(&entries, name == "state.db-wal");
    let mut chance = Chance(seed);
    let mut counts = [0; 3];
    for round in 0..ROUNDS {
        let directory = tempfile::tempdir().unwrap();
        for (file, bytes) in &files {
            let mut bytes = bytes.clone();
            let offset = chance.below(bytes.len());
            if file == Path::new(name) {
                match round % 4 {
                    0 => bytes.truncate(offset),
                    _ => bytes[offset] ^= 1 << chance.below(8),
                }
            }
            fs::write(directory.path().join(file), bytes).unwrap();
        }
        let at = match outcome(directory.path(), &entries, &truth) {
            Outcome::Noticed => 0,
            Outcome::Harmless => 1,
            Outcome::Differs => 2,
        };
        counts[at] += 1;
    }
    let [noticed, harmless, differs] = counts;
    tell(&format!(
        "{name}: {noticed} noticed, {harmless} harmless, {differs} seen by comparing"
    ));
    counts
}

#[test]
fn a_damaged_database_is_detected_locally_or_by_digests() {
    let [noticed, _, differs] = damaged("state.db", 0x51ab_0000_0000_0001);
    assert!(
        noticed > 0 && differs > 0,
        "the damages were not of all kinds"
    );
}

#[test]
fn a_damaged_write_ahead_log_is_detected_or_repaired_by_the_log() {
    let [noticed, harmless, differs] = damaged("state.db-wal", 0x51ab_0000_0000_0002);
    assert!(
        noticed > 0 && harmless > 0,
        "the damages were not of all kinds"
    );
    assert_eq!(differs, 0, "a mixture of two moments was taken for a state");
}

#[test]
fn a_damaged_state_mark_is_harmless() {
    let [_, harmless, _] = damaged("state.mark", 0x51ab_0000_0000_0003);
    assert_eq!(harmless, ROUNDS);
}

#[test]
fn an_emptied_database_is_not_treated_as_new() {
    let entries = log();
    let (files, _) = files(&entries, false);
    let directory = tempfile::tempdir().unwrap();
    let mark = &files[2];
    fs::write(directory.path().join(&mark.0), &mark.1).unwrap();
    let refused = State::open(directory.path(), Options::default());
    assert!(matches!(refused, Err(OpenError::Behind { applied: 0, .. })));
}

#[test]
fn chain_points_are_fixed_however_entries_are_grouped() {
    let entries = log();
    let points = |at_once: usize| {
        let directory = tempfile::tempdir().unwrap();
        let mut state = State::open(directory.path(), Options::default()).unwrap();
        for part in entries.chunks(at_once) {
            state.apply(part).unwrap();
        }
        state.reader().chain_points().unwrap()
    };
    let one = points(1);
    assert_eq!(one, points(77));
    let places: Vec<u64> = one.iter().map(|point| point.index).collect();
    assert_eq!(places, [64, 128, 192, 256, 320, 384, ENTRIES]);
}

#[test]
fn only_the_newest_chain_points_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    let last = (CHAIN_POINTS_KEPT + 3) * CHAIN_POINT_ENTRIES;
    let blanks: Vec<Entry> = (1..=last)
        .map(|index| entry(index, conclave_storage::state::Payload::Blank))
        .collect();
    state.apply(&blanks).unwrap();
    let points = state.reader().chain_points().unwrap();
    assert_eq!(points.len() as u64, CHAIN_POINTS_KEPT);
    assert_eq!(points[0].index, 4 * CHAIN_POINT_ENTRIES);
}

#[test]
fn a_pinned_state_stays_unchanged_while_entries_are_applied() {
    let entries = log();
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    state.apply(&entries[..300]).unwrap();
    let then = digest(&state);
    let pinned = state.reader().pin().unwrap();
    state.apply(&entries[300..]).unwrap();
    assert_eq!(pinned.index(), 300);
    assert_eq!(pinned.digest(&mut || true).unwrap(), then);
    pinned.check_file().unwrap();
    assert!(matches!(
        pinned.digest(&mut || false),
        Err(CheckError::Interrupted)
    ));
    assert_ne!(digest(&state), then);
}

#[test]
fn a_snapshot_of_a_damaged_state_fails_and_reports_the_damage() {
    let entries = log();
    let directory = tempfile::tempdir().unwrap();
    let mut state = State::open(directory.path(), Options::default()).unwrap();
    state.apply(&entries).unwrap();
    drop(state);
    let file = directory.path().join("state.db");
    let whole = fs::read(&file).unwrap();
    let mut chance = Chance(0x51ab_0000_0000_0004);
    let mut noticed = 0;
    for _ in 0..ROUNDS / 3 {
        let mut bytes = whole.clone();
        let offset = 4096 + chance.below(bytes.len() - 4096);
        bytes[offset] ^= 1 << chance.below(8);
        fs::write(&file, bytes).unwrap();
        let Ok(state) = State::open(directory.path(), Options::default()) else {
            continue;
        };
        let reader = state.reader();
        let target = directory.path().join("snapshot");
        if reader.snapshot_to(&target).is_err() {
            assert!(reader.damage().is_some(), "at {offset}");
            assert!(!target.exists());
            noticed += 1;
        } else {
            fs::remove_file(target).unwrap();
        }
        drop((state, reader));
        let _ = fs::remove_file(directory.path().join("state.db-wal"));
    }
    assert!(noticed > 0, "none of the damages was of this kind");
}
