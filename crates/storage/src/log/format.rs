//! The bytes of the log: segment headers, frames, and the records inside a frame.
//!
//! All integers are little-endian; frames and records start at multiples of eight. A frame's
//! checksum covers its offset too, so that frame-like bytes inside a message are not a frame.
//! An entry has a checksum of its own, so that it can be read alone. A frame ends with a mark that
//! is nowhere zero: see `torn.rs`. Nothing here does I/O.

use bytes::Bytes;

use super::types::{Entry, EntryKind, LogId, LogState, Vote};

/// The format that this build writes. A format is read by one release before another one writes it,
/// so that a node can go back to the release before.
pub(super) const FORMAT_VERSION: u32 = 2;
/// The oldest format that this build reads.
pub(super) const FORMAT_OLDEST: u32 = 2;
/// The size of a segment's header; the first frame follows it.
pub(super) const HEADER_BYTES: usize = 256;
/// The size of a frame's header.
pub(super) const FRAME_HEADER_BYTES: usize = 24;
/// What precedes an entry's own bytes in its record.
pub(super) const ENTRY_OVERHEAD_BYTES: usize = RECORD_HEADER_BYTES + LOG_ID_BYTES;

const SEGMENT_MAGIC: &[u8; 8] = b"CNCLVLOG";
const FRAME_MAGIC: u32 = 0x6d61_7246;
/// How every frame ends. Files are filled with zeros, so a frame that has it was written to its
/// end.
pub(super) const FRAME_END: [u8; 8] = *b"frameend";

const RECORD_HEADER_BYTES: usize = 16;
const LOG_ID_BYTES: usize = 24;

const KIND_ENTRY: u8 = 1;
const KIND_VOTE: u8 = 2;
const KIND_COMMITTED: u8 = 3;
const KIND_TRUNCATE: u8 = 4;
const KIND_PURGE: u8 = 5;

/// One record of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Entry(Entry),
    Vote(Vote),
    Committed(Option<LogId>),
    TruncateAfter(Option<LogId>),
    Purge(LogId),
}

/// The beginning of a segment file: which frame comes first, and the state before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) frame_first: u64,
    /// The size of the file; 0 if it grows with its frames.
    pub(super) file_bytes: u64,
    pub(super) checkpoint: LogState,
}

/// Why a segment's header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    Damaged,
    UnknownFormat(u32),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(SEGMENT_MAGIC);
        put_u32(&mut out, FORMAT_VERSION);
        put_u32(&mut out, 0);
        put_u64(&mut out, self.frame_first);
        put_u64(&mut out, self.file_bytes);
        put_id_option(&mut out, self.checkpoint.purged);
        put_id_option(&mut out, self.checkpoint.last);
        put_id_option(&mut out, self.checkpoint.committed);
        put_u64(&mut out, u64::from(self.checkpoint.vote.is_some()));
        let none = Vote {
            term: 0,
            node: 0,
            committed: false,
        };
        put_vote(&mut out, self.checkpoint.vote.unwrap_or(none));
        out.resize(HEADER_BYTES - 4, 0);
        let checksum = crc32c::crc32c(&out);
        put_u32(&mut out, checksum);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() < HEADER_BYTES || &bytes[..8] != SEGMENT_MAGIC {
            return Err(HeaderError::Damaged);
        }
        let (body, checksum) = bytes[..HEADER_BYTES].split_at(HEADER_BYTES - 4);
        if crc32c::crc32c(body) != u32_at(checksum, 0) {
            return Err(HeaderError::Damaged);
        }
        let format = u32_at(body, 8);
        if !(FORMAT_OLDEST..=FORMAT_VERSION).contains(&format) {
            return Err(HeaderError::UnknownFormat(format));
        }
        let vote = (u64_at(body, 128) != 0).then(|| vote_at(body, 136));
        let checkpoint = LogState {
            purged: id_option_at(body, 32),
            last: id_option_at(body, 64),
            committed: id_option_at(body, 96),
            vote,
        };
        Ok(Self {
            frame_first: u64_at(body, 16),
            file_bytes: u64_at(body, 24),
            checkpoint,
        })
    }
}

/// Builds one frame in a buffer that is used again for the next.
#[derive(Debug, Default)]
pub(super) struct FrameBuilder {
    out: Vec<u8>,
}

impl FrameBuilder {
    /// Starts anew and gives back memory beyond `bytes_kept`.
    pub(super) fn clear(&mut self, bytes_kept: usize) {
        self.out.clear();
        self.out.shrink_to(bytes_kept);
        self.out.resize(FRAME_HEADER_BYTES, 0);
    }

    /// Adds an entry and returns where its record begins, counted from the frame's start.
    pub(super) fn push_entry(&mut self, entry: &Entry) -> usize {
        let start = self.begin(KIND_ENTRY, entry_kind_code(entry.kind));
        put_id(&mut self.out, entry.id);
        self.out.extend_from_slice(&entry.bytes);
        self.finish(start);
        start
    }

    pub(super) fn push_vote(&mut self, vote: Vote) {
        let start = self.begin(KIND_VOTE, 0);
        put_vote(&mut self.out, vote);
        self.finish(start);
    }

    pub(super) fn push_committed(&mut self, committed: Option<LogId>) {
        let start = self.begin(KIND_COMMITTED, 0);
        put_id_option(&mut self.out, committed);
        self.finish(start);
    }

    pub(super) fn push_truncate_after(&mut self, last: Option<LogId>) {
        let start = self.begin(KIND_TRUNCATE, 0);
        put_id_option(&mut self.out, last);
        self.finish(start);
    }

    pub(super) fn push_purge(&mut self, upto: LogId) {
        let start = self.begin(KIND_PURGE, 0);
        put_id(&mut self.out, upto);
        self.finish(start);
    }

    /// Returns the size of the frame with these records.
    pub(super) fn len(&self) -> u64 {
        (self.out.len() + FRAME_END.len()) as u64
    }

    /// Returns whether no record was added.
    pub(super) fn is_empty(&self) -> bool {
        self.out.len() == FRAME_HEADER_BYTES
    }

    /// Fills in the header and returns the bytes to write at `offset`.
    pub(super) fn seal(&mut self, number: u64, offset: u64) -> &[u8] {
        self.out.extend_from_slice(&FRAME_END);
        let payload_bytes = u32::try_from(self.out.len() - FRAME_HEADER_BYTES)
            .expect("APPEND_BYTES_MAX keeps frames far below 4 GiB");
        self.out[0..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        self.out[4..8].copy_from_slice(&payload_bytes.to_le_bytes());
        self.out[8..16].copy_from_slice(&number.to_le_bytes());
        let checksum = frame_checksum(&self.out[4..16], offset, &self.out[FRAME_HEADER_BYTES..]);
        self.out[16..20].copy_from_slice(&checksum.to_le_bytes());
        let header_checksum = crc32c::crc32c(&self.out[..20]);
        self.out[20..24].copy_from_slice(&header_checksum.to_le_bytes());
        &self.out
    }

    fn begin(&mut self, kind: u8, entry_kind: u8) -> usize {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        self.out[start] = kind;
        self.out[start + 1] = entry_kind;
        start
    }

    fn finish(&mut self, start: usize) {
        let body = start + RECORD_HEADER_BYTES;
        let body_bytes =
            u32::try_from(self.out.len() - body).expect("ENTRY_BYTES_MAX keeps records small");
        self.out[start + 4..start + 8].copy_from_slice(&body_bytes.to_le_bytes());
        let checksum = record_checksum(&self.out[start..start + 8], &self.out[body..]);
        self.out[start + 8..start + 12].copy_from_slice(&checksum.to_le_bytes());
        self.out.resize(self.out.len().next_multiple_of(8), 0);
    }
}

/// A frame that was found whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameView<'a> {
    pub(super) number: u64,
    /// The whole frame's size, header included.
    pub(super) bytes: usize,
    payload: &'a [u8],
}

impl<'a> FrameView<'a> {
    /// Returns the frame that begins at `offset` of `segment`, if a whole one with right checksums
    /// does.
    pub(super) fn at(segment: &'a [u8], offset: usize) -> Option<Self> {
        let bytes = frame_bytes_at(segment, offset)?;
        let header = segment.get(offset..offset + FRAME_HEADER_BYTES)?;
        let payload = segment.get(offset + FRAME_HEADER_BYTES..offset.checked_add(bytes)?)?;
        if frame_checksum(&header[4..16], offset as u64, payload) != u32_at(header, 16) {
            return None;
        }
        Some(Self {
            number: u64_at(header, 8),
            bytes,
            payload: payload.strip_suffix(&FRAME_END)?,
        })
    }

    /// Calls `each` with every record and its offset from the frame's start. Returns false if the
    /// records do not make sense although the checksum was right, or if `each` says so.
    pub(super) fn records(&self, mut each: impl FnMut(usize, Record) -> bool) -> bool {
        let mut at = 0;
        while at < self.payload.len() {
            let Some((record, bytes)) = decode_record(&self.payload[at..]) else {
                return false;
            };
            if !each(FRAME_HEADER_BYTES + at, record) {
                return false;
            }
            at += bytes;
        }
        at == self.payload.len()
    }
}

/// Returns how long the frame is that begins at `offset`, if its header is good.
pub(super) fn frame_bytes_at(segment: &[u8], offset: usize) -> Option<usize> {
    let header = segment.get(offset..offset.checked_add(FRAME_HEADER_BYTES)?)?;
    let good =
        u32_at(header, 0) == FRAME_MAGIC && crc32c::crc32c(&header[..20]) == u32_at(header, 20);
    good.then(|| FRAME_HEADER_BYTES + u32_at(header, 4) as usize)
}

/// Returns how many bytes the record of an entry with `bytes` bytes takes.
pub(super) fn entry_record_bytes(bytes: usize) -> usize {
    (ENTRY_OVERHEAD_BYTES + bytes).next_multiple_of(8)
}

/// Reads the record at the start of `bytes` and its size; `None` if it is damaged.
pub(super) fn decode_record(bytes: &[u8]) -> Option<(Record, usize)> {
    let header = bytes.get(..RECORD_HEADER_BYTES)?;
    let body_bytes = u32_at(header, 4) as usize;
    let body = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES.checked_add(body_bytes)?)?;
    if record_checksum(&header[..8], body) != u32_at(header, 8) {
        return None;
    }
    let record = match (header[0], body.len()) {
        (KIND_ENTRY, LOG_ID_BYTES..) => Record::Entry(Entry {
            id: id_at(body, 0),
            kind: entry_kind_from(header[1])?,
            bytes: Bytes::copy_from_slice(&body[LOG_ID_BYTES..]),
        }),
        (KIND_VOTE, 24) => Record::Vote(vote_at(body, 0)),
        (KIND_COMMITTED, 32) => Record::Committed(id_option_at(body, 0)),
        (KIND_TRUNCATE, 32) => Record::TruncateAfter(id_option_at(body, 0)),
        (KIND_PURGE, LOG_ID_BYTES) => Record::Purge(id_at(body, 0)),
        _ => return None,
    };
    Some((
        record,
        (RECORD_HEADER_BYTES + body_bytes).next_multiple_of(8),
    ))
}

fn entry_kind_code(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Blank => 0,
        EntryKind::Commands => 1,
        EntryKind::Membership => 2,
    }
}

fn entry_kind_from(code: u8) -> Option<EntryKind> {
    match code {
        0 => Some(EntryKind::Blank),
        1 => Some(EntryKind::Commands),
        2 => Some(EntryKind::Membership),
        _ => None,
    }
}

fn frame_checksum(length_and_number: &[u8], offset: u64, payload: &[u8]) -> u32 {
    let checksum = crc32c::crc32c_append(0, length_and_number);
    let checksum = crc32c::crc32c_append(checksum, &offset.to_le_bytes());
    crc32c::crc32c_append(checksum, payload)
}

fn record_checksum(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_id(out: &mut Vec<u8>, id: LogId) {
    put_u64(out, id.term);
    put_u64(out, id.node);
    put_u64(out, id.index);
}

fn put_id_option(out: &mut Vec<u8>, id: Option<LogId>) {
    put_u64(out, u64::from(id.is_some()));
    put_id(
        out,
        id.unwrap_or(LogId {
            term: 0,
            node: 0,
            index: 0,
        }),
    );
}

fn put_vote(out: &mut Vec<u8>, vote: Vote) {
    put_u64(out, vote.term);
    put_u64(out, vote.node);
    put_u64(out, u64::from(vote.committed));
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(
        bytes[at..at + 4]
            .try_into()
            .expect("the slice is four bytes long"),
    )
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(
        bytes[at..at + 8]
            .try_into()
            .expect("the slice is eight bytes long"),
    )
}

fn id_at(bytes: &[u8], at: usize) -> LogId {
    LogId {
        term: u64_at(bytes, at),
        node: u64_at(bytes, at + 8),
        index: u64_at(bytes, at + 16),
    }
}

fn id_option_at(bytes: &[u8], at: usize) -> Option<LogId> {
    (u64_at(bytes, at) != 0).then(|| id_at(bytes, at + 8))
}

fn vote_at(bytes: &[u8], at: usize) -> Vote {
    Vote {
        term: u64_at(bytes, at),
        node: u64_at(bytes, at + 8),
        committed: u64_at(bytes, at + 16) != 0,
    }
}
