//! The vocabulary of the log, and the contract that the replica relies on.
//!
//! Nothing here touches a disk.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// The name of one entry: the term and leader that made it, and its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The term in which the entry was made.
    pub term: u64,
    /// The leader that made it.
    pub node: u64,
    /// The entry's place in the log.
    pub index: u64,
}

/// A node's promise in an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The term voted in.
    pub term: u64,
    /// The candidate voted for.
    pub node: u64,
    /// Whether a majority granted it.
    pub committed: bool,
}

/// The kind of an entry: how the replica reads its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A new leader's empty entry.
    Blank,
    /// A batch of commands.
    Commands,
    /// A change of the cluster's members.
    Membership,
}

/// One entry of the log; its bytes mean nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The entry's name and place.
    pub id: LogId,
    /// How to read its bytes.
    pub kind: EntryKind,
    /// At most [`ENTRY_BYTES_MAX`](super::ENTRY_BYTES_MAX) bytes.
    pub bytes: Bytes,
}

/// Everything that the log knows besides the entries themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogState {
    /// The last purged entry.
    pub purged: Option<LogId>,
    /// The last entry, or `purged` if there is none.
    pub last: Option<LogId>,
    /// The last saved vote.
    pub vote: Option<Vote>,
    /// The last saved committed position: a hint that may lag behind after a crash.
    pub committed: Option<LogId>,
}

/// Callback that is called once, on the writer thread, when an operation is on disk or has failed.
/// It must not block, and must not wait for another operation of the same log.
pub type Completion = Box<dyn FnOnce(io::Result<()>) + Send>;

/// The durable log as the replica sees it.
///
/// Operations take effect in memory before they return, reach the disk in call order, and
/// complete in call order; of appends without another operation between them that one sync has made
/// durable, the last completes first. Where an operation returns an error, nothing was changed and
/// `done` was dropped without being called. After a failed write or sync every operation fails: the
/// log must be closed and opened again.
pub trait LogStore: Send + Sync + 'static {
    /// Returns the present state, with everything accepted so far, synced or not.
    fn state(&self) -> LogState;

    /// Appends entries that follow the last one without a gap; readable when this returns.
    fn append(&self, entries: Vec<Entry>, done: Completion) -> io::Result<()>;

    /// Appends like [`append`](Self::append); on the calling thread if nothing else waits, the
    /// disk is quick, and there is little to write. For callers that have nothing better to do.
    fn append_here(&self, entries: Vec<Entry>, done: Completion) -> io::Result<()> {
        self.append(entries, done)
    }

    /// Saves the vote.
    fn save_vote(&self, vote: Vote, done: Completion) -> io::Result<()>;

    /// Saves the committed position with the next change, or when the log is closed: a hint that
    /// may be lost, for which the writer is not woken.
    fn save_committed(&self, committed: Option<LogId>) -> io::Result<()>;

    /// Removes every entry after `last`, which itself stays; `None` removes them all.
    fn truncate_after(&self, last: Option<LogId>, done: Completion) -> io::Result<()>;

    /// Removes every entry up to and including `upto`, which may lie beyond the last one.
    fn purge(&self, upto: LogId, done: Completion) -> io::Result<()>;

    /// Returns the present entries of `range`, in order; stops early only when their bytes would
    /// exceed `bytes_max`, but never before the first.
    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>>;

    /// Returns what [`read`](Self::read) would return, if all of it is in memory.
    fn read_recent(&self, range: Range<u64>, bytes_max: usize) -> Option<Vec<Entry>>;

    /// Writes and syncs what waits, then stops the writer thread. Later writes fail.
    fn close(&self);
}

/// Layout of a log's files, and how much of it stays in memory.
#[derive(Debug, Clone)]
pub struct Options {
    /// The size of one segment file.
    pub segment_bytes: u64,
    /// How many bytes of recent entries stay in memory. Entries not yet written come on top.
    pub cache_bytes: usize,
    /// `false` skips every sync: only for throw-away test nodes.
    pub sync: bool,
    /// Replaces the system's sync, if given: for tests of disks that fail.
    pub syncer: Option<Arc<dyn Syncer>>,
}

/// Replacement of the system's sync in a test.
pub trait Syncer: Debug + Send + Sync {
    /// Syncs `file`, or fails as a disk does.
    ///
    /// # Errors
    /// The error that the disk is to give.
    fn sync(&self, file: &File) -> io::Result<()>;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 8 << 20,
            cache_bytes: 32 << 20,
            sync: true,
            syncer: None,
        }
    }
}

/// What opening a log found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Segment files read.
    pub segments: u64,
    /// Valid frames read.
    pub frames: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// What was cut off at the end, if anything.
    pub torn_tail: Option<TornTail>,
    /// Duration of the opening.
    pub duration: Duration,
}

/// An unfinished last frame that was never acknowledged, and is gone now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment file.
    pub file: PathBuf,
    /// Where the unfinished frame began.
    pub offset: u64,
    /// Number of bytes, up to the last that was not zero.
    pub bytes: u64,
}

/// Counters of what the log did since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Frames written and synced.
    pub frames: u64,
    /// Syncs of frames.
    pub syncs: u64,
    /// Entries written.
    pub entries: u64,
    /// Bytes of frames written.
    pub bytes: u64,
    /// Segment files at present.
    pub segments: u64,
}

impl OpenError {
    /// Returns whether bytes that were acknowledged are gone or changed.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

/// The reason why a log could not be opened. In every case the files are as they were.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system refused; try again when the cause is gone.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The attempted action.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Bytes that were acknowledged are gone or changed: this replica must be repaired.
    #[error("{} is damaged at byte {offset}: {reason}", file.display())]
    Damaged {
        /// The file, or the directory if a whole file is missing.
        file: PathBuf,
        /// Offset in the file.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Another process has this log open.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The log's directory.
        dir: PathBuf,
    },
    /// A later build wrote this file, or a much earlier one.
    #[error(
        "{} has log format {version}; this build reads formats {oldest} to {newest}",
        file.display()
    )]
    UnknownFormat {
        /// The segment file.
        file: PathBuf,
        /// The format it names.
        version: u32,
        /// The oldest format that this build reads.
        oldest: u32,
        /// The newest one.
        newest: u32,
    },
    /// The options make no sense.
    #[error("segment_bytes must lie between {min} and {max}")]
    SegmentBytes {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}
