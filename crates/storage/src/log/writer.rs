//! Writes frames, in a thread of its own: take everything that waits, write it, sync, complete. A
//! caller may have one written on its own thread while nothing else waits and the disk is quick.
//!
//! It never lingers for more work: while one sync runs, the next batch gathers by itself. A sync
//! that failed is never tried again, because the kernel may have dropped the pages.
//!
//! Always true: frame `k + 1` is written only after frame `k` was synced. The committed position
//! has no frame of its own: it rides with the next one, or with the last.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::bounds::BUFFER_BYTES_KEPT;
use super::files::{Directory, FileThread, SegmentFile, is_full};
use super::format::{FrameBuilder, HEADER_BYTES, SegmentHeader};
use super::memory::Location;
use super::queue::{Batch, Change, Failure, Operation, WriteQueue};
use super::recover::{Recovered, Segment};
use super::types::{LogId, LogState};

/// Pause before a segment is made again for which the disk had no room.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// A disk on which a write and its sync take this long on average is quick: waking another thread
/// for them takes as long.
const QUICK_SYNC_MAX: Duration = Duration::from_micros(250);

/// Bytes that are written on the thread of a caller at most.
const BYTES_HERE_MAX: usize = 16 * 1024;

/// More than what a frame has around its entries.
const FRAME_ROOM: usize = 256;

/// See the head of this file.
pub(super) struct Writer {
    shared: Arc<WriteQueue>,
    directory: Arc<Directory>,
    files: FileThread,
    segments: VecDeque<Segment>,
    capacity: u64,
    offset: u64,
    frame_next: u64,
    /// The state after the last synced frame.
    durable: LogState,
    builder: FrameBuilder,
    /// The time of a write and its sync: an average in which the last has an eighth of the weight.
    sync_time: Duration,
    /// Where the entries of the present batch begin, counted from the frame's start.
    starts: Vec<(u64, usize)>,
}

/// Latches a failure if the writer's thread unwinds, so that no caller waits forever.
struct Unwinding(Arc<WriteQueue>);

impl Drop for Unwinding {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let cause = io::Error::other("the writer thread panicked");
            drop(self.0.fail(&Failure::new("the writer is gone", cause)));
        }
    }
}

impl Writer {
    pub(super) fn new(
        shared: Arc<WriteQueue>,
        directory: Arc<Directory>,
        files: FileThread,
        recovered: RecoveredEnd,
    ) -> Self {
        let RecoveredEnd {
            segments,
            capacity,
            offset,
            frame_next,
            durable,
        } = recovered;
        Self {
            shared,
            directory,
            files,
            segments,
            capacity,
            offset,
            frame_next,
            durable,
            builder: FrameBuilder::default(),
            sync_time: Duration::ZERO,
            starts: Vec::new(),
        }
    }

    /// Writes what waits, until the log is closed; then the writer is gone, and with it the
    /// thread that makes and removes files.
    pub(super) fn run(held: &Mutex<Option<Self>>, shared: &Arc<WriteQueue>) {
        let _unwinding = Unwinding(Arc::clone(shared));
        loop {
            let is_open = shared.wait();
            // A panic elsewhere was latched as a failure.
            let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(writer) = &mut *held else { return };
            match shared.take(writer.durable.committed) {
                Some(batch) => writer.batch(batch),
                None if is_open => {}
                None => {
                    drop(held.take());
                    return;
                }
            }
        }
    }

    /// Returns whether a frame of this size can be written and synced on the thread of a caller:
    /// the disk is quick, and the frame needs no new segment.
    pub(super) fn is_quick(&self, bytes: usize) -> bool {
        bytes <= BYTES_HERE_MAX
            && self.sync_time <= QUICK_SYNC_MAX
            && self.offset + (bytes + FRAME_ROOM) as u64 <= self.capacity
    }

    /// Writes one operation on the thread of a caller. It was made in memory and not queued.
    pub(super) fn write_here(&mut self, operation: Operation, committed: Option<LogId>) {
        let _unwinding = Unwinding(Arc::clone(&self.shared));
        self.batch(Batch {
            operations: vec![operation],
            committed,
        });
    }

    fn batch(&mut self, batch: Batch) {
        let Batch {
            operations,
            committed,
        } = batch;
        match self.write_batch(&operations, committed) {
            Ok(()) => {
                complete(operations);
                self.remove_purged();
            }
            Err(failure) => {
                let waiting = self.shared.fail(&failure);
                for operation in operations.into_iter().chain(waiting) {
                    (operation.done)(Err(failure.to_io()));
                }
                // Reported once, where it is decided what it means: see `SegmentLog::disk_failure`.
                tracing::debug!(error = %failure.to_io(), "the log has failed");
            }
        }
    }

    fn write_batch(
        &mut self,
        operations: &[Operation],
        committed: Option<LogId>,
    ) -> Result<(), Failure> {
        let durable = self.build(operations, committed);
        if self.builder.is_empty() {
            return Ok(());
        }
        self.make_room()?;
        let frame = self.builder.seal(self.frame_next, self.offset);
        let segment = self
            .segments
            .back_mut()
            .expect("a log always has a segment");
        let file = &segment.file.file;
        let begun = now();
        file.write_all_at(frame, self.offset)
            .map_err(|error| Failure::new("cannot write to the segment", error))?;
        self.directory
            .sync_file(file)
            .map_err(|error| Failure::new("cannot sync the segment", error))?;
        let took = begun.elapsed();
        self.sync_time = (7 * self.sync_time + took) / 8;

        let ordinal = segment.ordinal;
        let (offset, bytes) = (self.offset, frame.len() as u64);
        let index_max = self.starts.iter().map(|(index, _)| *index).max();
        segment.index_max = segment.index_max.max(index_max);
        let place = |&(index, start): &(u64, usize)| {
            (
                index,
                Location {
                    segment: ordinal,
                    offset: (offset + start as u64) as u32,
                },
            )
        };
        let placed: Vec<_> = self.starts.iter().map(place).collect();
        self.offset += bytes;
        self.frame_next += 1;
        self.durable = durable;
        self.shared.end_batch(&placed, (ordinal, self.offset));
        let counters = &self.shared.counters;
        counters.frames.fetch_add(1, Ordering::Relaxed);
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        counters
            .entries
            .fetch_add(placed.len() as u64, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        counters.sync_times.note(took);
        Ok(())
    }

    /// Puts the batch into the builder and returns the state after it.
    fn build(&mut self, operations: &[Operation], committed: Option<LogId>) -> LogState {
        let mut state = self.durable;
        self.builder.clear(BUFFER_BYTES_KEPT);
        self.starts.clear();
        for operation in operations {
            match &operation.change {
                Change::Append(entries) => {
                    for entry in entries {
                        let start = self.builder.push_entry(entry);
                        self.starts.push((entry.id.index, start));
                        state.last = Some(entry.id);
                    }
                }
                Change::Vote(vote) => {
                    self.builder.push_vote(*vote);
                    state.vote = Some(*vote);
                }
                Change::TruncateAfter(last) => {
                    self.builder.push_truncate_after(*last);
                    let kept = |start: &(u64, usize)| Some(start.0) <= last.map(|id| id.index);
                    self.starts.retain(kept);
                    state.last = last.or(state.purged);
                }
                Change::Purge(upto) => {
                    self.builder.push_purge(*upto);
                    state.purged = Some(*upto);
                    state.last = state
                        .last
                        .filter(|last| last.index > upto.index)
                        .or(Some(*upto));
                }
                Change::Nothing => {}
            }
        }
        if committed != state.committed {
            self.builder.push_committed(committed);
            state.committed = committed;
        }
        state
    }

    /// Makes sure that the frame in the builder fits at `offset`, in a new segment if need be.
    fn make_room(&mut self) -> Result<(), Failure> {
        let frame_bytes = self.builder.len();
        if self.offset + frame_bytes <= self.capacity {
            return Ok(());
        }
        let capacity = HEADER_BYTES as u64 + frame_bytes;
        let failed = |error| Failure::new("cannot make the next segment", error);
        let from_spare = capacity <= self.directory.segment_bytes;
        let (mut made, again) = match from_spare {
            true => (
                self.files.take_spare(),
                ("spare", self.directory.segment_bytes),
            ),
            false => (
                self.directory.prepare("large", capacity),
                ("large", capacity),
            ),
        };
        // What is missing may be there soon: nothing was written, so it can be tried again.
        let mut told = false;
        while let Err(error) = &made
            && is_full(error)
            && !self.shared.is_closing()
        {
            // The spare may have failed long ago for want of space that is free by now.
            made = self.directory.prepare(again.0, again.1);
            if made.is_err() {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!("the disk is full: the log waits for room");
                }
                std::thread::park_timeout(ROOM_PAUSE);
            }
        }
        let spare = made.map_err(failed)?;
        self.capacity = spare.capacity;
        let header = SegmentHeader {
            frame_first: self.frame_next,
            file_bytes: self.directory.file_bytes(spare.capacity),
            checkpoint: self.durable,
        };
        let file = Arc::new(self.directory.finish(spare, header).map_err(failed)?);
        if from_spare {
            self.files.prepare_next();
        }
        let ordinal = self
            .segments
            .back()
            .map_or(1, |segment| segment.ordinal + 1);
        let blank = self.offset == HEADER_BYTES as u64;
        if let Some(replaced) = self.segments.pop_back_if(|_| blank) {
            // It had the same first frame, and so the same name: the new file took its place.
            self.shared.lock().files.remove(&replaced.ordinal);
        }
        self.shared.lock().files.insert(ordinal, Arc::clone(&file));
        self.segments.push_back(Segment {
            ordinal,
            file,
            index_max: None,
        });
        self.offset = HEADER_BYTES as u64;
        self.count_segments();
        Ok(())
    }

    /// Removes the oldest segments that hold only entries whose purge is on disk.
    fn remove_purged(&mut self) {
        let purged = self.durable.purged.map(|id| id.index);
        while self.segments.len() > 1 {
            let oldest = &self.segments[0];
            if oldest.index_max > purged {
                return;
            }
            self.shared.lock().files.remove(&oldest.ordinal);
            self.files.remove(oldest.file.path.clone());
            self.segments.pop_front();
            self.count_segments();
        }
    }

    fn count_segments(&self) {
        let segments = &self.shared.counters.segments;
        segments.store(self.segments.len() as u64, Ordering::Relaxed);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it says who writes the next frame, not what"
)]
fn now() -> Instant {
    Instant::now()
}

/// Completes what one sync has made durable, in the order of the calls; but a run of appends from
/// its last one on, so that a caller that goes by the greatest index is woken once.
fn complete(operations: Vec<Operation>) {
    let runs = |a: &Operation, b: &Operation| a.is_append() && b.is_append();
    let lengths: Vec<usize> = operations.chunk_by(runs).map(<[_]>::len).collect();
    let mut operations = operations.into_iter();
    for length in lengths {
        let run: Vec<_> = operations.by_ref().take(length).collect();
        for operation in run.into_iter().rev() {
            (operation.done)(Ok(()));
        }
    }
}

/// The parts of an opened log that the writer needs.
pub(super) struct RecoveredEnd {
    segments: VecDeque<Segment>,
    capacity: u64,
    offset: u64,
    frame_next: u64,
    durable: LogState,
}

impl RecoveredEnd {
    /// Returns the last segment, and where its last synced frame ends.
    pub(super) fn place(&self) -> (u32, u64) {
        let last = self.segments.back();
        (last.map_or(0, |segment| segment.ordinal), self.offset)
    }

    /// Returns the files that readers may need, by ordinal.
    pub(super) fn files(&self) -> BTreeMap<u32, Arc<SegmentFile>> {
        let item = |segment: &Segment| (segment.ordinal, Arc::clone(&segment.file));
        self.segments.iter().map(item).collect()
    }
}

impl From<&mut Recovered> for RecoveredEnd {
    fn from(recovered: &mut Recovered) -> Self {
        Self {
            segments: std::mem::take(&mut recovered.segments),
            capacity: recovered.capacity,
            offset: recovered.offset,
            frame_next: recovered.frame_next,
            durable: recovered.memory.state,
        }
    }
}
