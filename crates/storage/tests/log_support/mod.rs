//! Helpers of the log's tests: opening, making entries, and waiting for completions.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use bytes::Bytes;
use conclave_storage::log::{
    Completion, Entry, EntryKind, LogId, LogStore, OpenError, Options, SegmentLog,
};

/// Size of a segment: small, so that a test crosses many of them.
pub(crate) const SEGMENT_BYTES: u64 = 8192;

pub(crate) fn options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        cache_bytes: 1024,
        sync: true,
        syncer: None,
    }
}

pub(crate) fn open(dir: &Path) -> SegmentLog {
    try_open(dir).expect("the log opens")
}

pub(crate) fn try_open(dir: &Path) -> Result<SegmentLog, OpenError> {
    SegmentLog::open(dir, options())
}

pub(crate) fn id(term: u64, index: u64) -> LogId {
    LogId {
        term,
        node: 1,
        index,
    }
}

/// Returns an entry whose bytes follow from its term and index.
pub(crate) fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let fill = |at: usize| (term as usize * 31 + index as usize * 7 + at) as u8;
    let kind = match index % 3 {
        0 => EntryKind::Blank,
        1 => EntryKind::Commands,
        _ => EntryKind::Membership,
    };
    Entry {
        id: id(term, index),
        kind,
        bytes: (0..bytes).map(fill).collect::<Bytes>(),
    }
}

/// Returns a completion, and the channel on which its result arrives.
pub(crate) fn completion() -> (Completion, mpsc::Receiver<std::io::Result<()>>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

/// Runs one operation and waits until it is on disk.
pub(crate) fn wait(operation: impl FnOnce(Completion) -> std::io::Result<()>) {
    let (done, result) = completion();
    operation(done).expect("the operation is accepted");
    result
        .recv()
        .expect("the completion is called")
        .expect("the operation reaches the disk");
}

pub(crate) fn append(log: &SegmentLog, entries: Vec<Entry>) {
    wait(|done| log.append(entries, done));
}

/// Appends on this thread, if that is possible.
pub(crate) fn append_here(log: &SegmentLog, entries: Vec<Entry>) {
    wait(|done| log.append_here(entries, done));
}

/// Returns the segment files, oldest first.
pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let list = std::fs::read_dir(dir).expect("the directory is there");
    let mut paths: Vec<_> = list
        .map(|item| item.expect("it can be listed").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "segment"));
    paths.sort();
    paths
}

/// Returns the offset just after the last byte that is not zero.
pub(crate) fn written_end(path: &Path) -> usize {
    let bytes = std::fs::read(path).expect("the segment can be read");
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1)
}

/// Returns every file's name and bytes, but not the spare one that is being created in the
/// background.
pub(crate) fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).expect("it can be read"));
    segments(dir).into_iter().map(read).collect()
}
