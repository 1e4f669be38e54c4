//! What a witness may lose of its log: nothing that a full member may still need.

use crate::{PeerError, Replica};

impl Replica {
    /// Refuses, on a witness, a snapshot that ends with entry `last`, if a full member may lack
    /// some of it: the log before it goes, and may be what that member needs. A witness without a
    /// log has nothing to lose, and gets its vote only when all full members have what it began
    /// with.
    ///
    /// # Errors
    /// [`PeerError::Failed`]: ask again later.
    pub fn may_install(&self, last: u64) -> Result<(), PeerError> {
        let all = self.inner.full.have_all();
        match last <= all || self.status().log_index_last == 0 {
            true => Ok(()),
            false => Err(PeerError::Failed(format!(
                "not every full member is known to have entry {last}: {all} is the last one"
            ))),
        }
    }

    /// Tells a witness how far every full member has applied the log, `index` itself included: what
    /// comes after that it keeps. Does nothing on a full node.
    pub fn full_members_have(&self, index: u64) {
        self.inner.full.set(index);
    }
}
