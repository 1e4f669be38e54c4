//! What callers and the writer thread share: the memory of the log and the waiting operations.
//!
//! A caller changes the memory and queues the same change in one step, so both see one order; a
//! caller that holds the writer itself may do without the queue while that is empty.
//! A caller that finds the queue full waits; the writer always takes everything that waits.
//!
//! Always true: once the log has failed, it accepts nothing more.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use super::bounds::{QUEUE_BYTES_MAX, QUEUE_OPERATIONS_MAX};
use super::files::SegmentFile;
use super::memory::{Location, Memory};
use super::types::{Completion, Entry, LogId, Stats, Vote};
use crate::fault::{self, DiskFailure};
use crate::latencies::Latencies;

/// A change that was made in memory and is to be made on disk.
#[derive(Debug)]
pub(super) enum Change {
    Append(Vec<Entry>),
    Vote(Vote),
    TruncateAfter(Option<LogId>),
    Purge(LogId),
    /// Nothing to write; it only completes in its turn.
    Nothing,
}

/// A change, and the completion that waits for it.
pub(super) struct Operation {
    pub(super) change: Change,
    pub(super) done: Completion,
}

impl Operation {
    pub(super) fn is_append(&self) -> bool {
        matches!(self.change, Change::Append(_))
    }
}

/// The writer's next work.
pub(super) struct Batch {
    /// What to write, and to sync.
    pub(super) operations: Vec<Operation>,
    /// The committed position to write with it.
    pub(super) committed: Option<LogId>,
}

/// Whether a change is to be written at once.
pub(super) enum Alone {
    /// It is made in memory, and is to be written with this committed position.
    Begun { committed: Option<LogId> },
    /// Nothing has changed: operations wait that come before it.
    OthersWait,
}

/// The reason why the log has failed; every later operation gets this.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the log failed and accepts nothing more: {action}")]
pub(super) struct Failure {
    action: &'static str,
    #[source]
    cause: Arc<io::Error>,
}

impl Failure {
    pub(super) fn new(action: &'static str, cause: io::Error) -> Self {
        Self {
            action,
            cause: Arc::new(cause),
        }
    }

    /// Returns the fault of the disk behind this failure, if there is one.
    fn of_disk(&self) -> Option<DiskFailure> {
        let why = format!("{}: {}", self.action, self.cause);
        DiskFailure::of(fault::of_io(&self.cause), why)
    }

    pub(super) fn to_io(&self) -> io::Error {
        io::Error::new(self.cause.kind(), self.clone())
    }
}

/// See the head of this file.
pub(super) struct WriteQueue {
    inner: Mutex<Inner>,
    /// The writer waits here.
    work: Condvar,
    /// Callers wait here while the queue is full.
    room: Condvar,
    pub(super) counters: Counters,
    /// What was found to be damaged first.
    pub(super) damage: OnceLock<String>,
}

pub(super) struct Inner {
    pub(super) memory: Memory,
    /// The files that readers may need, by ordinal.
    pub(super) files: BTreeMap<u32, Arc<SegmentFile>>,
    /// The last segment, and where its last synced frame ends.
    pub(super) end: (u32, u64),
    queue: VecDeque<Operation>,
    queue_bytes: usize,
    closing: bool,
    failure: Option<Failure>,
}

/// What the log did since it was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) frames: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) entries: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Segment files at present.
    pub(super) segments: AtomicU64,
    /// How long a frame took to be written and synced.
    pub(super) sync_times: Latencies,
}

impl WriteQueue {
    pub(super) fn new(
        memory: Memory,
        files: BTreeMap<u32, Arc<SegmentFile>>,
        end: (u32, u64),
    ) -> Self {
        let counters = Counters::default();
        let segments = files.len() as u64;
        counters.segments.store(segments, Ordering::Relaxed);
        let inner = Inner {
            memory,
            files,
            end,
            queue: VecDeque::new(),
            queue_bytes: 0,
            closing: false,
            failure: None,
        };
        Self {
            inner: Mutex::new(inner),
            work: Condvar::new(),
            room: Condvar::new(),
            counters,
            damage: OnceLock::new(),
        }
    }

    /// Makes a change in memory and queues it, or changes nothing and returns an error.
    pub(super) fn submit(
        &self,
        bytes: usize,
        done: Completion,
        change: impl FnOnce(&mut Memory) -> io::Result<Change>,
    ) -> io::Result<()> {
        let mut inner = self.lock();
        loop {
            inner.check_open()?;
            if inner.has_room(bytes) {
                break;
            }
            inner = self
                .room
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let change = change(&mut inner.memory)?;
        inner.queue.push_back(Operation { change, done });
        inner.queue_bytes += bytes;
        drop(inner);
        self.work.notify_one();
        Ok(())
    }

    pub(super) fn save_committed(&self, committed: Option<LogId>) -> io::Result<()> {
        let mut inner = self.lock();
        inner.check_open()?;
        inner.memory.state.committed = committed;
        Ok(())
    }

    /// Waits for work. Returns `false` if the log is being closed.
    pub(super) fn wait(&self) -> bool {
        let inner = self.lock();
        let idle = |inner: &mut Inner| inner.queue.is_empty() && !inner.closing;
        let inner = self.work.wait_while(inner, idle);
        !inner.unwrap_or_else(PoisonError::into_inner).closing
    }

    /// Takes all that waits, if there is anything. `committed` is what the disk knows for sure.
    pub(super) fn take(&self, committed: Option<LogId>) -> Option<Batch> {
        let mut inner = self.lock();
        let current = inner.memory.state.committed;
        let last_words = inner.closing && inner.failure.is_none() && current != committed;
        if inner.queue.is_empty() && !last_words {
            return None;
        }
        inner.queue_bytes = 0;
        inner.memory.begin_batch();
        let batch = Batch {
            operations: inner.queue.drain(..).collect(),
            committed: current,
        };
        drop(inner);
        self.room.notify_all();
        Some(batch)
    }

    /// Makes a change in memory that is written at once, before all that come later.
    pub(super) fn begin_alone(
        &self,
        change: impl FnOnce(&mut Memory) -> io::Result<()>,
    ) -> io::Result<Alone> {
        let mut inner = self.lock();
        inner.check_open()?;
        if !inner.queue.is_empty() {
            return Ok(Alone::OthersWait);
        }
        change(&mut inner.memory)?;
        inner.memory.begin_batch();
        Ok(Alone::Begun {
            committed: inner.memory.state.committed,
        })
    }

    /// Notes that the batch is on disk up to here, and where these of its entries lie.
    pub(super) fn end_batch(&self, placed: &[(u64, Location)], end: (u32, u64)) {
        let mut inner = self.lock();
        inner.memory.end_batch(placed);
        inner.end = end;
    }

    /// Latches the failure. Returns the operations that still wait; they fail too.
    pub(super) fn fail(&self, failure: &Failure) -> Vec<Operation> {
        let mut inner = self.lock();
        inner.failure.get_or_insert_with(|| failure.clone());
        inner.queue_bytes = 0;
        let waiting = inner.queue.drain(..).collect();
        drop(inner);
        self.room.notify_all();
        waiting
    }

    /// Latches the failure and completes every waiting operation with it.
    pub(super) fn give_up(&self, failure: &Failure) {
        for operation in self.fail(failure) {
            (operation.done)(Err(failure.to_io()));
        }
    }

    /// Returns what the disk refused, if that is why nothing is accepted any more.
    pub(super) fn disk_failure(&self) -> Option<DiskFailure> {
        self.lock().failure.as_ref().and_then(Failure::of_disk)
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Returns whether the log is being closed: nothing is waited for any more.
    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    pub(super) fn stats(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            frames: load(&self.counters.frames),
            syncs: load(&self.counters.syncs),
            entries: load(&self.counters.entries),
            bytes: load(&self.counters.bytes),
            segments: load(&self.counters.segments),
        }
    }

    /// Locks the queue. A panic elsewhere is latched as a failure, so a poisoned lock says nothing
    /// new.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn check_open(&self) -> io::Result<()> {
        match &self.failure {
            Some(failure) => Err(failure.to_io()),
            None if self.closing => Err(io::Error::other("the log is closed")),
            None => Ok(()),
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.queue.is_empty()
            || (self.queue.len() < QUEUE_OPERATIONS_MAX
                && self.queue_bytes + bytes <= QUEUE_BYTES_MAX)
    }
}
