//! The record of one run, in memory and as JSON lines.
//!
//! A line is an event, or `{"note": "…"}`, which is skipped, or blank. Lines and their number
//! are bounded: a longer file is refused with the number of the line, never half read.

use std::io::{self, BufRead, Read, Write};

use serde::Deserialize;

use crate::Event;

/// Events in one history: about a gigabyte in memory, and an hour of a busy cluster.
pub const EVENTS_MAX: usize = 4_000_000;

/// Bytes in one line: one line holds the full reading of about a million messages.
pub const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The record of one run, in the order in which it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    events: Vec<Event>,
}

/// The reason why a file is not a history. Nothing of it was taken.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes could not be read.
    #[error("line {line} could not be read")]
    Io {
        /// The line, counted from 1.
        line: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line is neither an event nor a note.
    #[error("line {line} is not an event")]
    NotAnEvent {
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A line is longer than [`LINE_BYTES_MAX`].
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong {
        /// The line, counted from 1.
        line: u64,
    },
    /// There are more than [`EVENTS_MAX`] events.
    #[error("line {line} is one event more than the {EVENTS_MAX} that one history may have")]
    TooManyEvents {
        /// The line, counted from 1.
        line: u64,
    },
}

/// A sentence for the reader of the file; the judge does not look at it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    #[serde(rename = "note")]
    _text: String,
}

impl History {
    /// Adds an event at the end.
    pub fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Returns the events, in the order in which they were written.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Reads a whole file of JSON lines.
    pub fn read_json_lines(mut reader: impl BufRead) -> Result<Self, ReadError> {
        let mut history = Self::default();
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            let length = (&mut reader)
                .take(LINE_BYTES_MAX as u64 + 1)
                .read_until(b'\n', &mut bytes)
                .map_err(|source| ReadError::Io { line, source })?;
            if length == 0 {
                break;
            }
            let text = bytes.trim_ascii_end();
            if text.len() > LINE_BYTES_MAX {
                return Err(ReadError::LineTooLong { line });
            }
            if text.is_empty() || serde_json::from_slice::<Note>(text).is_ok() {
                continue;
            }
            if history.events.len() == EVENTS_MAX {
                return Err(ReadError::TooManyEvents { line });
            }
            let event = serde_json::from_slice(text)
                .map_err(|source| ReadError::NotAnEvent { line, source })?;
            history.events.push(event);
        }
        Ok(history)
    }

    /// Writes all events, one line each.
    pub fn write_json_lines(&self, mut writer: impl Write) -> io::Result<()> {
        for event in &self.events {
            event.write_json_line(&mut writer)?;
        }
        Ok(())
    }
}

impl Event {
    /// Writes the event as one line.
    pub fn write_json_line(&self, mut writer: impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut writer, self).map_err(io::Error::from)?;
        writer.write_all(b"\n")
    }
}

impl From<Vec<Event>> for History {
    fn from(events: Vec<Event>) -> Self {
        Self { events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_event_is_named() {
        let text = "{\"note\":\"fine\"}\n\n{\"at_us\":1,\"kind\":\"rumour\"}\n";
        let error = History::read_json_lines(text.as_bytes()).expect_err("it is refused");
        assert!(
            matches!(error, ReadError::NotAnEvent { line: 3, .. }),
            "{error}"
        );
    }

    #[test]
    fn an_endless_line_is_refused() {
        let endless = io::BufReader::new(io::repeat(b'x'));
        let error = History::read_json_lines(endless).expect_err("it is refused");
        assert!(
            matches!(error, ReadError::LineTooLong { line: 1 }),
            "{error}"
        );
    }
}
