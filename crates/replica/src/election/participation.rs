//! Whether a replica takes part in its cluster.
//!
//! A replica that waits to be admitted has its log and its state open and answers reads, but it
//! neither votes, nor campaigns, nor takes entries: its data may be older than what it has
//! acknowledged, and only the other members can know that.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::PeerError;

/// Whether a replica takes part.
#[derive(Debug)]
pub(crate) struct Participation {
    admitted: AtomicBool,
}

impl Participation {
    pub(crate) fn new(admitted: bool) -> Self {
        Self {
            admitted: AtomicBool::new(admitted),
        }
    }

    /// Refuses to take part before the replica was admitted.
    pub(crate) fn check(&self) -> Result<(), PeerError> {
        match self.admitted.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(PeerError::Failed(
                "this node waits until its peers have confirmed its data".to_owned(),
            )),
        }
    }

    /// Notes that the replica was admitted.
    pub(crate) fn admit(&self) {
        self.admitted.store(true, Ordering::Release);
    }
}
