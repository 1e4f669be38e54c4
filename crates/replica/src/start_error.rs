//! Why a replica could not be started.

use std::io;

use conclave_storage::{DiskFailure, log, search::SearchError, state};

use crate::Damage;

/// A replica could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be opened. If it is damaged, the node must not vote with it: see
    /// `docs/operations.md`.
    #[error("the log cannot be opened")]
    Log(#[from] log::OpenError),
    /// The state cannot be opened.
    #[error("the state cannot be opened")]
    State {
        /// The cause.
        #[source]
        source: state::OpenError,
        /// Whether the log still has every entry since the first.
        log_has_all: bool,
    },
    /// The index of the full text search cannot be made.
    #[error("the search index cannot be opened")]
    Search(#[from] SearchError),
    /// The log begins after the end of the state: entries in between are nowhere.
    #[error("the state ends at entry {applied}, and the log begins after entry {purged}")]
    StateTooOld {
        /// The last entry of the state.
        applied: u64,
        /// The last entry that the log has forgotten.
        purged: u64,
    },
    /// Damage was found after log and state were opened.
    #[error("{0}")]
    Damaged(Damage),
    /// The disk failed after log and state were opened.
    #[error("the disk has failed")]
    Disk(#[source] DiskFailure),
    /// The node is not among the members.
    #[error("node {node} is not among the members of the cluster")]
    NotAMember {
        /// The node.
        node: u64,
    },
    /// A file or a thread could not be made.
    #[error("the replica cannot start")]
    Io(#[from] io::Error),
    /// The consensus engine refused to start.
    #[error("the consensus engine cannot start: {0}")]
    Engine(String),
}

impl StartError {
    /// Returns the damage that keeps the replica from starting, if that is why.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        match self {
            Self::Log(error) if error.is_damage() => Some(Damage::Log(error.to_string())),
            Self::State {
                source,
                log_has_all,
            } if source.is_damage() => {
                let cause = std::error::Error::source(source);
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                Some(Damage::State {
                    why: format!("{source}{cause}"),
                    log_has_all: *log_has_all,
                })
            }
            Self::Damaged(damage) => Some(damage.clone()),
            Self::StateTooOld { .. } => Some(Damage::State {
                why: self.to_string(),
                log_has_all: false,
            }),
            _ => None,
        }
    }

    /// Returns what an operator can do about a directory that another build has written and this
    /// one does not open; `None` if that is not the reason.
    #[must_use]
    pub fn version_hint(&self) -> Option<&'static str> {
        const LATER: &str = "nothing was changed: start the later build again; going back is \
            possible until its upgrade is finalized";
        const EARLIER: &str = "nothing was changed: start a release in between first, and finalize \
            the upgrade to it: conclave cluster upgrade finalize";
        let is_later = match self {
            Self::Log(log::OpenError::UnknownFormat {
                version, newest, ..
            }) => version > newest,
            Self::State { source, .. } => match source {
                state::OpenError::TooNew { .. } => true,
                state::OpenError::TooOld { .. } => false,
                state::OpenError::ClusterVersion { found, known } => *found > known.newest,
                _ => return None,
            },
            _ => return None,
        };
        Some(if is_later { LATER } else { EARLIER })
    }

    /// Returns what the disk refuses, if that is what keeps the replica from starting.
    #[must_use]
    pub fn disk_failure(&self) -> Option<DiskFailure> {
        match self.damage() {
            Some(_) => None,
            None => DiskFailure::in_causes(self),
        }
    }
}
