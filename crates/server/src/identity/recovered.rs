//! Whether this node recovers the cluster by itself, and whether it has.
//!
//! Always true: a recovery that the node has carried out by itself is told until another machine
//! votes again, also after restarts.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use conclave_wire::v1::{NodeRecovery, RecoveryMode};
use serde::{Deserialize, Serialize};

use crate::files::checksummed;

/// File in the data directory that says that the node has recovered the cluster by itself.
const FILE: &str = "recovered.json";

/// A recovery that a node has carried out by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recovered {
    /// Date by this machine's clock, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// Whether a command has proven that the others were off.
    pub(crate) proven: bool,
    /// Members whose data was given up.
    pub(crate) given_up: Vec<u64>,
}

/// See the head of this file.
pub(crate) struct RecoveryState {
    mode: RecoveryMode,
    recovered: Option<Recovered>,
    ready: AtomicBool,
}

impl RecoveryState {
    /// Reads what an earlier run has noted in the directory. A file that cannot be read says
    /// nothing.
    pub(crate) fn open(data: &Path, mode: RecoveryMode) -> Self {
        let recovered = checksummed::read(&data.join(FILE)).unwrap_or_else(|error| {
            tracing::warn!(%error, "failed to read whether this node has recovered the cluster");
            None
        });
        if let Some(Recovered { proven, .. }) = &recovered {
            tracing::warn!(proven, "this node has recovered the cluster by itself");
        }
        Self {
            mode,
            recovered,
            ready: AtomicBool::new(false),
        }
    }

    /// Returns the setting.
    pub(crate) fn mode(&self) -> RecoveryMode {
        self.mode
    }

    /// Returns whether the node has recovered the cluster by itself.
    pub(crate) fn has_recovered(&self) -> bool {
        self.recovered.is_some()
    }

    /// Notes whether the node would recover the cluster if the other voter were lost now.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Returns what the status of the node says.
    pub(crate) fn to_wire(&self) -> NodeRecovery {
        let recovered = self.recovered.clone();
        NodeRecovery {
            mode: self.mode.into(),
            recovered_by: match &recovered {
                None => RecoveryMode::Unspecified,
                Some(Recovered { proven: true, .. }) => RecoveryMode::Fenced,
                Some(Recovered { proven: false, .. }) => RecoveryMode::Assumed,
            }
            .into(),
            recovered_at_ms: recovered.as_ref().map_or(0, |recovered| recovered.at_ms),
            given_up_node_ids: recovered.map_or_else(Vec::new, |recovered| recovered.given_up),
            ready: self.ready.load(Ordering::Relaxed),
        }
    }
}

/// Notes that the node of this directory has recovered the cluster by itself.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn note(data: &Path, recovered: &Recovered) -> io::Result<()> {
    checksummed::write(&data.join(FILE), recovered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_is_told_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let fresh = RecoveryState::open(directory.path(), RecoveryMode::Unspecified);
        assert!(!fresh.has_recovered());
        let recovered = Recovered {
            at_ms: 7,
            proven: true,
            given_up: vec![1, 3],
        };
        note(directory.path(), &recovered).unwrap();
        let told = RecoveryState::open(directory.path(), RecoveryMode::Fenced);
        assert!(told.has_recovered());
        let told = told.to_wire();
        assert_eq!(told.recovered_by(), RecoveryMode::Fenced);
        assert_eq!(
            (told.recovered_at_ms, told.given_up_node_ids),
            (7, vec![1, 3])
        );
    }
}
