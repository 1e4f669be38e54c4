//! Reads messages from a file or from stdin: one for each line, or one for all.
//!
//! Always true: of an input that is too long, no more than one message is kept in memory, and the
//! error names its size.

use std::io::{self, BufRead, Read};

use conclave_core::limits::TEXT_BYTES_MAX;

use crate::errors::{CommandError, EXIT_USAGE};

/// Maximum size up to which an input that is too long is counted, in bytes. Beyond it an error says
/// "more than".
const COUNTED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads everything as one message. The line break at its end does not belong to it. `source` is
/// the argument that named the input.
///
/// # Errors
/// If the input cannot be read, is not UTF-8, or is longer than a message may be.
pub(super) fn whole(source: &str, mut input: impl Read) -> Result<String, CommandError> {
    let cannot = |error: io::Error| {
        CommandError::new(
            EXIT_USAGE,
            format!("{source}: cannot read it: {error}"),
            "name a file of text that you may read",
        )
    };
    let mut bytes = Vec::new();
    // A message, its line break, and a byte that shows that it is too long.
    let mut part = input.by_ref().take(TEXT_BYTES_MAX as u64 + 3);
    part.read_to_end(&mut bytes).map_err(cannot)?;
    let read = bytes.len() as u64;
    cut_line_break(&mut bytes);
    if bytes.len() > TEXT_BYTES_MAX {
        let mut rest = input.take(COUNTED_BYTES_MAX);
        let rest = io::copy(&mut rest, &mut io::sink()).map_err(cannot)?;
        let more = if rest == COUNTED_BYTES_MAX {
            "more than "
        } else {
            ""
        };
        return Err(too_long(source, &format!("{more}{}", read + rest)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        CommandError::new(
            EXIT_USAGE,
            format!("{source}: it is not UTF-8 at byte {at}; nothing was sent"),
            "convert the text: iconv -t UTF-8",
        )
    })
}

/// Returns the error that a text of this size is too long for a message.
pub(super) fn too_long(source: &str, size: &str) -> CommandError {
    CommandError::new(
        EXIT_USAGE,
        format!(
            "{source}: it has {size} bytes, and a message at most {TEXT_BYTES_MAX}; nothing was \
             sent"
        ),
        "split it, or send each line as a message: conclave send TO - < FILE",
    )
}

fn cut_line_break(line: &mut Vec<u8>) {
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
}

/// Reads lines, each of at most the length of a message.
pub(super) struct Lines<R> {
    input: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, number: 0 }
    }

    /// Returns the next line that is not empty, with its number; `None` at the end. After an error
    /// the caller must not go on.
    pub(super) fn next_line(&mut self) -> Option<Result<(u64, String), CommandError>> {
        loop {
            self.number += 1;
            let mut line = Vec::new();
            // A message, its line break, and a byte that shows that it is too long.
            let mut part = self.input.by_ref().take(TEXT_BYTES_MAX as u64 + 3);
            match part.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(self.error(&error.to_string()))),
            }
            cut_line_break(&mut line);
            if line.is_empty() {
                continue;
            }
            if line.len() > TEXT_BYTES_MAX {
                return Some(Err(self.error("it is longer than 16 KiB")));
            }
            return Some(match String::from_utf8(line) {
                Ok(text) => Ok((self.number, text)),
                Err(_) => Err(self.error("it is not UTF-8")),
            });
        }
    }

    fn error(&self, what: &str) -> CommandError {
        CommandError::new(
            EXIT_USAGE,
            format!(
                "line {}: {what}; this and all following lines were not sent",
                self.number
            ),
            "convert the text (iconv -t UTF-8) or split the line, and send the rest",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Result<(u64, String), String>> {
        let mut lines = Lines::new(input);
        let mut seen = Vec::new();
        while let Some(line) = lines.next_line() {
            let last = line.is_err();
            seen.push(line.map_err(|error| error.to_string()));
            if last {
                break;
            }
        }
        seen
    }

    #[test]
    fn each_line_is_a_message_and_empty_lines_are_skipped() {
        let seen = lines(b"one\r\n\n  two \nthree");
        let expected = [(1, "one"), (3, "  two "), (4, "three")];
        let expected = expected.map(|(number, text)| Ok((number, text.to_owned())));
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_line_that_is_not_utf_8_is_named() {
        let seen = lines(b"good\n\xff\xfe\nmore\n");
        let error = "line 2: it is not UTF-8; this and all following lines were not sent";
        assert_eq!(seen, [Ok((1, "good".to_owned())), Err(error.to_owned())]);
    }

    #[test]
    fn a_line_may_be_as_long_as_a_message() {
        let longest = "x".repeat(TEXT_BYTES_MAX);
        for end in ["", "\n", "\r\n"] {
            let seen = lines(format!("{longest}{end}").as_bytes());
            assert_eq!(seen, [Ok((1, longest.clone()))], "{end:?}");
        }
        assert!(lines(format!("{longest}x\n").as_bytes())[0].is_err());
        assert!(lines(&b"x".repeat(10 * TEXT_BYTES_MAX))[0].is_err());
    }

    #[test]
    fn the_whole_input_is_one_message_without_its_last_line_break() {
        let read = |input: &[u8]| whole("x", input).map_err(|error| error.to_string());
        assert_eq!(read(b"a\n\nb\r\n"), Ok("a\n\nb".to_owned()));
        assert_eq!(read(b"\n"), Ok(String::new()));
        let longest = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(
            read(format!("{longest}\r\n").as_bytes()),
            Ok(longest.clone())
        );
        let told = read(format!("{longest}xyz").as_bytes()).unwrap_err();
        let sizes = "x: it has 16387 bytes, and a message at most 16384; nothing was sent";
        assert_eq!(told, sizes);
        let told = whole("x", io::repeat(b'x')).unwrap_err().to_string();
        assert!(told.contains("more than 67"), "{told}");
        let told = read(b"ab\xff").unwrap_err();
        assert_eq!(told, "x: it is not UTF-8 at byte 3; nothing was sent");
    }
}
