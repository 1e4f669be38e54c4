//! Bytes that were acknowledged and have changed since are never dropped, wherever they lie; and a
//! disk that fails to sync once is not asked again.

mod log_support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use conclave_storage::log::{LogState, LogStore, OpenError, Options, SegmentLog, Syncer, Vote};
use log_support::{append, completion, entry, id, open, segments, wait, written_end};

/// Number of rounds of the test of single damages.
const ROUNDS: u64 = 600;

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

fn vote(term: u64) -> Vote {
    Vote {
        term,
        node: 1,
        committed: term.is_multiple_of(2),
    }
}

fn unsynced() -> Options {
    Options {
        sync: false,
        ..log_support::options()
    }
}

/// Writes a log with everything in it that a log can hold; `last` writes its last frame.
fn written(dir: &Path, last: impl FnOnce(&SegmentLog)) -> LogState {
    let log = open(dir);
    wait(|done| log.save_vote(vote(1), done));
    for index in 1..=8 {
        append(&log, vec![entry(1, index, 150)]);
    }
    wait(|done| log.truncate_after(Some(id(1, 6)), done));
    wait(|done| log.purge(id(1, 2), done));
    append(&log, vec![entry(2, 7, 600), entry(2, 8, 20)]);
    last(&log);
    let state = log.state();
    drop(log);
    state
}

fn copy_of(path: &Path, bytes: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let name = path.file_name().expect("a file has a name");
    fs::write(dir.path().join(name), bytes).expect("it can be written");
    dir
}

/// Opens the only segment of a log with these bytes. Returns `None` if it is damaged.
fn reopened(path: &Path, bytes: &[u8]) -> Option<LogState> {
    let dir = copy_of(path, bytes);
    match SegmentLog::open(dir.path(), unsynced()) {
        Ok(log) => Some(log.state()),
        Err(OpenError::Damaged { .. } | OpenError::UnknownFormat { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Function that writes the last frame of a log.
type Last = fn(&SegmentLog);

#[test]
fn no_changed_byte_undoes_an_acknowledgement() {
    let lasts: [(&str, Last); 4] = [
        ("an entry", |log| append(log, vec![entry(2, 9, 300)])),
        ("a vote", |log| wait(|done| log.save_vote(vote(7), done))),
        ("a purge", |log| wait(|done| log.purge(id(1, 4), done))),
        ("a truncation", |log| {
            wait(|done| log.truncate_after(Some(id(2, 7)), done));
        }),
    ];
    for (what, last) in lasts {
        let dir = tempfile::tempdir().expect("a directory");
        let acknowledged = written(dir.path(), last);
        let path = segments(dir.path()).remove(0);
        let whole = fs::read(&path).expect("it can be read");
        let end = written_end(&path);
        // Some offsets lie in bytes that were never written.
        for offset in 0..end + 64 {
            for mask in [1 << (offset % 8), 0xff] {
                let mut bytes = whole.clone();
                bytes[offset] ^= mask;
                let found = reopened(&path, &bytes);
                if let Some(found) = found {
                    assert_eq!(found, acknowledged, "{what}: byte {offset} of {end}");
                    assert!(offset >= end, "{what}: byte {offset} is not noticed");
                }
            }
        }
    }
}

#[test]
fn a_torn_vote_is_dropped_and_the_rest_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let before = written(dir.path(), |_| {});
    let path = segments(dir.path()).remove(0);
    let start = written_end(&path);
    let log = open(dir.path());
    wait(|done| log.save_vote(vote(7), done));
    drop(log);
    let whole = fs::read(&path).expect("it can be read");
    for torn_at in start..written_end(&path) - 1 {
        let mut bytes = whole.clone();
        bytes[torn_at..].fill(0);
        assert_eq!(reopened(&path, &bytes), Some(before), "torn at {torn_at}");
    }
}

#[test]
fn a_sector_that_was_not_written_is_a_torn_tail() {
    let dir = tempfile::tempdir().expect("a directory");
    let before = written(dir.path(), |_| {});
    let path = segments(dir.path()).remove(0);
    let start = written_end(&path);
    let log = open(dir.path());
    append(&log, vec![entry(2, 9, 3000)]);
    drop(log);
    let whole = fs::read(&path).expect("it can be read");
    let end = written_end(&path);
    for sector in start / 512..=end / 512 {
        let mut bytes = whole.clone();
        bytes[(sector * 512).max(start)..((sector + 1) * 512).min(end)].fill(0);
        assert_eq!(reopened(&path, &bytes), Some(before), "sector {sector}");
    }
}

#[test]
fn random_single_damage_is_detected_or_harmless() {
    let seed = 0x0c0f_fee0_dead_10c5;
    println!("seed {seed:#x}");
    let mut chance = Chance(seed);
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    for index in 1..=120 {
        if index % 10 == 0 {
            wait(|done| log.save_vote(vote(index), done));
        }
        append(&log, vec![entry(1, index, 40 + index as usize * 3)]);
    }
    let acknowledged = log.state();
    drop(log);
    let acknowledged = LogState {
        committed: None,
        ..acknowledged
    };
    let files: Vec<(PathBuf, Vec<u8>)> = log_support::contents(dir.path());
    let mut noticed = 0;
    for round in 0..ROUNDS {
        let hurt = chance.below(files.len());
        let copy = tempfile::tempdir().expect("a directory");
        for (at, (path, bytes)) in files.iter().enumerate() {
            let mut bytes = bytes.clone();
            let offset = chance.below(bytes.len());
            match round % 4 {
                _ if at != hurt => {}
                0 => bytes.truncate(offset),
                _ => bytes[offset] ^= 1 << chance.below(8),
            }
            let name = path.file_name().expect("a file has a name");
            fs::write(copy.path().join(name), bytes).expect("it can be written");
        }
        match SegmentLog::open(copy.path(), unsynced()) {
            Ok(log) => {
                let found = LogState {
                    committed: None,
                    ..log.state()
                };
                assert_eq!(found, acknowledged, "round {round} of seed {seed:#x}");
                let all = log.read(0..999, usize::MAX).expect("it can be read");
                assert_eq!(all.len(), 120, "round {round} of seed {seed:#x}");
            }
            Err(OpenError::Damaged { .. } | OpenError::UnknownFormat { .. }) => noticed += 1,
            Err(error) => panic!("round {round} of seed {seed:#x}: {error}"),
        }
    }
    println!("{noticed} of {ROUNDS} noticed, the others harmless");
    assert!(noticed > ROUNDS / 2);
}

#[test]
fn verifying_the_log_detects_later_changes() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    for index in 1..=60 {
        append(&log, vec![entry(1, index, 500)]);
    }
    let found = log.verify(|| true).expect("nothing has changed");
    assert_eq!(found.frames, 60);
    assert!(found.segments > 3 && log.damage().is_none());
    wait(|done| log.purge(id(1, 20), done));
    log.verify(|| true).expect("what was purged is not missed");
    let path = segments(dir.path()).pop().expect("there is a segment");
    let mut bytes = fs::read(&path).expect("it can be read");
    bytes[300] ^= 4;
    fs::write(&path, bytes).expect("it can be written");
    let error = log.verify(|| true).expect_err("a byte has changed");
    assert!(error.is_damage());
    assert_eq!(log.damage(), Some(error.to_string()));
}

/// A disk that fails on request, and counts its syncs for each file.
#[derive(Debug, Default)]
struct Disk {
    fails: AtomicBool,
    /// Whether it fails for files that have no final name yet.
    fails_new: AtomicBool,
    /// Number of syncs of a file after one of them has failed.
    asked_again: Mutex<BTreeMap<u64, u64>>,
}

/// Returns whether a segment of the log is still being created in this file.
fn is_unnamed(file: &File) -> io::Result<bool> {
    let mut header = [0; 8];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut header, 0)?;
    Ok(header == [0; 8])
}

impl Syncer for Disk {
    fn sync(&self, file: &File) -> io::Result<()> {
        let file_number = file.metadata()?.ino();
        let mut asked_again = self.asked_again.lock().expect("no thread panics");
        if let Some(count) = asked_again.get_mut(&file_number) {
            *count += 1;
        }
        let fails_new = self.fails_new.load(Ordering::SeqCst) && is_unnamed(file)?;
        if fails_new || self.fails.load(Ordering::SeqCst) {
            asked_again.entry(file_number).or_default();
            return Err(io::Error::other("the disk has failed"));
        }
        Ok(())
    }
}

#[test]
fn after_a_failed_sync_nothing_is_retried_or_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(Disk::default());
    let options = Options {
        syncer: Some(disk.clone()),
        ..log_support::options()
    };
    let log = SegmentLog::open(dir.path(), options).expect("the log opens");
    append(&log, vec![entry(1, 1, 50)]);
    disk.fails.store(true, Ordering::SeqCst);
    let (done, result) = completion();
    log.append(vec![entry(1, 2, 50)], done)
        .expect("it is accepted");
    result
        .recv()
        .expect("it completes")
        .expect_err("it is not on disk");
    // The disk works again, which says nothing of the bytes that it had got before.
    disk.fails.store(false, Ordering::SeqCst);
    for index in [2, 3] {
        let (done, result) = completion();
        let refused = log.append(vec![entry(1, index, 50)], done);
        refused.expect_err("the log accepts nothing more");
        result.recv().expect_err("nothing is acknowledged");
    }
    let (done, _) = completion();
    log.save_vote(vote(9), done)
        .expect_err("it does not vote either");
    log.save_committed(Some(id(1, 1)))
        .expect_err("nor note anything");
    log.close();
    let asked_again = disk.asked_again.lock().expect("no thread panics");
    assert!(!asked_again.is_empty() && asked_again.values().all(|count| *count == 0));
}

/// Waits until the log accepts nothing more.
fn has_given_up(log: &SegmentLog) {
    while log.save_committed(None).is_ok() {
        std::thread::yield_now();
    }
}

#[test]
fn a_failed_sync_of_the_next_segment_stops_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(Disk::default());
    let options = Options {
        syncer: Some(disk.clone()),
        ..log_support::options()
    };
    drop(SegmentLog::open(dir.path(), options.clone()).expect("the log opens"));
    disk.fails_new.store(true, Ordering::SeqCst);
    let log = SegmentLog::open(dir.path(), options).expect("only the spare cannot be made");
    has_given_up(&log);
    let (done, _) = completion();
    log.save_vote(vote(9), done).expect_err("it does not vote");
}

#[test]
fn a_damaged_or_fenced_log_saves_no_vote() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    append(&log, vec![entry(1, 1, 500)]);
    let path = segments(dir.path()).pop().expect("there is a segment");
    let good = fs::read(&path).expect("it can be read");
    let mut bytes = good.clone();
    bytes[300] ^= 4;
    fs::write(&path, bytes).expect("it can be written");
    log.verify(|| true).expect_err("a byte has changed");
    let (done, _) = completion();
    log.save_vote(vote(9), done).expect_err("it does not vote");
    drop(log);
    fs::write(&path, good).expect("it can be written");
    let log = open(dir.path());
    log.fence("the state is another one");
    let (done, _) = completion();
    log.save_vote(vote(9), done).expect_err("it does not vote");
    assert_eq!(log.damage(), None, "the log itself is whole");
}
