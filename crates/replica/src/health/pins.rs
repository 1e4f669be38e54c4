//! Digests of rows exactly as they are after a certain entry, for callers that asked before.
//!
//! The writer reads them itself, between two transactions: no more rows than some milliseconds
//! take, and it waits for no other reader.
//!
//! Always true: what is read at an index has that entry applied and no later one.

use std::io;

use conclave_storage::state::{self, RangeDigests, RowRange, State};
use tokio::sync::oneshot;

/// Requests that wait at once. At the bound another one is refused.
const WAITING_MAX: usize = 4;

/// Outcome of a request.
#[derive(Debug)]
pub enum RowsAt {
    /// The digests of the state after that entry.
    Read(RangeDigests),
    /// The node has applied more already.
    Passed {
        /// The last applied entry.
        applied: u64,
    },
}

pub(crate) type Done = oneshot::Sender<io::Result<RowsAt>>;

/// A request for the digests of ranges after one entry.
pub(crate) struct Request {
    pub(crate) index: u64,
    pub(crate) ranges: Vec<RowRange>,
    pub(crate) done: Done,
}

/// The requests that wait.
#[derive(Default)]
pub(crate) struct Pins {
    waiting: Vec<Request>,
}

impl Pins {
    /// Takes a request, and answers it at once if it need not wait.
    pub(crate) fn ask(&mut self, request: Request, applied: u64, state: &State) {
        self.waiting.retain(|waiting| !waiting.done.is_closed());
        if self.waiting.len() >= WAITING_MAX {
            let refused = io::Error::other("too many checks are waiting");
            let _ = request.done.send(Err(refused));
            return;
        }
        self.waiting.push(request);
        self.reached(applied, state);
    }

    /// Returns whether no request waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns how many of these entries may be applied before a caller wants to see the state.
    pub(crate) fn step(&self, entries: &[state::Entry]) -> usize {
        let wanted = |entry: &state::Entry| self.waiting.iter().any(|r| r.index == entry.id.index);
        let at = entries.iter().position(wanted);
        at.map_or(entries.len(), |at| at + 1)
    }

    /// Returns whether a caller wants to see the state after entry `applied`, or has missed it.
    pub(crate) fn want(&self, applied: u64) -> bool {
        self.waiting.iter().any(|request| request.index <= applied)
    }

    /// Notes that everything up to `applied` is in the database, and nothing more.
    pub(crate) fn reached(&mut self, applied: u64, state: &State) {
        for request in self
            .waiting
            .extract_if(.., |request| request.index <= applied)
        {
            if request.done.is_closed() {
                continue;
            }
            let answer = match request.index == applied {
                true => state
                    .digest_ranges(&request.ranges)
                    .map(RowsAt::Read)
                    .map_err(io::Error::other),
                false => Ok(RowsAt::Passed { applied }),
            };
            // The caller may have given up.
            let _ = request.done.send(answer);
        }
    }
}
