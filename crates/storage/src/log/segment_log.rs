//! The log that a node uses: preallocated segment files and one writer thread.
//!
//! Appending, waiting for the disk and the completion take one hop to the writer thread and no
//! more.
//! Reads never wait for a write: recent entries come from memory, older ones from their segment,
//! outside every lock, each checked against its own checksum.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::bounds::{READ_SPAN_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use super::files::{Directory, FileThread, SegmentFile};
use super::format::{Record, decode_record, entry_record_bytes};
use super::memory::{OnDisk, Planned};
use super::queue::{Alone, Change, Failure, Operation, WriteQueue};
use super::recover::{damaged, recover};
use super::types::{
    Completion, Entry, LogId, LogState, LogStore, OpenError, Options, Recovery, Stats, Vote,
};
use super::writer::{RecoveredEnd, Writer};
use crate::latencies::LatencyCounts;

/// A durable log in a directory of its own.
pub struct SegmentLog {
    pub(super) shared: Arc<WriteQueue>,
    /// `None` when the log is closed.
    writer: Arc<Mutex<Option<Writer>>>,
    directory: Arc<Directory>,
    recovery: Recovery,
    running: Mutex<Option<Running>>,
}

/// What ends when the log is closed.
struct Running {
    writer: JoinHandle<()>,
    /// Keeps other processes out.
    _lock: File,
}

impl SegmentLog {
    /// Opens the log in `dir`, or makes an empty one there.
    ///
    /// Everything that was ever acknowledged is there afterwards, and on disk; otherwise this is
    /// [`OpenError::Damaged`] and no file was changed.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_as(dir, options, true)
    }

    /// Opens the log like [`open`](Self::open), with files that grow: only for comparing the two.
    #[doc(hidden)]
    pub fn open_growing(dir: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_as(dir, options, false)
    }

    fn open_as(dir: &Path, options: Options, preallocate: bool) -> Result<Self, OpenError> {
        let Options {
            segment_bytes,
            cache_bytes,
            sync,
            syncer,
        } = options;
        let (min, max) = (SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        if !(min..=max).contains(&segment_bytes) {
            return Err(OpenError::SegmentBytes { min, max });
        }
        let path = dir.to_path_buf();
        let directory = Arc::new(Directory {
            path,
            segment_bytes,
            sync,
            syncer,
            preallocate,
        });
        let lock = directory.lock()?;
        let mut recovered = recover(&directory, cache_bytes)?;
        let end = RecoveredEnd::from(&mut recovered);
        let shared = Arc::new(WriteQueue::new(recovered.memory, end.files(), end.place()));
        let failed = |source| OpenError::Io {
            action: "start the threads of",
            path: dir.to_path_buf(),
            source,
        };
        let latch = Arc::clone(&shared);
        let give_up = move |action, cause| latch.give_up(&Failure::new(action, cause));
        let files = FileThread::start(Arc::clone(&directory), give_up).map_err(failed)?;
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&directory), files, end);
        let writer = Arc::new(Mutex::new(Some(writer)));
        let thread = thread::Builder::new().name("log-sync".into());
        let (owned, queue) = (Arc::clone(&writer), Arc::clone(&shared));
        let thread = thread.spawn(move || Writer::run(&owned, &queue));
        let running = Mutex::new(Some(Running {
            writer: thread.map_err(failed)?,
            _lock: lock,
        }));
        Ok(Self {
            shared,
            writer,
            directory,
            recovery: recovered.report,
            running,
        })
    }

    /// Returns what opening found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Returns what was done since opening.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Returns how long frames took to be written and synced since opening.
    pub fn sync_times(&self) -> LatencyCounts {
        self.shared.counters.sync_times.counts()
    }

    /// Fails if the log ends before an entry that this node has already applied: then
    /// acknowledged entries were lost, and the node must be repaired.
    pub fn verify_reaches(&self, index_applied: u64) -> Result<(), OpenError> {
        match self.state().last {
            Some(last) if last.index >= index_applied => Ok(()),
            _ => Err(OpenError::Damaged {
                file: self.directory.path.clone(),
                offset: 0,
                reason: "the log ends before an entry that was already applied",
            }),
        }
    }

    /// Reads entries of one segment that lie close together.
    fn read_span(&self, file: &SegmentFile, span: &[OnDisk]) -> io::Result<Vec<Entry>> {
        let start = u64::from(span[0].location.offset);
        let last = &span[span.len() - 1];
        let end = u64::from(last.location.offset) + last.record_bytes as u64;
        let mut bytes = vec![0; (end - start) as usize];
        if let Err(error) = file.file.read_exact_at(&mut bytes, start) {
            return Err(self.unread(&file.path, start, error));
        }
        let decode = |planned: &OnDisk| {
            let at = (u64::from(planned.location.offset) - start) as usize;
            match decode_record(&bytes[at..at + planned.record_bytes]) {
                Some((Record::Entry(entry), _)) if entry.id == planned.id => Ok(entry),
                _ => {
                    let reason = "an entry that was read before is bad now";
                    let error = damaged(&file.path, planned.location.offset as usize, reason);
                    self.note(&error);
                    Err(io::Error::new(io::ErrorKind::InvalidData, error))
                }
            }
        };
        span.iter().map(decode).collect()
    }
}

impl LogStore for SegmentLog {
    fn state(&self) -> LogState {
        self.shared.lock().memory.state
    }

    fn append(&self, entries: Vec<Entry>, done: Completion) -> io::Result<()> {
        self.shared.submit(bytes_of(&entries), done, move |memory| {
            memory.append(&entries)?;
            Ok(Change::Append(entries))
        })
    }

    fn append_here(&self, entries: Vec<Entry>, done: Completion) -> io::Result<()> {
        // With the writer held before the queue is looked at, all that was in it is written.
        if let Ok(mut writer) = self.writer.try_lock()
            && let Some(writer) = &mut *writer
            && writer.is_quick(bytes_of(&entries))
            && let Alone::Begun { committed } =
                self.shared.begin_alone(|memory| memory.append(&entries))?
        {
            let change = Change::Append(entries);
            writer.write_here(Operation { change, done }, committed);
            return Ok(());
        }
        self.append(entries, done)
    }

    fn save_vote(&self, vote: Vote, done: Completion) -> io::Result<()> {
        self.shared.submit(0, done, move |memory| {
            memory.save_vote(vote);
            Ok(Change::Vote(vote))
        })
    }

    fn save_committed(&self, committed: Option<LogId>) -> io::Result<()> {
        self.shared.save_committed(committed)
    }

    fn truncate_after(&self, last: Option<LogId>, done: Completion) -> io::Result<()> {
        self.shared.submit(0, done, move |memory| {
            let changed = memory.truncate_after(last)?;
            Ok(if changed {
                Change::TruncateAfter(last)
            } else {
                Change::Nothing
            })
        })
    }

    fn purge(&self, upto: LogId, done: Completion) -> io::Result<()> {
        self.shared.submit(0, done, move |memory| {
            Ok(if memory.purge(upto) {
                Change::Purge(upto)
            } else {
                Change::Nothing
            })
        })
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let inner = self.shared.lock();
        let planned = inner.memory.plan(range, bytes_max);
        let mut entries = Vec::with_capacity(planned.len());
        let mut on_disk = Vec::new();
        for step in planned {
            match step {
                Planned::Cached(entry) => entries.push(entry),
                Planned::OnDisk(planned) => on_disk.push(planned),
            }
        }
        let mut spans = Vec::new();
        for span in on_disk.chunk_by(|a, b| a.location.segment == b.location.segment) {
            // A file that is purged now stays readable through its open handle.
            let file = inner.files.get(&span[0].location.segment);
            let file = file.ok_or_else(|| io::Error::other("an entry's segment is gone"))?;
            spans.push((Arc::clone(file), span));
        }
        drop(inner);
        let mut older = Vec::with_capacity(on_disk.len() + entries.len());
        for (file, span) in spans {
            for part in split(span) {
                older.extend(self.read_span(&file, part)?);
            }
        }
        // The cache holds the end of the log, so everything from disk comes first.
        older.append(&mut entries);
        Ok(older)
    }

    fn read_recent(&self, range: Range<u64>, bytes_max: usize) -> Option<Vec<Entry>> {
        let planned = self.shared.lock().memory.plan(range, bytes_max);
        let recent = planned.into_iter().map(|step| match step {
            Planned::Cached(entry) => Some(entry),
            Planned::OnDisk(_) => None,
        });
        recent.collect()
    }

    fn close(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Running { writer, _lock }) = running.take() else {
            return;
        };
        self.shared.close();
        // A completion may drop the last handle; the writer cannot wait for itself.
        if writer.thread().id() != thread::current().id() {
            // A panic there was already latched as a failure.
            let _ = writer.join();
        }
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// Returns the bytes of entries in a frame.
fn bytes_of(entries: &[Entry]) -> usize {
    let records = entries
        .iter()
        .map(|entry| entry_record_bytes(entry.bytes.len()));
    records.sum()
}

/// Cuts a run of entries into parts that are read at once.
fn split(mut span: &[OnDisk]) -> Vec<&[OnDisk]> {
    let mut parts = Vec::new();
    while let Some(first) = span.first() {
        let start = u64::from(first.location.offset);
        let fits = |planned: &&OnDisk| {
            let end = u64::from(planned.location.offset) + planned.record_bytes as u64;
            end - start <= READ_SPAN_BYTES_MAX
        };
        let count = span.iter().take_while(fits).count().max(1);
        let (part, rest) = span.split_at(count);
        parts.push(part);
        span = rest;
    }
    parts
}
