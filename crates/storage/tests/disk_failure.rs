//! A disk that fails to read, write or sync is a failed disk, and is never taken for damaged data.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod log_support;
mod state_support;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use conclave_storage::{
    Fault,
    log::{LogStore as _, Options, SegmentLog, Syncer, Vote},
    state::{OpenError, State},
};
use rustix::io::Errno;

/// Path whose first byte cannot be read: an I/O error, as of a disk that does not return a sector.
const UNREADABLE: &str = "/proc/self/mem";

/// A disk whose syncs fail from some moment on.
#[derive(Debug)]
struct Disk {
    fails: AtomicBool,
    with: Errno,
}

impl Syncer for Disk {
    fn sync(&self, _: &File) -> io::Result<()> {
        match self.fails.load(Ordering::SeqCst) {
            true => Err(self.with.into()),
            false => Ok(()),
        }
    }
}

/// Replaces a file with one that the system cannot read.
fn make_unreadable(path: &Path) {
    fs::remove_file(path).unwrap();
    symlink(UNREADABLE, path).unwrap();
}

/// Returns a log whose disk fails with `errno` at its second entry, which is appended by the caller
/// or by the log's own thread.
fn failed_log(errno: Errno, here: bool) -> (tempfile::TempDir, SegmentLog) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk {
        fails: AtomicBool::new(false),
        with: errno,
    });
    let options = Options {
        syncer: Some(disk.clone()),
        ..log_support::options()
    };
    let log = SegmentLog::open(dir.path(), options).unwrap();
    log_support::append(&log, vec![log_support::entry(1, 1, 50)]);
    assert_eq!(log.disk_failure(), None);
    disk.fails.store(true, Ordering::SeqCst);
    let (done, result) = log_support::completion();
    let entries = vec![log_support::entry(1, 2, 50)];
    let accepted = match here {
        true => log.append_here(entries, done),
        false => log.append(entries, done),
    };
    accepted.unwrap();
    result.recv().unwrap().unwrap_err();
    (dir, log)
}

#[test]
fn a_failed_log_sync_is_reported_as_a_failed_disk() {
    for (errno, fault, here) in [
        (Errno::IO, Fault::Failed, false),
        (Errno::IO, Fault::Failed, true),
        (Errno::ROFS, Fault::Failed, false),
        (Errno::DQUOT, Fault::Full, false),
        (Errno::ACCESS, Fault::Refused, true),
    ] {
        let (dir, log) = failed_log(errno, here);
        let failure = log.disk_failure().unwrap();
        assert_eq!(failure.fault, fault, "{errno:?}");
        assert!(failure.why.contains("os error"), "{failure}");
        assert_eq!(log.damage(), None);
        drop(log);
        // On a working disk it is a whole log.
        log_support::open(dir.path());
    }
}

#[test]
fn an_unreadable_segment_is_a_failed_disk_a_missing_one_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = log_support::open(dir.path());
    for index in 1..=60 {
        log_support::append(&log, vec![log_support::entry(1, index, 500)]);
    }
    let first = log_support::segments(dir.path()).remove(0);
    make_unreadable(&first);
    log.verify(|| true).unwrap_err();
    assert_eq!(log.disk_failure().unwrap().fault, Fault::Failed);
    assert_eq!(log.damage(), None);
    let (done, _) = log_support::completion();
    let vote = Vote {
        term: 9,
        node: 1,
        committed: false,
    };
    log.save_vote(vote, done)
        .expect_err("it takes nothing more");
    drop(log);
    let error = log_support::try_open(dir.path()).err().unwrap();
    assert!(!error.is_damage(), "{error:?}");

    let dir = tempfile::tempdir().unwrap();
    let log = log_support::open(dir.path());
    for index in 1..=60 {
        log_support::append(&log, vec![log_support::entry(1, index, 500)]);
    }
    fs::remove_file(log_support::segments(dir.path()).remove(0)).unwrap();
    let error = log.verify(|| true).unwrap_err();
    assert!(error.is_damage(), "{error:?}");
    assert!(log.damage().is_some());
    assert_eq!(log.disk_failure(), None);
}

#[test]
fn entries_of_a_truncated_segment_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = log_support::open(dir.path());
    for index in 1..=60 {
        log_support::append(&log, vec![log_support::entry(1, index, 500)]);
    }
    let first = log_support::segments(dir.path()).remove(0);
    let file = File::options().write(true).open(first).unwrap();
    file.set_len(0).unwrap();
    log.read(1..3, usize::MAX).unwrap_err();
    assert!(log.damage().is_some());
    assert_eq!(log.disk_failure(), None);
}

/// Returns a state with some messages, in a directory of its own.
fn state() -> (tempfile::TempDir, State) {
    let dir = tempfile::tempdir().unwrap();
    let mut state = State::open(dir.path(), state_support::tiny()).unwrap();
    state_support::people(&mut state, &["alice", "bob"]);
    (dir, state)
}

#[test]
fn a_database_unreadable_at_start_is_a_failed_disk() {
    let (dir, state) = state();
    drop(state);
    make_unreadable(&dir.path().join("state.db"));
    let error = State::open(dir.path(), state_support::tiny())
        .err()
        .unwrap();
    assert!(!error.is_damage(), "{error:?}");
    let OpenError::Disk(failure) = error else {
        panic!("{error:?}");
    };
    assert_eq!(failure.fault, Fault::Failed);
}

#[test]
fn a_database_that_becomes_unreadable_is_a_failed_disk() {
    let (dir, state) = state();
    // No connection for reading is open yet.
    make_unreadable(&dir.path().join("state.db"));
    let reader = state.reader();
    reader.applied().unwrap_err();
    assert_eq!(reader.damage(), None);
    assert_eq!(reader.disk_failure().unwrap().fault, Fault::Failed);
    assert!(reader.failure().is_some(), "the node stops");
}
