//! The log in memory: the state, where every retained entry lies, and the recent entries.
//!
//! It changes when an operation is accepted, before the disk knows; entries that are not on disk
//! yet are never evicted. Nothing here does I/O.
//!
//! Always true: entries have consecutive indexes, and the last of them is `state.last`.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::bounds::{APPEND_BYTES_MAX, ENTRY_BYTES_MAX};
use super::format::{Record, entry_record_bytes};
use super::types::{Entry, EntryKind, LogId, LogState, Vote};

/// Where an entry's record begins: which segment, and where in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u32,
    pub(super) offset: u32,
}

/// What one retained entry costs in memory when its bytes are not cached.
#[derive(Debug, Clone, Copy)]
struct Slot {
    term: u64,
    node: u64,
    location: Option<Location>,
    bytes: u32,
    kind: EntryKind,
}

/// One step of a read.
#[derive(Debug)]
pub(super) enum Planned {
    Cached(Entry),
    OnDisk(OnDisk),
}

/// An entry to be read from its segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnDisk {
    pub(super) id: LogId,
    pub(super) location: Location,
    /// The size of the entry's record, padding included.
    pub(super) record_bytes: usize,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) state: LogState,
    slots: VecDeque<Slot>,
    /// The index of the first slot.
    first: u64,
    /// The bytes of the last entries of the log.
    cache: VecDeque<Bytes>,
    cache_bytes: usize,
    cache_bytes_max: usize,
    /// Entries from here on are not on disk yet.
    unwritten_first: u64,
    /// Entries from here on were truncated since the writer took its last batch.
    cut_first: u64,
    /// The last entry that a checkpoint names without its being in any file that was read.
    unknown_last: Option<u64>,
}

impl Memory {
    pub(super) fn new(state: LogState, cache_bytes_max: usize) -> Self {
        Self {
            state,
            slots: VecDeque::new(),
            first: 0,
            cache: VecDeque::new(),
            cache_bytes: 0,
            cache_bytes_max,
            unwritten_first: 0,
            cut_first: u64::MAX,
            unknown_last: None,
        }
    }

    /// Accepts entries that follow the last one, or changes nothing.
    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut last = self.state.last;
        let mut bytes = 0;
        for entry in entries {
            if last.is_some_and(|last| entry.id.index != last.index.wrapping_add(1)) {
                return Err(refused("an entry does not follow the last one"));
            }
            if entry.bytes.len() > ENTRY_BYTES_MAX {
                return Err(refused("an entry has more than ENTRY_BYTES_MAX bytes"));
            }
            bytes += entry_record_bytes(entry.bytes.len());
            last = Some(entry.id);
        }
        if bytes > APPEND_BYTES_MAX {
            return Err(refused("an append has more than APPEND_BYTES_MAX bytes"));
        }
        for entry in entries {
            self.push(entry, None);
            self.cache_bytes += entry.bytes.len();
            self.cache.push_back(entry.bytes.clone());
        }
        Ok(())
    }

    pub(super) fn save_vote(&mut self, vote: Vote) {
        self.state.vote = Some(vote);
    }

    /// Returns whether anything was removed.
    pub(super) fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<bool> {
        if last.map(|id| id.index) < self.purged_index() {
            return Err(refused("a truncation reaches into the purged entries"));
        }
        if last.map(|id| id.index) >= self.state.last.map(|id| id.index) {
            return Ok(false);
        }
        if last != self.state.purged && last != last.and_then(|id| self.id_of(id.index)) {
            return Err(refused("the entry to truncate after is not in the log"));
        }
        self.cut(last);
        Ok(true)
    }

    /// Returns whether anything changed.
    pub(super) fn purge(&mut self, upto: LogId) -> bool {
        if Some(upto.index) <= self.purged_index() {
            return false;
        }
        while self.first <= upto.index && self.slots.pop_front().is_some() {
            if self.cache.len() > self.slots.len() {
                self.evict_one();
            }
            self.first += 1;
        }
        self.state.purged = Some(upto);
        if self.slots.is_empty() {
            self.state.last = Some(upto);
        }
        true
    }

    /// Notes that the writer takes a batch: from now on truncations concern what is in flight.
    pub(super) fn begin_batch(&mut self) {
        self.cut_first = u64::MAX;
    }

    /// Notes that the batch is on disk, and where these of its entries lie.
    pub(super) fn end_batch(&mut self, placed: &[(u64, Location)]) {
        for &(index, location) in placed {
            if index >= self.cut_first {
                break;
            }
            self.unwritten_first = index + 1;
            let slot = index.checked_sub(self.first).map(|at| at as usize);
            if let Some(slot) = slot.and_then(|at| self.slots.get_mut(at)) {
                slot.location = Some(location);
            }
        }
        while self.cache_bytes > self.cache_bytes_max && self.cache_first() < self.unwritten_first {
            self.evict_one();
        }
    }

    /// Returns what to read for the present entries of `range`, up to `bytes_max`, at least one.
    pub(super) fn plan(&self, range: Range<u64>, bytes_max: usize) -> Vec<Planned> {
        let end = range.end.min(self.end());
        let mut planned = Vec::new();
        let mut bytes = 0;
        for index in range.start.max(self.first)..end {
            let slot = &self.slots[(index - self.first) as usize];
            bytes += slot.bytes as usize;
            if bytes > bytes_max && !planned.is_empty() {
                break;
            }
            planned.push(self.plan_one(index, slot));
        }
        planned
    }

    /// Begins with the state before the oldest segment that still exists.
    pub(super) fn start_from(&mut self, checkpoint: LogState) {
        self.state = checkpoint;
        self.unknown_last = checkpoint.last.map(|id| id.index);
    }

    /// Takes in a record found on disk; false if it cannot follow what came before.
    pub(super) fn replay(&mut self, record: &Record, location: Location) -> bool {
        match record {
            Record::Entry(entry) => {
                let last = self.state.last;
                if last.is_some_and(|last| entry.id.index != last.index.wrapping_add(1)) {
                    return false;
                }
                self.push(entry, Some(location));
                self.unwritten_first = entry.id.index + 1;
            }
            Record::Vote(vote) => self.save_vote(*vote),
            Record::Committed(committed) => self.state.committed = *committed,
            Record::TruncateAfter(last) => self.cut(*last),
            Record::Purge(upto) => {
                // Entries before the first segment may be unknown here, and `last` with them.
                let last = self.state.last.filter(|last| last.index > upto.index);
                self.purge(*upto);
                self.state.last = last.or(Some(*upto));
            }
        }
        true
    }

    /// Returns whether every entry that the state promises is here.
    pub(super) fn is_complete(&self) -> bool {
        let Some(last) = self.state.last else {
            return self.slots.is_empty();
        };
        if self.unknown_last > self.purged_index() {
            return false;
        }
        match (self.slots.is_empty(), self.purged_index()) {
            (true, _) => self.state.purged == Some(last),
            (false, Some(purged)) => self.first == purged + 1 && self.end() == last.index + 1,
            (false, None) => self.end() == last.index + 1,
        }
    }

    fn plan_one(&self, index: u64, slot: &Slot) -> Planned {
        let id = LogId {
            term: slot.term,
            node: slot.node,
            index,
        };
        if index >= self.cache_first() {
            let bytes = self.cache[(index - self.cache_first()) as usize].clone();
            return Planned::Cached(Entry {
                id,
                kind: slot.kind,
                bytes,
            });
        }
        let location = slot
            .location
            .expect("an entry leaves the cache only when it is on disk");
        let record_bytes = entry_record_bytes(slot.bytes as usize);
        Planned::OnDisk(OnDisk {
            id,
            location,
            record_bytes,
        })
    }

    fn push(&mut self, entry: &Entry, location: Option<Location>) {
        let LogId { term, node, index } = entry.id;
        if self.slots.is_empty() {
            self.first = index;
            self.unwritten_first = index;
        }
        let bytes = entry.bytes.len() as u32;
        self.slots.push_back(Slot {
            term,
            node,
            location,
            bytes,
            kind: entry.kind,
        });
        self.state.last = Some(entry.id);
    }

    fn cut(&mut self, last: Option<LogId>) {
        let cut_first = last.map_or(0, |last| last.index + 1);
        while self.end() > cut_first && self.slots.pop_back().is_some() {
            if let Some(bytes) = self.cache.pop_back() {
                self.cache_bytes -= bytes.len();
            }
        }
        self.unknown_last = self.unknown_last.min(last.map(|id| id.index));
        self.cut_first = self.cut_first.min(cut_first);
        self.unwritten_first = self.unwritten_first.min(cut_first);
        self.state.last = last.or(self.state.purged);
    }

    fn evict_one(&mut self) {
        if let Some(bytes) = self.cache.pop_front() {
            self.cache_bytes -= bytes.len();
        }
    }

    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    fn cache_first(&self) -> u64 {
        self.end() - self.cache.len() as u64
    }

    fn purged_index(&self) -> Option<u64> {
        self.state.purged.map(|id| id.index)
    }

    fn id_of(&self, index: u64) -> Option<LogId> {
        let slot = self
            .slots
            .get(usize::try_from(index.checked_sub(self.first)?).ok()?)?;
        Some(LogId {
            term: slot.term,
            node: slot.node,
            index,
        })
    }
}

fn refused(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}
