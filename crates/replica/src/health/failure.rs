//! Watches a running replica, and says why it must stop.
//!
//! Always true: what the disk refuses is reported as a [`DiskFailure`], and never as damage; a
//! replica that is well or was stopped in order has no failure.

use std::time::Duration;

use conclave_storage::DiskFailure;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::task::spawn_blocking;

use crate::{Replica, health::damage::disk_failure};

/// How long a replica that has stopped looks for the cause in its database.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// Pause between two looks whether a promise was broken.
const FAILED_POLL: Duration = Duration::from_millis(100);

impl Replica {
    /// Returns what the disk has refused since the start, if anything. [`Replica::failed`] ends
    /// then: the node must stop, and must leave its data as it is.
    #[must_use]
    pub fn disk_failure(&self) -> Option<DiskFailure> {
        disk_failure(&self.inner.log, &self.inner.reader)
    }

    /// Ends when a promise is broken, with the reason: the process must stop. Never ends on a
    /// replica that is well or was stopped in order.
    pub async fn failed(&self) -> String {
        // Not by waiting for a change: the metrics change with every entry.
        let metrics = self.inner.raft.metrics();
        loop {
            tokio::time::sleep(FAILED_POLL).await;
            let damage = self.damage().map(|damage| damage.to_string());
            if let Some(failure) = self.disk_failure().filter(|_| damage.is_none()) {
                tracing::error!(error = %failure, "the disk has failed");
                return failure.why;
            }
            if let Some(why) = damage.or_else(|| self.inner.reader.failure()) {
                tracing::error!(error = %why, "an invariant is broken");
                return why;
            }
            let broken = match &metrics.borrow_watched().running_state {
                Err(openraft::errors::Fatal::Stopped) | Ok(()) => None,
                Err(fatal) => Some((first_cause(fatal), fatal.to_string())),
            };
            if let Some((why, in_full)) = broken {
                if let Some(failure) = self.disk_failure() {
                    tracing::error!(error = %failure, "the disk has failed");
                    return failure.why;
                }
                tracing::error!(error = %in_full, "an invariant is broken");
                self.look_for_damage().await;
                return why;
            }
        }
    }

    /// Has the database checked, because whatever has failed may have failed for its damage.
    async fn look_for_damage(&self) {
        if self.damage().is_some() || self.inner.reader.failure().is_some() {
            return;
        }
        let reader = self.inner.reader.clone();
        let looking = spawn_blocking(move || reader.pin().map(|pinned| pinned.check_file()));
        match tokio::time::timeout(LOOK_LIMIT, looking).await {
            Ok(Ok(Ok(Err(error)))) => tracing::error!(%error, "the database check found errors"),
            Ok(_) => {}
            Err(_) => tracing::warn!("failed to finish the database check in time"),
        }
    }
}

/// Returns the innermost cause of an error, which is what an operator can do something about.
fn first_cause(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}
