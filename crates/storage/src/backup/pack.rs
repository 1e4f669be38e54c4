//! Makes the bytes of a backup from a snapshot's file, one piece after the other.
//!
//! It writes nothing itself: a node sends the pieces to a caller, or into a file.

use std::io::{self, Read};

use blake3::Hasher;

use super::{
    block::{self, BLOCK_BYTES},
    head::Head,
};

/// Gives the pieces of a backup in their order: the head, the blocks, the end. Each has at most
/// 257 KiB. After an error there are no more.
pub struct Packer<R> {
    source: R,
    hasher: Hasher,
    next: Next,
    /// Bytes of the database that the head has announced and that are not packed yet.
    left: u64,
}

enum Next {
    Head(Vec<u8>),
    Block(u64),
    /// Nothing: everything was given.
    End,
    /// Nothing: the database could not be read.
    Failed,
}

impl<R: Read> Packer<R> {
    /// Packs the database that `source` returns, from its first byte on.
    pub fn new(head: &Head, source: R) -> Self {
        let mut bytes = head.to_text().into_bytes();
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend(checksum.to_le_bytes());
        Self {
            source,
            hasher: Hasher::new(),
            next: Next::Head(bytes),
            left: head.bytes,
        }
    }

    /// Returns how many bytes of the database are not packed yet.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Returns whether the last piece was given, and no error.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.next, Next::End)
    }

    fn block(&mut self, number: u64) -> io::Result<Vec<u8>> {
        let bytes = usize::try_from(self.left).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
        let mut raw = vec![0; bytes];
        self.source.read_exact(&mut raw)?;
        self.left -= raw.len() as u64;
        Ok(block::pack(number, &raw))
    }
}

impl<R: Read> Iterator for Packer<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = match std::mem::replace(&mut self.next, Next::Failed) {
            over @ (Next::End | Next::Failed) => {
                self.next = over;
                return None;
            }
            Next::Head(bytes) => {
                self.next = Next::Block(0);
                bytes
            }
            Next::Block(number) if self.left > 0 => match self.block(number) {
                Ok(block) => {
                    self.next = Next::Block(number + 1);
                    block
                }
                Err(error) => return Some(Err(error)),
            },
            Next::Block(_) => {
                let mut end = 0_u32.to_le_bytes().to_vec();
                self.hasher.update(&end);
                end.extend(self.hasher.finalize().as_bytes());
                self.next = Next::End;
                return Some(Ok(end));
            }
        };
        self.hasher.update(&piece);
        Some(Ok(piece))
    }
}
