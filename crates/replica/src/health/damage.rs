//! Damage: bytes on this node's disk that are not what was written there.
//!
//! It is not a full disk, a directory in use, or a newer format, nor a disk that does not read,
//! write or sync: of those another copy of the data would not help. What the disk refuses is
//! reported as a [`DiskFailure`], and never as damage.

use conclave_storage::{
    DiskFailure,
    log::{LogStore as _, SegmentLog},
    state::Reader,
};

/// The damaged part, and how the damage shows. A node must not vote with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The log, in which the votes are.
    Log(String),
    /// The database.
    State {
        /// How the damage shows.
        why: String,
        /// Whether the log is sound and still has every entry since the first, so that the
        /// database can be made again from it.
        log_has_all: bool,
    },
    /// The state differs from that of a majority after the same entry.
    Diverged(String),
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(why) | Self::State { why, .. } | Self::Diverged(why) => f.write_str(why),
        }
    }
}

/// Returns what was found to be damaged since log and state were opened.
pub(crate) fn found(log: &SegmentLog, reader: &Reader) -> Option<Damage> {
    let of_state = || {
        let why = reader.damage()?;
        let log_has_all = log_has_all(log);
        Some(Damage::State { why, log_has_all })
    };
    log.damage().map(Damage::Log).or_else(of_state)
}

/// Returns what the disk has refused since log and state were opened.
pub(crate) fn disk_failure(log: &SegmentLog, reader: &Reader) -> Option<DiskFailure> {
    log.disk_failure().or_else(|| reader.disk_failure())
}

/// Returns whether the log, which is sound, still has every entry since the first.
pub(crate) fn log_has_all(log: &SegmentLog) -> bool {
    // The first entry of a cluster has the index 0.
    let first = log.read(0..1, usize::MAX);
    log.state().purged.is_none() && first.is_ok_and(|entries| !entries.is_empty())
}
