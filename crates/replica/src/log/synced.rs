//! How far this node's own log is on disk.
//!
//! The engine hands an entry on as soon as it is committed and was given to the log. A majority of
//! the others is enough for that: the node's own disk may still have to write it.
//!
//! Always true: a task that waits here goes on with entries that a restart finds in the log. So a
//! log that ends before the state does has lost something, and is not merely the log of a node that
//! died.

use std::io;

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Index(u64),
    /// The disk has failed: nothing more will be on it.
    Failed,
}

/// How far the log is on disk; all clones know the same.
#[derive(Clone, Debug)]
pub(crate) struct Synced(watch::Sender<Reach>);

impl Synced {
    /// Begins where everything up to entry `index` was found on disk.
    pub(crate) fn new(index: u64) -> Self {
        Self(watch::Sender::new(Reach::Index(index)))
    }

    /// Notes that the log ends on disk with this entry; after a truncation that is less than
    /// before.
    pub(crate) fn ends(&self, index: u64) {
        self.0.send_replace(Reach::Index(index));
    }

    /// Notes that an append up to this entry is on disk. One after it may have completed before.
    pub(crate) fn grows_to(&self, index: u64) {
        self.0.send_if_modified(|reach| match reach {
            Reach::Index(known) if *known < index => {
                *known = index;
                true
            }
            Reach::Index(_) | Reach::Failed => false,
        });
    }

    /// Ends all waiting: the log has failed.
    pub(crate) fn failed(&self) {
        self.0.send_replace(Reach::Failed);
    }

    /// Waits until entry `index` is on disk. The disk has no deadline here: a node whose disk
    /// hangs acknowledges nothing, and the others do not wait for it.
    pub(crate) async fn reaches(&self, index: u64) -> io::Result<()> {
        let mut reach = self.0.subscribe();
        let enough = |reach: &Reach| match reach {
            Reach::Index(synced) => *synced >= index,
            Reach::Failed => true,
        };
        let reached = reach.wait_for(enough).await.map(|reach| *reach);
        match reached {
            Ok(Reach::Index(_)) => Ok(()),
            Ok(Reach::Failed) | Err(_) => Err(io::Error::other("the log was not written")),
        }
    }
}

#[cfg(test)]
#[path = "synced_tests.rs"]
mod tests;
