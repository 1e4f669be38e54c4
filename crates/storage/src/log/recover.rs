//! Reads a log's files when it is opened, and distinguishes a torn tail from damage.
//!
//! Frame `k + 1` is written only after frame `k` was synced. So a bad frame with a valid later one
//! was acknowledged and has been damaged since; a bad last frame was if it is whole (`torn.rs`).
//! Nothing is written before the whole log was found good.
//!
//! Always true after opening: what was read is on disk, even if the process that wrote it died
//! before its sync returned, or after its sync had failed.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::files::{Directory, SegmentFile};
use super::format::{
    FORMAT_OLDEST, FORMAT_VERSION, FrameView, HEADER_BYTES, HeaderError, Record, SegmentHeader,
};
use super::memory::{Location, Memory};
use super::torn::{is_blank, is_torn};
use super::types::{LogState, OpenError, Recovery, TornTail};

/// A segment as the writer knows it.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its name inside this process; never used twice.
    pub(super) ordinal: u32,
    pub(super) file: Arc<SegmentFile>,
    /// The largest index of any entry ever written to it.
    pub(super) index_max: Option<u64>,
}

/// A log that was found good, ready to be written to.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) memory: Memory,
    /// Oldest first; frames are written to the last.
    pub(super) segments: VecDeque<Segment>,
    pub(super) capacity: u64,
    pub(super) offset: u64,
    pub(super) frame_next: u64,
    pub(super) report: Recovery,
}

/// The end of the last segment: what must be written again or wiped.
#[derive(Debug, Default)]
struct Tail {
    frame_last: Option<(u64, Vec<u8>)>,
    torn_bytes: u64,
}

/// Opens the log in `directory`, or makes an empty one.
pub(super) fn recover(directory: &Directory, cache_bytes: usize) -> Result<Recovered, OpenError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "measured for the report, decides nothing"
    )]
    let started = Instant::now();
    let found = directory
        .segments()
        .map_err(failed("list", &directory.path))?;
    let mut recovered = match found.first() {
        None => create(directory, cache_bytes)?,
        Some(_) => read_all(directory, cache_bytes, &found)?,
    };
    directory
        .remove_unfinished()
        .map_err(failed("clean up", &directory.path))?;
    recovered.report.duration = started.elapsed();
    Ok(recovered)
}

fn create(directory: &Directory, cache_bytes: usize) -> Result<Recovered, OpenError> {
    let made = directory
        .prepare("first", directory.segment_bytes)
        .and_then(|spare| {
            let file_bytes = directory.file_bytes(spare.capacity);
            let checkpoint = LogState::default();
            directory.finish(
                spare,
                SegmentHeader {
                    frame_first: 1,
                    file_bytes,
                    checkpoint,
                },
            )
        });
    let file = Arc::new(made.map_err(failed("create the first segment in", &directory.path))?);
    Ok(Recovered {
        memory: Memory::new(LogState::default(), cache_bytes),
        segments: VecDeque::from([Segment {
            ordinal: 1,
            file,
            index_max: None,
        }]),
        capacity: directory.segment_bytes,
        offset: HEADER_BYTES as u64,
        frame_next: 1,
        report: Recovery::default(),
    })
}

fn read_all(
    directory: &Directory,
    cache_bytes: usize,
    found: &[(u64, PathBuf)],
) -> Result<Recovered, OpenError> {
    let mut recovered = Recovered {
        memory: Memory::new(LogState::default(), cache_bytes),
        segments: VecDeque::new(),
        capacity: 0,
        offset: 0,
        frame_next: found[0].0,
        report: Recovery::default(),
    };
    let mut tail = Tail::default();
    for (at, (frame_first, path)) in found.iter().enumerate() {
        if *frame_first != recovered.frame_next {
            return Err(damaged(&directory.path, 0, "a segment file is missing"));
        }
        let frame_end = found.get(at + 1).map(|(next, _)| *next);
        tail = recovered.read_segment(path, *frame_first, frame_end)?;
    }
    if !recovered.memory.is_complete() {
        return Err(damaged(
            &directory.path,
            0,
            "the oldest segment files are missing",
        ));
    }
    recovered.mend(directory, tail)?;
    Ok(recovered)
}

impl Recovered {
    /// Reads one segment; `frame_end` is the first frame of the next one, if there is a next one.
    fn read_segment(
        &mut self,
        path: &Path,
        frame_first: u64,
        frame_end: Option<u64>,
    ) -> Result<Tail, OpenError> {
        let bytes = fs::read(path).map_err(failed("read", path))?;
        let header = read_header(path, &bytes, frame_first)?;
        if self.segments.is_empty() {
            self.memory.start_from(header.checkpoint);
        }
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(failed("open", path))?;
        let ordinal = self.segments.len() as u32 + 1;
        let mut segment = Segment {
            ordinal,
            file: Arc::new(SegmentFile {
                path: path.to_path_buf(),
                file,
            }),
            index_max: None,
        };
        let mut frame_last = None;
        let mut offset = HEADER_BYTES;
        while frame_end.is_none_or(|end| self.frame_next < end) {
            let Some(frame) = FrameView::at(&bytes, offset) else {
                break;
            };
            self.read_frame(path, &mut segment, offset, &frame)?;
            frame_last = Some((offset, frame.bytes));
            offset += frame.bytes;
        }
        if frame_end.is_some_and(|end| self.frame_next < end) {
            return Err(damaged(path, offset, "a frame before later ones is bad"));
        }
        self.report.segments += 1;
        self.segments.push_back(segment);
        self.offset = offset as u64;
        self.capacity = bytes.len() as u64;
        let mut tail = Tail::default();
        if frame_end.is_none() {
            tail.torn_bytes = self.measure_torn_tail(path, &bytes, offset)?;
            tail.frame_last = frame_last.map(|(at, len)| (at as u64, bytes[at..at + len].to_vec()));
        }
        Ok(tail)
    }

    fn read_frame(
        &mut self,
        path: &Path,
        segment: &mut Segment,
        offset: usize,
        frame: &FrameView<'_>,
    ) -> Result<(), OpenError> {
        if frame.number != self.frame_next {
            return Err(damaged(path, offset, "a frame has the wrong number"));
        }
        let ordinal = segment.ordinal;
        let good = frame.records(|at, record| {
            if let Record::Entry(entry) = &record {
                segment.index_max = segment.index_max.max(Some(entry.id.index));
            }
            let location = Location {
                segment: ordinal,
                offset: (offset + at) as u32,
            };
            self.memory.replay(&record, location)
        });
        if !good {
            return Err(damaged(
                path,
                offset,
                "a frame's records do not follow the ones before",
            ));
        }
        self.frame_next += 1;
        self.report.frames += 1;
        self.report.bytes += frame.bytes as u64;
        Ok(())
    }

    /// Returns how many bytes after the last good frame are not blank; an error if one of them
    /// belongs to a later good frame, or to a frame that was written whole.
    fn measure_torn_tail(
        &self,
        path: &Path,
        bytes: &[u8],
        offset: usize,
    ) -> Result<u64, OpenError> {
        let rest = &bytes[offset..];
        if is_blank(rest) {
            return Ok(0);
        }
        let mut later = (offset + 8..bytes.len()).step_by(8);
        if later
            .any(|at| FrameView::at(bytes, at).is_some_and(|frame| frame.number > self.frame_next))
        {
            return Err(damaged(path, offset, "a frame before later ones is bad"));
        }
        if !is_torn(bytes, offset) {
            let reason = "the last frame was written whole, and is bad now";
            return Err(damaged(path, offset, reason));
        }
        let last = rest.iter().rposition(|byte| *byte != 0);
        Ok(last.map_or(0, |last| last as u64 + 1))
    }

    /// Wipes the torn tail and makes sure that the last good frame is on disk.
    fn mend(&mut self, directory: &Directory, tail: Tail) -> Result<(), OpenError> {
        let segment = self
            .segments
            .back()
            .expect("a log that was read has a segment");
        let SegmentFile { path, file } = &*segment.file;
        if let Some((offset, bytes)) = &tail.frame_last {
            // A page that could not be synced may look clean without being on disk.
            file.write_all_at(bytes, *offset)
                .map_err(failed("write", path))?;
        }
        if tail.torn_bytes > 0 {
            let blank = vec![0; tail.torn_bytes as usize];
            file.write_all_at(&blank, self.offset)
                .map_err(failed("write", path))?;
            let (file, offset, bytes) = (path.clone(), self.offset, tail.torn_bytes);
            self.report.torn_tail = Some(TornTail {
                file,
                offset,
                bytes,
            });
        }
        directory.sync_file(file).map_err(failed("sync", path))?;
        if !directory.preallocate {
            self.capacity = directory.segment_bytes;
        }
        Ok(())
    }
}

pub(super) fn read_header(
    path: &Path,
    bytes: &[u8],
    frame_first: u64,
) -> Result<SegmentHeader, OpenError> {
    let header = SegmentHeader::decode(bytes).map_err(|error| match error {
        HeaderError::Damaged => damaged(path, 0, "the segment's header is bad"),
        HeaderError::UnknownFormat(version) => OpenError::UnknownFormat {
            file: path.to_path_buf(),
            version,
            oldest: FORMAT_OLDEST,
            newest: FORMAT_VERSION,
        },
    })?;
    if header.frame_first != frame_first {
        return Err(damaged(
            path,
            0,
            "the segment's header belongs to another file",
        ));
    }
    if header.file_bytes != 0 && header.file_bytes != bytes.len() as u64 {
        return Err(damaged(
            path,
            bytes.len(),
            "the segment has lost or gained bytes at its end",
        ));
    }
    Ok(header)
}

pub(super) fn damaged(file: &Path, offset: usize, reason: &'static str) -> OpenError {
    OpenError::Damaged {
        file: file.to_path_buf(),
        offset: offset as u64,
        reason,
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_path_buf();
    move |source| OpenError::Io {
        action,
        path,
        source,
    }
}
