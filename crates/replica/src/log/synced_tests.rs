//! Tests of how far the log is on disk, and of what waits for that.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use conclave_core::{Event, Position, Timestamp};
use conclave_storage::{
    log::{self, Completion, LogStore, SegmentLog},
    search::Search,
    state::{self, State},
};
use futures::{poll, stream};
use openraft::storage::{IOFlushed, RaftLogStorage as _, RaftStateMachine as _};
use tokio::sync::watch;

use super::*;
use crate::{
    Listener,
    acks::gate::Gate,
    apply::{Observers, StateMachine, VersionNow},
    clocks::Clocks,
    convert::entry_in,
    health::meter::Meter,
    log::{store::Log, suite_tests::TextCodec},
    snapshot::{install_marker::InstallMarker, store::SnapshotStore},
};

/// A log whose disk has written, and does not say so before it is asked.
struct Slow {
    log: SegmentLog,
    held: Mutex<Vec<Completion>>,
}

impl LogStore for Slow {
    fn state(&self) -> log::LogState {
        self.log.state()
    }

    fn append(&self, entries: Vec<log::Entry>, done: Completion) -> io::Result<()> {
        self.held.lock().unwrap().push(done);
        self.log.append(entries, Box::new(|_| {}))
    }

    fn save_vote(&self, vote: log::Vote, done: Completion) -> io::Result<()> {
        self.log.save_vote(vote, done)
    }

    fn save_committed(&self, committed: Option<log::LogId>) -> io::Result<()> {
        self.log.save_committed(committed)
    }

    fn truncate_after(&self, last: Option<log::LogId>, done: Completion) -> io::Result<()> {
        self.log.truncate_after(last, done)
    }

    fn purge(&self, upto: log::LogId, done: Completion) -> io::Result<()> {
        self.log.purge(upto, done)
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<log::Entry>> {
        self.log.read(range, bytes_max)
    }

    fn read_recent(&self, range: Range<u64>, bytes_max: usize) -> Option<Vec<log::Entry>> {
        self.log.read_recent(range, bytes_max)
    }

    fn close(&self) {
        self.log.close();
    }
}

/// A listener that ignores everything.
struct Deaf;

impl Listener for Deaf {
    fn decided(&self, _: u64, _: Vec<(Position, Event)>) {}

    fn installed(&self, _: u64) {}
}

fn blank(index: u64) -> log::Entry {
    log::Entry {
        id: log::LogId {
            term: 1,
            node: 1,
            index,
        },
        kind: log::EntryKind::Blank,
        bytes: bytes::Bytes::new(),
    }
}

#[tokio::test]
async fn only_entries_that_are_durable_in_the_log_are_applied() {
    let directory = tempfile::tempdir().unwrap();
    let options = log::Options::default();
    let slow = Arc::new(Slow {
        log: SegmentLog::open(&directory.path().join("log"), options).unwrap(),
        held: Mutex::default(),
    });
    let state = State::open(directory.path(), state::Options::default()).unwrap();
    let observers = Observers {
        applied: watch::Sender::new(0),
        listener: Arc::new(Deaf),
        search: Search::start(directory.path(), state.reader()).unwrap(),
        clocks: Clocks::new(1, Arc::new(Timestamp::default), state.now()),
        meter: Meter::default(),
        version: VersionNow::new(None),
        gate: Gate::default(),
    };
    let codec = Arc::new(TextCodec);
    let mut log = Log::new(slow.clone(), codec.clone());
    let snapshots = directory.path().join("snapshots");
    let installed = InstallMarker::new(directory.path());
    let (mut machine, writer) = StateMachine::start(
        state,
        codec.clone(),
        SnapshotStore::new(&snapshots),
        observers,
        log.synced(),
        installed,
    )
    .unwrap();
    let mut again = machine.clone();
    let written = machine.written();
    let mut reading = Box::pin(written.reaches(1, Duration::from_secs(60)));
    assert!(poll!(&mut reading).is_pending());

    let entry = || entry_in(blank(1), &*codec).unwrap();
    log.append([entry()], IOFlushed::noop()).await.unwrap();
    let entries = stream::iter([Ok((entry(), None))]);
    let mut applying = Box::pin(machine.apply(entries));
    assert!(poll!(&mut applying).is_pending());
    // The writer does one thing after the other: it has not been asked to apply.
    assert_eq!(again.applied_state().await.unwrap().0, None);
    let held: Vec<Completion> = slow.held.lock().unwrap().drain(..).collect();
    held.into_iter().for_each(|done| done(Ok(())));
    applying.await.unwrap();
    reading
        .await
        .expect("what is decided on this thread is written as well");
    assert_eq!(again.applied_state().await.unwrap().0.unwrap().index, 1);

    again.stop();
    writer.join().unwrap();
}

#[tokio::test]
async fn a_truncation_lowers_the_synced_index_and_failures_end_waits() {
    let synced = Synced::new(20);
    synced.reaches(20).await.unwrap();
    synced.ends(10);
    let again = synced.clone();
    let mut waiting = Box::pin(again.reaches(11));
    assert!(poll!(&mut waiting).is_pending());
    synced.failed();
    waiting.await.unwrap_err();
}

#[tokio::test]
async fn an_earlier_completion_does_not_lower_the_synced_index() {
    let synced = Synced::new(3);
    synced.grows_to(9);
    synced.grows_to(6);
    synced.reaches(9).await.unwrap();
    // A truncation lowers it, and what is appended after that raises it again.
    synced.ends(5);
    synced.grows_to(6);
    let again = synced.clone();
    assert!(poll!(Box::pin(again.reaches(7))).is_pending());
    synced.failed();
    synced.grows_to(8);
    synced.reaches(7).await.unwrap_err();
}
