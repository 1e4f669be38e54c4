//! Looks again at what is on this node's disk, while it is used.

use std::time::Duration;

use conclave_storage::{
    log::{OpenError, Verified},
    state::RowRange,
};

use crate::{Damage, ReadError, Replica, RowsAt, health::damage::found};

impl Replica {
    /// Returns the digests of these ranges exactly as they are after entry `index`, as soon as that
    /// is applied.
    ///
    /// # Errors
    /// [`ReadError::Behind`] when `limit` has passed; [`ReadError::Stopping`] also if too many
    /// ask at once. Asking again is always safe.
    pub async fn rows_at(
        &self,
        index: u64,
        ranges: Vec<RowRange>,
        limit: Duration,
    ) -> Result<RowsAt, ReadError> {
        let asked = self.inner.machine.rows_at(index, ranges);
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                tracing::debug!(%error, "failed to read the rows after an entry");
                Err(ReadError::Stopping)
            }
            Err(_) => Err(ReadError::Behind { waited: limit }),
        }
    }

    /// Reads the whole log again and checks it; `pause` is called between two of its files and
    /// says whether to go on. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Damaged`]: then [`Replica::failed`] ends, too.
    pub fn verify_log(&self, pause: impl FnMut() -> bool) -> Result<Verified, OpenError> {
        self.inner.log.verify(pause)
    }

    /// Returns what was found to be damaged since the start, if anything. [`Replica::failed`] ends
    /// then: the node must stop and must not vote with this directory again.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        let diverged = || self.inner.diverged.get().cloned().map(Damage::Diverged);
        found(&self.inner.log, &self.inner.reader).or_else(diverged)
    }

    /// Takes no part any more: `why` says how the state differs from that of a majority. Neither
    /// votes nor entries are taken after this returns; [`Replica::failed`] ends.
    pub fn fence(&self, why: &str) {
        // Only the first reason is reported.
        let _ = self.inner.diverged.set(why.to_owned());
        self.inner.log.fence(why);
    }
}
