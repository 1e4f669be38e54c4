//! Damage: bytes on this node's disk that are not what was written there.
//!
//! It is not a full disk, a disk that fails, a directory in use, or a newer format: of those
//! nothing here is said, and another copy of the data would not help.

use conclave_storage::{
    log::{LogStore as _, SegmentLog},
    state::State,
};

use crate::StartError;

/// What is damaged, and how that shows. A node must not vote with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The log, in which the votes are.
    Log(String),
    /// The database.
    State(String),
}

impl StartError {
    /// The damage that keeps the replica from starting, if that is why.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        match self {
            Self::Log(error) if error.is_damage() => Some(Damage::Log(error.to_string())),
            Self::State(error) if error.is_damage() => {
                let cause = std::error::Error::source(error);
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                Some(Damage::State(format!("{error}{cause}")))
            }
            Self::StateTooOld { .. } => Some(Damage::State(self.to_string())),
            _ => None,
        }
    }
}

/// Whether log and state, each of which is sound, belong together.
pub(crate) fn check_pair(log: &SegmentLog, state: &State) -> Result<(), StartError> {
    let applied = state.applied().last.map_or(0, |last| last.index);
    if applied > 0 {
        log.verify_reaches(applied)?;
    }
    let purged = log.state().purged.map_or(0, |purged| purged.index);
    match applied < purged {
        true => Err(StartError::StateTooOld { applied, purged }),
        false => Ok(()),
    }
}
