//! Reads the whole log again, beside its writer, and looks whether it still is what was synced.
//!
//! Always true: what was not synced yet is not looked at, and nothing is changed.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::files::{SegmentFile, same};
use super::format::{FrameView, HEADER_BYTES};
use super::queue::Failure;
use super::recover::{damaged, read_header};
use super::segment_log::SegmentLog;
use super::types::OpenError;
use crate::fault::{self, DiskFailure, Fault};

/// What a second reading of the whole log has found good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verified {
    /// Segment files.
    pub segments: u64,
    /// Frames with a good checksum.
    pub frames: u64,
}

impl SegmentLog {
    /// Returns what was found to be damaged since the log was opened, if anything: the node must
    /// stop and must not vote with this log again.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        self.shared.damage.get().cloned()
    }

    /// Returns what the disk refused, if that is why the log takes nothing more: the node must
    /// stop, and another copy of the data does not help.
    #[must_use]
    pub fn disk_failure(&self) -> Option<DiskFailure> {
        self.shared.disk_failure()
    }

    /// Reads every frame that was synced and checks it; `pause` is called between two segments
    /// and says whether to go on. Damage is remembered, and so is what the disk refuses.
    ///
    /// # Errors
    /// [`OpenError::Damaged`], or [`OpenError::Io`] if a file cannot be read.
    pub fn verify(&self, mut pause: impl FnMut() -> bool) -> Result<Verified, OpenError> {
        let (files, end) = {
            let inner = self.shared.lock();
            let files: Vec<(u32, Arc<SegmentFile>)> = inner
                .files
                .iter()
                .map(|(ordinal, file)| (*ordinal, Arc::clone(file)))
                .collect();
            (files, inner.end)
        };
        let mut found = Verified::default();
        let mut frame_next = None;
        for (ordinal, file) in files.iter().filter(|(ordinal, _)| *ordinal <= end.0) {
            if !self.has(*ordinal) {
                // It was purged meanwhile, and those before it were.
                frame_next = None;
                continue;
            }
            let until = (*ordinal == end.0).then_some(end.1);
            match verify_segment(file, frame_next, until) {
                Ok((next, frames)) => {
                    frame_next = Some(next);
                    found.segments += 1;
                    found.frames += frames;
                }
                // Removed between the question and the reading.
                Err(_) if !self.has(*ordinal) => frame_next = None,
                Err(error) => {
                    self.note(&error);
                    return Err(error);
                }
            }
            if !pause() {
                break;
            }
        }
        Ok(found)
    }

    /// Takes nothing more from now on, neither entries nor votes: `why` says what is wrong with
    /// this node's data. That is not damage of the log, and is not reported as such.
    pub fn fence(&self, why: &str) {
        let cause = io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        self.shared
            .give_up(&Failure::new("this node must not go on", cause));
    }

    /// Remembers damage or a failed disk, and takes nothing more: a vote that waits must not be
    /// given.
    pub(super) fn note(&self, error: &OpenError) {
        if error.is_damage() {
            let why = error.to_string();
            // Only the first damage is reported.
            let _ = self.shared.damage.set(why.clone());
            self.fence(&why);
        }
        if let OpenError::Io { source, .. } = error
            && fault::of_io(source) == Fault::Failed
        {
            let failure = Failure::new("cannot read a segment", same(source));
            self.shared.give_up(&failure);
        }
    }

    /// Notes that entries which were read before cannot be read from this place of a file, and
    /// returns the error for the caller: an end that is missing is damage.
    pub(super) fn unread(&self, path: &Path, offset: u64, source: io::Error) -> io::Error {
        let for_caller = same(&source);
        match fault::of_io(&source) {
            Fault::Damage => {
                let reason = "the segment has lost its end";
                let error = damaged(path, usize::try_from(offset).unwrap_or(0), reason);
                self.note(&error);
                io::Error::new(io::ErrorKind::InvalidData, error)
            }
            _ => {
                self.note(&OpenError::Io {
                    action: "read",
                    path: path.to_path_buf(),
                    source,
                });
                for_caller
            }
        }
    }

    fn has(&self, ordinal: u32) -> bool {
        self.shared.lock().files.contains_key(&ordinal)
    }
}

/// Checks one file up to its synced end, or to its last frame; returns the number of the frame that
/// follows, and how many it has.
fn verify_segment(
    file: &SegmentFile,
    frame_first: Option<u64>,
    until: Option<u64>,
) -> Result<(u64, u64), OpenError> {
    let path = &file.path;
    let failed = |source: io::Error| OpenError::Io {
        action: "read",
        path: path.clone(),
        source,
    };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        // Nothing of what was written is left.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged(path, 0, "the segment file is missing"));
        }
        Err(error) => return Err(failed(error)),
    };
    let named = path.file_stem().and_then(|name| name.to_str());
    let named = named.and_then(|name| name.parse().ok()).unwrap_or(0);
    read_header(path, &bytes, named)?;
    if frame_first.is_some_and(|first| first != named) {
        return Err(damaged(path, 0, "frames before this segment are missing"));
    }
    let (mut next, mut offset) = (named, HEADER_BYTES);
    while until.is_none_or(|until| (offset as u64) < until) {
        match FrameView::at(&bytes, offset) {
            Some(frame) if frame.number == next => offset += frame.bytes,
            None if until.is_none() => break,
            _ => return Err(damaged(path, offset, "a frame that was synced is bad now")),
        }
        next += 1;
    }
    Ok((next, next - named))
}
