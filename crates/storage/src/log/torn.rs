//! Distinguishes a frame that was being written when the power failed from one that was whole once.
//!
//! A segment is full of zeros before anything is written to it, and a disk writes whole sectors.
//! So a write that was cut short leaves zeros: a whole sector of them, or all that follows. A frame
//! that has neither was written whole, may have been acknowledged, and has been damaged since.
//!
//! Not distinguished is a frame that carries a whole sector of zeros of its own; it counts as cut
//! short.

use super::format::{FRAME_END, FRAME_HEADER_BYTES, frame_bytes_at};

/// What a disk writes as a whole, in bytes; those that write more at once write multiples of it.
const SECTOR_BYTES: usize = 512;

/// Bytes at the end of a frame that are never torn apart: memory is not copied in smaller pieces
/// than eight bytes. Two of them say enough.
const END_BYTES: usize = 2;

/// Returns whether the bytes at `offset`, which are no good frame, are one that was never finished.
pub(super) fn is_torn(segment: &[u8], offset: usize) -> bool {
    let Some(bytes) = frame_bytes_at(segment, offset) else {
        return header_is_torn(segment, offset);
    };
    let Some(frame) = segment.get(offset..offset + bytes) else {
        // The header is good, and no writer begins what does not fit.
        return false;
    };
    has_blank_sector(frame, offset) || is_cut_off(frame)
}

/// Returns whether a write ended before the end of the frame, and only zeros follow.
fn is_cut_off(frame: &[u8]) -> bool {
    let end = frame.len().saturating_sub(FRAME_END.len());
    let written = FRAME_END.iter().zip(&frame[end..]);
    let good = written.take_while(|(meant, found)| meant == found).count();
    good <= FRAME_END.len() - END_BYTES && is_blank(&frame[end + good..])
}

fn header_is_torn(segment: &[u8], offset: usize) -> bool {
    let Some(header) = segment.get(offset..offset + FRAME_HEADER_BYTES) else {
        return true;
    };
    has_blank_sector(header, offset) || is_blank(&segment[offset + FRAME_HEADER_BYTES..])
}

/// Returns whether a sector's part of these bytes, which lie at `offset`, was not written.
fn has_blank_sector(bytes: &[u8], offset: usize) -> bool {
    let first = (SECTOR_BYTES - offset % SECTOR_BYTES).min(bytes.len());
    let (first, rest) = bytes.split_at(first);
    is_blank(first) || rest.chunks(SECTOR_BYTES).any(is_blank)
}

/// Returns whether nothing was written here.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    const BLANK: [u8; 4096] = [0; 4096];
    bytes
        .chunks(BLANK.len())
        .all(|chunk| chunk == &BLANK[..chunk.len()])
}
