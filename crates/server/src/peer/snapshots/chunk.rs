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
mod tests {
    use super::*;

    fn both() -> Vec<i32> {
        ENCODINGS.map(i32::from).to_vec()
    }

    /// Returns bytes that no compressor makes shorter.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    #[test]
    fn what_is_packed_comes_out_again_and_noise_goes_as_it_is() {
        let text = b"the same words again and again, ".repeat(1000);
        let packed = pack(7, text.clone(), &both());
        assert!(packed.data.len() < text.len() / 10);
        assert_eq!(packed.offset, 7);
        assert_eq!(unpack(packed).unwrap(), text);
        let plain = pack(0, text.clone(), &[]);
        assert_eq!((&plain.data[..], plain.encoding), (&text[..], 0));
        assert_eq!(unpack(plain).unwrap(), text);
        let noise = noise(CHUNK_BYTES);
        let packed = pack(0, noise.clone(), &both());
        assert_eq!(packed.encoding, 0, "it would only get longer");
        assert_eq!(unpack(packed).unwrap(), noise);
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let text = b"some words, some more words".repeat(20);
        for encodings in [both(), Vec::new()] {
            let packed = pack(0, text.clone(), &encodings);
            for bit in 0..packed.data.len() * 8 {
                let mut data = packed.data.to_vec();
                data[bit / 8] ^= 1 << (bit % 8);
                let data = data.into();
                let flipped = peer::SnapshotChunk {
                    data,
                    ..packed.clone()
                };
                // A bit of a packed chunk may not change its content.
                assert!(unpack(flipped).is_none_or(|raw| raw == text), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_whatever_it_says_of_its_size() {
        let bomb = lz4_flex::compress(&vec![0; 64 * CHUNK_BYTES_MAX]);
        let honest = u32::try_from(64 * CHUNK_BYTES_MAX).unwrap();
        for raw_bytes in [0, 1, 4096, 1024 * 1024, honest, u32::MAX] {
            let chunk = peer::SnapshotChunk {
                offset: 0,
                data: bomb.clone().into(),
                crc32c: 0,
                encoding: ChunkEncoding::Lz4.into(),
                raw_bytes,
            };
            assert_eq!(unpack(chunk), None, "{raw_bytes}");
        }
        let too_long = pack(0, noise(CHUNK_BYTES_MAX + 1), &[]);
        assert_eq!(unpack(too_long), None);
        let unknown = peer::SnapshotChunk {
            encoding: 99,
            ..pack(0, vec![1], &[])
        };
        assert_eq!(unpack(unknown), None);
        assert_eq!(
            unpack(pack(0, Vec::new(), &[])),
            None,
            "nothing is no chunk"
        );
    }
}
