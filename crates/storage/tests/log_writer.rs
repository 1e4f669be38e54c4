//! The writer shares syncs between callers, keeps their order, and latches the first failure.

mod log_support;

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use conclave_storage::log::{Completion, LogStore, Options, SegmentLog, Syncer, Vote};
use log_support::{append, completion, entry, id, open, options, wait};

#[test]
fn waiting_appends_share_one_sync() {
    const APPENDS: u64 = 2000;
    let dir = tempfile::tempdir().expect("a directory");
    let log = SegmentLog::open(dir.path(), Options::default()).expect("the log opens");
    let next = Mutex::new(1);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                loop {
                    let (done, result) = completion();
                    let mut index = next.lock().expect("no thread panics");
                    if *index > APPENDS {
                        return;
                    }
                    log.append(vec![entry(1, *index, 50)], done)
                        .expect("it is accepted");
                    *index += 1;
                    drop(index);
                    result
                        .recv()
                        .expect("it completes")
                        .expect("it reaches the disk");
                }
            });
        }
    });
    let stats = log.stats();
    assert_eq!(stats.entries, APPENDS);
    assert_eq!(stats.syncs, stats.frames);
    assert!(
        stats.syncs * 4 < APPENDS,
        "{} syncs for {APPENDS} appends",
        stats.syncs
    );
}

#[test]
fn completions_follow_the_calls_but_appends_from_the_last() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |name: u64| -> Completion {
        let order = Arc::clone(&order);
        Box::new(move |_| order.lock().expect("no thread panics").push(name))
    };
    // The writer is held by the first completion while the others gather behind it.
    let (begun, has_begun) = mpsc::sync_channel(1);
    let (go, gone) = mpsc::sync_channel::<()>(1);
    let hold = move |_| {
        begun.send(()).expect("the test waits");
        gone.recv().expect("the test goes on");
    };
    let append = |index, done| {
        let accepted = log.append(vec![entry(1, index, 90)], done);
        accepted.expect("it is accepted");
        let last = Some(id(1, index));
        assert_eq!(log.state().last, last, "it is readable at once");
        let read = log.read(index..index + 1, 0).expect("it can be read");
        assert_eq!(read.len(), 1);
    };
    append(1, Box::new(hold));
    has_begun.recv().expect("the writer completes");
    append(2, note(2));
    append(3, note(3));
    append(4, note(4));
    let vote = Vote {
        term: 1,
        node: 1,
        committed: true,
    };
    log.save_vote(vote, note(100)).expect("it is accepted");
    append(5, note(5));
    // It waits behind the others, and not before them on this thread.
    let accepted = log.append_here(vec![entry(1, 6, 90)], note(6));
    accepted.expect("it is accepted");
    go.send(()).expect("the writer waits");
    log.close();
    let order = order.lock().expect("no thread panics");
    assert_eq!(*order, [4, 3, 2, 100, 6, 5]);
}

/// A disk on which a sync takes this long.
#[derive(Debug)]
struct Disk(Duration);

impl Syncer for Disk {
    fn sync(&self, _: &File) -> std::io::Result<()> {
        std::thread::park_timeout(self.0);
        Ok(())
    }
}

/// Returns how many of so many appends completed on the thread of their caller.
fn completed_here(sync: Duration, appends: u64, bytes: usize) -> u64 {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        syncer: Some(Arc::new(Disk(sync))),
        ..Options::default()
    };
    let log = SegmentLog::open(dir.path(), options).expect("the log opens");
    let mut here = 0;
    for index in 1..=appends {
        let (done, thread) = mpsc::sync_channel(1);
        let done = move |_| {
            done.send(std::thread::current().id())
                .expect("the test waits")
        };
        log.append_here(vec![entry(1, index, bytes)], Box::new(done))
            .expect("it is accepted");
        let thread = thread.recv().expect("it completes");
        here += u64::from(thread == std::thread::current().id());
    }
    let read = log.read(0..u64::MAX, usize::MAX).expect("it can be read");
    assert_eq!(read.len() as u64, appends);
    assert_eq!(log.stats().syncs, appends);
    here
}

#[test]
fn only_small_appends_on_a_quick_disk_occupy_their_caller() {
    assert!(completed_here(Duration::ZERO, 20, 500) > 0);
    assert_eq!(completed_here(Duration::ZERO, 5, 17_000), 0);
    let slow = completed_here(Duration::from_millis(3), 20, 500);
    assert!(
        slow <= 1,
        "the first one shows that the disk is slow: {slow}"
    );
}

#[test]
fn recent_entries_are_read_without_the_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    append(&log, (1..=100).map(|index| entry(1, index, 100)).collect());
    // The options keep 1024 bytes.
    let recent = log.read_recent(95..101, usize::MAX);
    let read = log.read(95..101, usize::MAX).expect("it can be read");
    assert_eq!(recent, Some(read));
    assert_eq!(log.read_recent(50..101, usize::MAX), None);
    assert_eq!(log.read_recent(50..51, 0), None);
    assert_eq!(log.read_recent(200..300, 0), Some(vec![]));
}

#[test]
fn queued_changes_reach_the_disk_in_call_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    for term in 1..=100 {
        let from = log.state().last.map_or(0, |last| last.index + 1);
        let entries = (from..from + 5)
            .map(|index| entry(term, index, 150))
            .collect();
        log.append(entries, Box::new(drop)).expect("it is accepted");
        let kept = log.read(from + 1..from + 2, 0).expect("it can be read")[0].id;
        log.truncate_after(Some(kept), Box::new(drop))
            .expect("it is accepted");
        if term % 10 == 0 {
            log.purge(kept, Box::new(drop)).expect("it is accepted");
        }
    }
    let (state, all) = (
        log.state(),
        log.read(0..999, usize::MAX).expect("it can be read"),
    );
    append(&log, vec![]);
    assert_eq!(log.read(0..999, usize::MAX).expect("it can be read"), all);
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.state(), state);
    assert_eq!(log.read(0..999, usize::MAX).expect("it can be read"), all);
}

#[test]
fn a_log_read_stops_at_its_byte_limit() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    append(&log, (1..=100).map(|index| entry(1, index, 100)).collect());
    let part = log.read(10..90, 1000).expect("it can be read");
    assert_eq!((part.len(), part[0].id.index), (10, 10));
    assert!(log.read(101..200, 1000).expect("it can be read").is_empty());
}

/// A small file system of its own, which can be mounted only if the process has the rights.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let size = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .output();
        mount
            .is_ok_and(|output| output.status.success())
            .then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_makes_the_log_wait_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("256k") else {
        use std::io::Write as _;
        let _ = writeln!(
            std::io::stderr(),
            "skipped: needs root to mount a small disk"
        );
        return;
    };
    let dir = disk.path().join("log");
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 100 << 10]).expect("there is space for it");
    let log = SegmentLog::open(&dir, options()).expect("the log opens");
    let mut acked = 0;
    let waiting = loop {
        let (done, result) = completion();
        log.append(vec![entry(1, acked + 1, 500)], done)
            .expect("it is accepted");
        match result.recv_timeout(Duration::from_secs(2)) {
            Ok(written) => written.expect("it is written"),
            Err(_) => break result,
        }
        acked += 1;
        assert!(acked < 1000, "the disk never got full");
    };
    std::fs::remove_file(&ballast).expect("it can be removed");
    let written = waiting.recv().expect("it completes");
    written.expect("with room it is written");
    acked += 1;
    // Full again, the log does not wait to be closed.
    let mut file = File::create(&ballast).expect("there is space for it");
    while std::io::Write::write_all(&mut file, &[1; 512]).is_ok() {}
    loop {
        let (done, result) = completion();
        log.append(vec![entry(1, acked + 1, 500)], done)
            .expect("it is accepted");
        if result.recv_timeout(Duration::from_secs(2)).is_err() {
            break;
        }
        acked += 1;
        assert!(acked < 1000, "the disk never got full");
    }
    drop(log);
    // An open file keeps its bytes.
    drop(file);
    std::fs::remove_file(&ballast).expect("it can be removed");
    let log = SegmentLog::open(&dir, options()).expect("it opens again");
    assert!(acked > 20);
    log.verify_reaches(acked)
        .expect("nothing acknowledged is lost");
    let next = log.state().last.map_or(1, |last| last.index + 1);
    wait(|done| log.append(vec![entry(1, next, 500)], done));
}
