//! Reads a backup from its first byte to its last, and verifies everything on the way.
//!
//! Always true: memory is bounded whatever is read; nothing that is not verified leaves here.

use std::io::{self, BufReader, Read};

use blake3::Hasher;

use super::{
    block::{PREFIX_BYTES, Prefix},
    head::{FORMAT_VERSION, HEAD_BYTES_MAX, Head},
};

/// Bytes of the first line that are read before it is known to be one of a backup.
const FIRST_LINE_BYTES_MAX: usize = 32;
/// Bytes that are read ahead: about one block.
const READ_AHEAD_BYTES: usize = 256 * 1024;
/// Bytes of a block's first field.
const LENGTH_BYTES: usize = 4;

/// A backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The file cannot be read.
    #[error("the backup cannot be read")]
    Read(#[source] io::Error),
    /// It does not begin as a backup does.
    #[error("this is not a backup of Conclave")]
    NotABackup,
    /// A program of another version wrote it.
    #[error("the backup has format {found}; this program reads format {FORMAT_VERSION}")]
    Version {
        /// Version of the file.
        found: u32,
    },
    /// It is not what was written.
    #[error("the backup is damaged near byte {at}: {why}")]
    Damaged {
        /// Number of bytes that were read when the damage showed.
        at: u64,
        /// How it shows.
        why: &'static str,
    },
}

/// Gives the blocks of a backup. Only a backup that was read to its end is known to be whole.
pub struct Unpacker<R> {
    source: BufReader<R>,
    hasher: Hasher,
    head: Head,
    /// Number of the next block.
    number: u64,
    /// Bytes of the file so far.
    at: u64,
    /// Bytes of the database so far.
    unpacked: u64,
    content: Vec<u8>,
    raw: Vec<u8>,
    is_over: bool,
}

impl<R: Read> Unpacker<R> {
    /// Reads and verifies the head.
    ///
    /// # Errors
    /// See [`UnpackError`].
    pub fn open(source: R) -> Result<Self, UnpackError> {
        let mut source = BufReader::with_capacity(READ_AHEAD_BYTES, source);
        let mut bytes = Vec::new();
        let first = read_line(&mut source, &mut bytes, FIRST_LINE_BYTES_MAX)?;
        let version = first.as_deref().and_then(Head::version_in);
        match version {
            Some(FORMAT_VERSION) => {}
            Some(found) => return Err(UnpackError::Version { found }),
            None => return Err(UnpackError::NotABackup),
        }
        let begin = bytes.len();
        loop {
            let line = read_line(&mut source, &mut bytes, HEAD_BYTES_MAX)?;
            match line.as_deref() {
                Some("") => break,
                Some(_) => {}
                None => return Err(damaged(bytes.len() as u64, "its head has no end")),
            }
        }
        let mut checksum = [0; 4];
        let at = bytes.len() as u64;
        fill(&mut source, &mut checksum, at)?;
        if crc32c::crc32c(&bytes) != u32::from_le_bytes(checksum) {
            return Err(damaged(at, "its head does not match the checksum"));
        }
        let lines = std::str::from_utf8(&bytes[begin..bytes.len() - 1]).ok();
        let head = lines.and_then(Head::from_lines);
        let head = head.ok_or_else(|| damaged(at, "its head lacks a line"))?;
        let mut hasher = Hasher::new();
        hasher.update(&bytes).update(&checksum);
        Ok(Self {
            source,
            hasher,
            head,
            number: 0,
            at: at + checksum.len() as u64,
            unpacked: 0,
            content: Vec::new(),
            raw: Vec::new(),
            is_over: false,
        })
    }

    /// Returns what the backup says of itself.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Returns how many bytes of the database were given so far.
    pub fn unpacked(&self) -> u64 {
        self.unpacked
    }

    /// Returns the next part of the database; `None` after the last one, once the end is verified
    /// as well.
    ///
    /// # Errors
    /// See [`UnpackError`]. The backup must not be used then.
    pub fn next_block(&mut self) -> Result<Option<&[u8]>, UnpackError> {
        if self.is_over {
            return Ok(None);
        }
        let mut prefix = [0; PREFIX_BYTES];
        let (length, rest) = prefix.split_at_mut(LENGTH_BYTES);
        fill(&mut self.source, length, self.at)?;
        if length.iter().all(|byte| *byte == 0) {
            self.hasher.update(length);
            self.at += LENGTH_BYTES as u64;
            self.verify_end()?;
            self.is_over = true;
            return Ok(None);
        }
        fill(&mut self.source, rest, self.at)?;
        let fields = Prefix::read(&prefix);
        let fields = fields.ok_or_else(|| damaged(self.at, "a block is impossible"))?;
        self.content.resize(fields.content_bytes(), 0);
        fill(&mut self.source, &mut self.content, self.at)?;
        if !fields.unpack(self.number, &self.content, &mut self.raw) {
            return Err(damaged(self.at, "a block does not match its checksum"));
        }
        self.hasher.update(&prefix).update(&self.content);
        self.at += (prefix.len() + self.content.len()) as u64;
        self.number += 1;
        self.unpacked += self.raw.len() as u64;
        match self.unpacked > self.head.bytes {
            true => Err(damaged(self.at, "it is longer than its head says")),
            false => Ok(Some(&self.raw)),
        }
    }

    fn verify_end(&mut self) -> Result<(), UnpackError> {
        if self.unpacked != self.head.bytes {
            return Err(damaged(self.at, "it is shorter than its head says"));
        }
        let mut told = [0; 32];
        fill(&mut self.source, &mut told, self.at)?;
        if *self.hasher.finalize().as_bytes() != told {
            return Err(damaged(self.at, "the whole does not match its digest"));
        }
        self.at += told.len() as u64;
        match read_some(&mut self.source, &mut [0])? {
            0 => Ok(()),
            _ => Err(damaged(self.at, "there is more after its end")),
        }
    }
}

fn damaged(at: u64, why: &'static str) -> UnpackError {
    UnpackError::Damaged { at, why }
}

/// Reads exactly this many bytes.
fn fill(source: &mut impl Read, bytes: &mut [u8], at: u64) -> Result<(), UnpackError> {
    source
        .read_exact(bytes)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(at, "it ends too early"),
            _ => UnpackError::Read(error),
        })
}

fn read_some(source: &mut impl Read, bytes: &mut [u8]) -> Result<usize, UnpackError> {
    loop {
        match source.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(UnpackError::Read(error)),
            Ok(read) => return Ok(read),
        }
    }
}

/// Appends a line with its end to `all`, of at most `all_max` bytes then; returns it without the
/// end, or `None` if there is no such line.
fn read_line(
    source: &mut impl Read,
    all: &mut Vec<u8>,
    all_max: usize,
) -> Result<Option<String>, UnpackError> {
    let begin = all.len();
    let mut byte = [0];
    while all.len() < all_max {
        if read_some(source, &mut byte)? == 0 {
            return Ok(None);
        }
        all.extend(byte);
        if byte == *b"\n" {
            let line = all[begin..all.len() - 1].to_vec();
            return Ok(String::from_utf8(line).ok());
        }
    }
    Ok(None)
}
