//! The note that an import has made this cluster, for its audit log.
//!
//! What an import builds has no cluster version, and so no audit log, before its first leader gives
//! it one: the import leaves a file in the data directory, and the node notes it then. The import
//! does not raise the version itself, because retention counts the age of the messages from that
//! moment, and the years since the last of them pass in log time when the first leader begins.
//!
//! Always true: the file stays until the log has the note; a node that dies in between makes a
//! second one.

use std::{io, path::Path, sync::Arc, time::Duration};

use conclave_core::AuditAct;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    context::{audit::ToNote, node_context::NodeContext},
    files::{checksummed, durable},
};

/// File in the data directory that says that an import has made the cluster.
const FILE: &str = "imported.json";
/// Pause between two attempts to note it.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// An import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImportNote {
    /// What was imported, in a few words.
    pub(super) detail: String,
}

/// Leaves the note in a data directory.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn leave(data: &Path, note: &ImportNote) -> io::Result<()> {
    checksummed::write(&data.join(FILE), note)
}

/// Notes the import that has made the cluster, if one has. Ends once the log has the note.
pub(crate) async fn note(shared: Arc<NodeContext>) {
    let file = shared.identity.directory().join(FILE);
    let found: ImportNote = match checksummed::read(&file) {
        Ok(Some(found)) => found,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(%error, "failed to read what was imported");
            return;
        }
    };
    let act = || ToNote {
        act: AuditAct::Import,
        target: "",
        detail: &found.detail,
        problem: None,
    };
    while !shared.note_own_act(act()).await {
        sleep(AGAIN_AFTER).await;
    }
    if let Err(error) = durable::remove(&file) {
        tracing::warn!(%error, "failed to remove the note of an import");
    }
}
