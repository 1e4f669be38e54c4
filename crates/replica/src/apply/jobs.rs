//! What the thread that owns the database is asked to do.

use std::io;

use conclave_storage::state::{self, VerifiedSnapshot};
use openraft::{EntryPayload, storage::ApplyResponder};
use tokio::sync::oneshot;

use crate::{
    convert::{Entry, TypeConfig},
    health::pins::Request,
};

pub(super) type Responder = Option<ApplyResponder<TypeConfig>>;
pub(super) type Done<T> = oneshot::Sender<io::Result<T>>;

/// One request.
pub(super) enum Job {
    /// Decides and answers entries.
    Apply {
        entries: Vec<(Entry, Responder)>,
        done: Done<()>,
    },
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
    /// A reader waits for what is decided.
    Wanted,
    /// Ends the thread.
    Stop,
}

/// Returns the bytes of an entry's commands; other entries are small.
pub(super) fn bytes_of(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(commands) => commands.bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}
