//! Tests of the pieces of a snapshot: packed, unpacked and refused.

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
fn chunks_round_trip_and_noise_is_sent_uncompressed() {
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
fn any_flipped_bit_in_a_chunk_is_detected() {
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
fn a_decompression_bomb_is_refused_at_any_declared_size() {
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
