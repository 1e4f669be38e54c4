//! Reads JSON piece by piece: files of lines, and files that are one long array.
//!
//! Always true: a piece is bounded ([`PIECE_BYTES_MAX`]), and memory holds one at a time; what
//! cannot be read is an error with the file and the line.

use std::{
    cell::Cell,
    fmt,
    io::{self, BufRead, BufReader, Read},
    marker::PhantomData,
};

use serde::{
    Deserialize,
    de::{DeserializeOwned, SeqAccess, Visitor},
};

use crate::error::ImportError;

/// Longest line, or element of an array, in bytes: a message with as many reactions as a room can
/// give has 23 MB in an export of Conclave.
const PIECE_BYTES_MAX: u64 = 64 << 20;

/// What is done with a piece and its number, from 1.
pub(crate) type Each<'a, T> = &'a mut dyn FnMut(u64, T) -> Result<(), ImportError>;

/// Reads a file of JSON lines; empty ones are skipped.
pub(crate) fn lines<T: DeserializeOwned>(
    reader: impl Read,
    file: &str,
    each: Each<'_, T>,
) -> Result<(), ImportError> {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        number += 1;
        let read = (&mut reader)
            .take(PIECE_BYTES_MAX + 1)
            .read_until(b'\n', &mut line)
            .map_err(|source| unreadable(file, source))?;
        if read == 0 {
            return Ok(());
        }
        if read as u64 > PIECE_BYTES_MAX {
            return Err(ImportError::malformed(file, number, "the line is too long"));
        }
        // An editor of another system may have left a mark at the beginning.
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        if text.trim_ascii().is_empty() {
            continue;
        }
        let record = serde_json::from_slice(text)
            .map_err(|error| ImportError::malformed(file, number, why(&error)))?;
        each(number, record)?;
    }
}

/// Reads a file that is one array, element by element.
pub(crate) fn elements<T: DeserializeOwned>(
    reader: impl Read,
    file: &str,
    each: Each<'_, T>,
) -> Result<(), ImportError> {
    let left = Cell::new(PIECE_BYTES_MAX);
    let source = Metered {
        reader,
        left: &left,
    };
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(source));
    let mut failed = None;
    let elements = Elements {
        left: &left,
        each,
        failed: &mut failed,
        kind: PhantomData,
    };
    let read = serde::Deserializer::deserialize_seq(&mut json, elements).and_then(|()| json.end());
    match (failed, read) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) if error.is_io() => Err(unreadable(file, error.into())),
        (None, Err(error)) => {
            let line = error.line() as u64;
            Err(ImportError::malformed(file, line, why(&error)))
        }
    }
}

fn unreadable(file: &str, source: io::Error) -> ImportError {
    ImportError::Read {
        file: file.to_owned(),
        source,
    }
}

/// Returns what is wrong without the place in a piece, which is of no use for lines.
fn why(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A reader that fails when a piece becomes too long.
struct Metered<'a, R> {
    reader: R,
    left: &'a Cell<u64>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let left = self.left.get().checked_sub(read as u64);
        let too_long = || io::Error::new(io::ErrorKind::InvalidData, "an element is too long");
        self.left.set(left.ok_or_else(too_long)?);
        Ok(read)
    }
}

struct Elements<'a, 'e, T> {
    left: &'a Cell<u64>,
    each: Each<'e, T>,
    failed: &'a mut Option<ImportError>,
    kind: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<'_, '_, T> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let mut number = 0;
        loop {
            self.left.set(PIECE_BYTES_MAX);
            let Some(element) = array.next_element::<T>()? else {
                return Ok(());
            };
            number += 1;
            if let Err(error) = (self.each)(number, element) {
                *self.failed = Some(error);
                return Err(serde::de::Error::custom("stopped"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str, as_lines: bool) -> Result<Vec<(u64, u32)>, String> {
        let mut all = Vec::new();
        let mut each = |number, value| {
            all.push((number, value));
            Ok(())
        };
        let read = match as_lines {
            true => lines(text.as_bytes(), "f", &mut each),
            false => elements(text.as_bytes(), "f", &mut each),
        };
        read.map(|()| all).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_and_elements_are_numbered_from_one() {
        assert_eq!(numbers("\u{feff}7\n\n8", true), Ok(vec![(1, 7), (3, 8)]));
        assert_eq!(numbers("[7,\n 8]\n", false), Ok(vec![(1, 7), (2, 8)]));
        assert_eq!(numbers("", true), Ok(vec![]));
        assert_eq!(numbers("[]", false), Ok(vec![]));
    }

    #[test]
    fn what_cannot_be_read_names_the_file_and_the_line() {
        for (text, as_lines, line) in [
            ("1\n2\n3 4\n", true, "f, line 3: trailing characters"),
            ("1\n\"x\"\n", true, "f, line 2: invalid type"),
            ("[1,\n2,\n\"x\"]", false, "f, line 3: invalid type"),
            ("[1,\n2", false, "f, line 2: EOF"),
            (
                "{}",
                false,
                "f, line 1: invalid type: map, expected an array",
            ),
            ("[1] 2", false, "f, line 1: trailing characters"),
            ("", false, "f, line 1: EOF"),
        ] {
            let refused = numbers(text, as_lines).unwrap_err();
            assert!(refused.starts_with(line), "{text:?}: {refused}");
        }
    }

    #[test]
    fn a_piece_without_end_is_an_error_and_not_memory() {
        let endless = io::repeat(b'1');
        let refused = lines::<u32>(endless, "f", &mut |_, _| Ok(())).unwrap_err();
        assert!(refused.to_string().contains("too long"), "{refused}");
        let endless = b"[\"".chain(io::repeat(b'x'));
        let refused = elements::<String>(endless, "f", &mut |_, _| Ok(())).unwrap_err();
        assert!(matches!(refused, ImportError::Read { .. }), "{refused}");
    }
}
