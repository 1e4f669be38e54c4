//! Holds the state exactly where it was after a certain entry, for callers that asked before.
//!
//! Always true: what is pinned at an index has that entry applied and no later one.

use std::io;

use conclave_storage::state::{self, Pinned, Reader};
use tokio::sync::oneshot;

/// Requests that wait at once. At the bound another one is refused.
const WAITING_MAX: usize = 4;

/// Outcome of a request.
#[derive(Debug)]
pub enum Pin {
    /// The state after that entry.
    Pinned(Pinned),
    /// The node has applied more already.
    Passed {
        /// The last applied entry.
        applied: u64,
    },
}

type Done = oneshot::Sender<io::Result<Pin>>;

/// The requests that wait.
#[derive(Default)]
pub(crate) struct Pins {
    waiting: Vec<(u64, Done)>,
}

impl Pins {
    /// Takes a request, and answers it at once if it need not wait.
    pub(crate) fn ask(&mut self, index: u64, done: Done, applied: u64, reader: &Reader) {
        self.waiting.retain(|(_, done)| !done.is_closed());
        if self.waiting.len() >= WAITING_MAX {
            let _ = done.send(Err(io::Error::other("too many checks are waiting")));
            return;
        }
        self.waiting.push((index, done));
        self.reached(applied, reader);
    }

    /// Returns how many of these entries may be applied before a caller wants to see the state.
    pub(crate) fn step(&self, entries: &[state::Entry]) -> usize {
        let wanted =
            |entry: &state::Entry| self.waiting.iter().any(|(at, _)| *at == entry.id.index);
        let at = entries.iter().position(wanted);
        at.map_or(entries.len(), |at| at + 1)
    }

    /// Returns whether a caller wants to see the state after entry `applied`, or has missed it.
    pub(crate) fn want(&self, applied: u64) -> bool {
        self.waiting.iter().any(|(index, _)| *index <= applied)
    }

    /// Notes that everything up to `applied` is in the database, and nothing more.
    pub(crate) fn reached(&mut self, applied: u64, reader: &Reader) {
        for (index, done) in self.waiting.extract_if(.., |(index, _)| *index <= applied) {
            let answer = match index == applied {
                true => reader.pin().map(Pin::Pinned).map_err(io::Error::other),
                false => Ok(Pin::Passed { applied }),
            };
            // The caller may have given up.
            let _ = done.send(answer);
        }
    }
}
