//! One block: up to 256 KiB of the database, packed, with a checksum that covers its place.
//!
//! ```text
//! length unpacked   4 bytes, 1 to 262 144; 0 marks the end of the blocks
//! length packed     4 bytes
//! encoding          1 byte: 0 as it is, 1 LZ4 (one block, without a frame)
//! CRC-32C           4 bytes: of the block's number (8 bytes, from 0), the fields, the content
//! content
//! ```
//!
//! Numbers begin with their lowest byte. Always true: unpacking takes no more memory than
//! [`BLOCK_BYTES`] twice, whatever was read.

/// Bytes of the database in one block: LZ4 looks back 64 KiB, so larger ones would not be smaller.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;
/// Bytes before the content of a block, the length unpacked included.
pub(super) const PREFIX_BYTES: usize = 13;

const AS_IT_IS: u8 = 0;
const LZ4: u8 = 1;

/// Packs a part of the database, which is not empty.
pub(super) fn pack(number: u64, raw: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::compress(raw);
    let (encoding, content) = match packed.len() < raw.len() {
        true => (LZ4, &packed[..]),
        false => (AS_IT_IS, raw),
    };
    let mut block = Vec::with_capacity(PREFIX_BYTES + content.len());
    block.extend(length(raw).to_le_bytes());
    block.extend(length(content).to_le_bytes());
    block.push(encoding);
    let checksum = checksum(number, &block, content);
    block.extend(checksum.to_le_bytes());
    block.extend(content);
    block
}

/// The fields before the content of a block.
pub(super) struct Prefix {
    raw_bytes: usize,
    content_bytes: usize,
    encoding: u8,
    /// The first nine bytes, which the checksum covers.
    covered: [u8; 9],
    checksum: u32,
}

impl Prefix {
    /// Reads the fields; `None` if no block has them.
    pub(super) fn read(bytes: &[u8; PREFIX_BYTES]) -> Option<Self> {
        let number = |at: usize| {
            let (four, _) = bytes[at..].split_first_chunk()?;
            Some(u32::from_le_bytes(*four))
        };
        let (covered, _) = bytes.split_first_chunk()?;
        let found = Self {
            raw_bytes: usize::try_from(number(0)?).ok()?,
            content_bytes: usize::try_from(number(4)?).ok()?,
            encoding: bytes[8],
            covered: *covered,
            checksum: number(9)?,
        };
        let is_possible = (1..=BLOCK_BYTES).contains(&found.raw_bytes)
            && match found.encoding {
                AS_IT_IS => found.content_bytes == found.raw_bytes,
                LZ4 => (1..found.raw_bytes).contains(&found.content_bytes),
                _ => false,
            };
        is_possible.then_some(found)
    }

    /// Returns the length of the content.
    pub(super) fn content_bytes(&self) -> usize {
        self.content_bytes
    }

    /// Verifies and unpacks the content into `raw`; returns whether it is what was packed.
    pub(super) fn unpack(&self, number: u64, content: &[u8], raw: &mut Vec<u8>) -> bool {
        if checksum(number, &self.covered, content) != self.checksum {
            return false;
        }
        raw.clear();
        if self.encoding == AS_IT_IS {
            raw.extend(content);
            return true;
        }
        raw.resize(self.raw_bytes, 0);
        lz4_flex::decompress_into(content, raw).is_ok_and(|bytes| bytes == self.raw_bytes)
    }
}

fn checksum(number: u64, fields: &[u8], content: &[u8]) -> u32 {
    let checksum = crc32c::crc32c(&number.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(checksum, fields), content)
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a block is small")
}
