//! A piece of a snapshot's file, packed for sending.
//!
//! Always true: unpacking never takes more memory than [`CHUNK_BYTES_MAX`], whatever was sent.

use bytes::Bytes;
use conclave_wire::peer::{self, ChunkEncoding};

/// Number of bytes of a snapshot in one message.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// Maximum number of bytes of a snapshot in one message; a longer message is refused.
pub(super) const CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Encodings that this node can unpack.
pub(super) const ENCODINGS: [ChunkEncoding; 1] = [ChunkEncoding::Lz4];

/// Packs a piece, if the receiver can unpack it and the result is smaller.
pub(super) fn pack(offset: u64, raw: Vec<u8>, encodings: &[i32]) -> peer::SnapshotChunk {
    let crc32c = crc32c::crc32c(&raw);
    let raw_bytes = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    let wanted = encodings.contains(&ChunkEncoding::Lz4.into());
    let packed = wanted.then(|| lz4_flex::compress(&raw));
    let (encoding, data) = match packed.filter(|packed| packed.len() < raw.len()) {
        Some(packed) => (ChunkEncoding::Lz4, packed),
        None => (ChunkEncoding::Unspecified, raw),
    };
    peer::SnapshotChunk {
        offset,
        data: data.into(),
        crc32c,
        encoding: encoding.into(),
        raw_bytes,
    }
}

/// Unpacks a piece and verifies it; returns `None` if it is not what was packed.
pub(super) fn unpack(chunk: peer::SnapshotChunk) -> Option<Bytes> {
    let raw_bytes = usize::try_from(chunk.raw_bytes).ok()?;
    let raw = match ChunkEncoding::try_from(chunk.encoding).ok()? {
        ChunkEncoding::Unspecified => chunk.data,
        ChunkEncoding::Lz4 if raw_bytes <= CHUNK_BYTES_MAX => {
            let mut raw = vec![0; raw_bytes];
            let written = lz4_flex::decompress_into(&chunk.data, &mut raw).ok()?;
            (written == raw_bytes).then_some(raw)?.into()
        }
        ChunkEncoding::Lz4 => return None,
    };
    let sound =
        !raw.is_empty() && raw.len() <= CHUNK_BYTES_MAX && crc32c::crc32c(&raw) == chunk.crc32c;
    sound.then_some(raw)
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
