//! What the thread that owns the database is asked to do.

use std::io;

use conclave_storage::state::{self, VerifiedSnapshot};
use openraft::{EntryPayload, storage::ApplyResponder};
use tokio::sync::oneshot;

use crate::{
    Codec,
    convert::{Entry, TypeConfig, log_id_out, members_out},
    health::pins::Request,
};

pub(super) type Responder = Option<ApplyResponder<TypeConfig>>;
pub(super) type Done<T> = oneshot::Sender<io::Result<T>>;

/// One request.
pub(super) enum Job {
    /// Decides and answers entries.
    Apply { entries: Undecided, done: Done<()> },
    /// Returns the entry up to which everything is synced, or `None` if a reader was in the way.
    Checkpoint { done: Done<Option<state::Applied>> },
    /// Replaces the state by a snapshot.
    Install {
        file: VerifiedSnapshot,
        done: Done<()>,
    },
    /// Returns how far the state has come.
    Applied { done: Done<state::Applied> },
    /// Returns digests of rows as they are after an entry.
    RowsAt(Request),
    /// A reader waits for what is decided, or something was decided on another thread.
    Wanted,
    /// Ends the thread.
    Stop,
}

/// Committed entries, decoded, and those that wait for their answers.
pub(super) struct Undecided {
    pub(super) entries: Vec<state::Entry>,
    /// One for each entry.
    pub(super) responders: Vec<Responder>,
    /// Bytes of all commands.
    pub(super) bytes: usize,
}

impl Undecided {
    /// Decodes entries.
    ///
    /// # Errors
    /// If a node of another version wrote what this one cannot read.
    pub(super) fn of(entries: Vec<(Entry, Responder)>, codec: &dyn Codec) -> io::Result<Self> {
        let bytes = entries.iter().map(|(entry, _)| bytes_of(entry)).sum();
        let mut decoded = Vec::with_capacity(entries.len());
        let mut responders = Vec::with_capacity(entries.len());
        for (entry, responder) in entries {
            decoded.push(decode(entry, codec)?);
            responders.push(responder);
        }
        Ok(Self {
            entries: decoded,
            responders,
            bytes,
        })
    }

    /// Returns the number of commands.
    pub(super) fn commands(&self) -> usize {
        let commands = |entry: &state::Entry| match &entry.payload {
            state::Payload::Commands(batch) => batch.commands.len(),
            state::Payload::Blank | state::Payload::Membership { .. } => 0,
        };
        self.entries.iter().map(commands).sum()
    }
}

fn decode(entry: Entry, codec: &dyn Codec) -> io::Result<state::Entry> {
    let id = log_id_out(&entry.log_id);
    let payload = match entry.payload {
        EntryPayload::Blank => state::Payload::Blank,
        EntryPayload::Normal(commands) => {
            if let Some(trace) = &commands.trace {
                trace.committed();
            }
            state::Payload::Commands(commands.decode(codec).map_err(io::Error::other)?)
        }
        EntryPayload::Membership(membership) => state::Payload::Membership {
            bytes: codec.encode_members(&members_out(&membership)),
            nodes: membership.nodes().map(|(node, _)| *node).collect(),
        },
    };
    Ok(state::Entry { id, payload })
}

/// Returns the bytes of an entry's commands; other entries are small.
pub(super) fn bytes_of(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(commands) => commands.bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}
