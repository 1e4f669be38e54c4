//! How much time has passed and which date it is: what a leader stamps its entries with.
//!
//! Log time goes on by the time that passes on this machine, which no setting of a clock changes,
//! from what the log said last. Dates are the median of the clocks of the voters, which every node
//! reads once a second. Only a node that has just started takes from the clocks how much time has
//! passed while it was down.
//!
//! Always true: no clock of a minority moves log time or dates; no proposal waits
//! longer than [`AGREE_LIMIT`], once.

mod clock_state;
pub(crate) mod rounds;
mod status;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use conclave_core::{Batch, Command, Now, Timestamp};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use self::clock_state::{ClockState, millis};
use crate::{Codec, convert::Commands};

pub use self::status::{CLOCK_SKEW_MAX_MS, ClockStatus};

/// How long a leader that has just started waits for the clocks of a majority. Afterwards it goes
/// on from what the log says: acknowledging does not depend on clocks.
const AGREE_LIMIT: Duration = Duration::from_millis(500);

/// A node's knowledge of time; all clones are the same.
#[derive(Clone)]
pub(crate) struct Clocks(Arc<Inner>);

struct Inner {
    node: u64,
    own: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// The time of this machine is counted from here on.
    started: Instant,
    known: Mutex<ClockState>,
    /// Whether no task needs to wait any more for what a majority says.
    agreed: watch::Sender<bool>,
}

impl Clocks {
    /// Creates the clocks of a node whose state has `applied` as its last times.
    pub(crate) fn new(
        node: u64,
        own: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        applied: Now,
    ) -> Self {
        Self(Arc::new(Inner {
            node,
            own,
            started: Instant::now(),
            known: Mutex::new(ClockState::new(applied)),
            agreed: watch::Sender::new(false),
        }))
    }

    /// Returns the time of this node's own clock.
    pub(crate) fn own(&self) -> Timestamp {
        (self.0.own)()
    }

    /// Returns the times now, as far as this node knows.
    pub(crate) fn now(&self) -> Now {
        let elapsed = self.elapsed();
        self.known().now(elapsed)
    }

    /// Makes an entry of commands that this node proposes now.
    pub(crate) async fn entry(&self, commands: Vec<Command>, codec: &dyn Codec) -> Commands {
        let now = self.stamp().await;
        let batch = Batch {
            proposed_at: now.log_time,
            date: now.date,
            commands,
        };
        Commands::of(batch, codec)
    }

    /// Returns the times of an entry that this node proposes now.
    async fn stamp(&self) -> Now {
        if !*self.0.agreed.borrow() {
            let mut agreed = self.0.agreed.subscribe();
            let _ = timeout(AGREE_LIMIT, agreed.wait_for(|agreed| *agreed)).await;
            self.0.agreed.send_replace(true);
        }
        let (elapsed, own) = (self.elapsed(), self.own());
        self.known().stamp(elapsed, own)
    }

    /// Takes note of the times of the state after a transaction.
    pub(crate) fn applied(&self, now: Now) {
        let elapsed = self.elapsed();
        self.known().applied(now, elapsed);
    }

    /// Returns the state of this node's own clock.
    pub(crate) fn status(&self) -> ClockStatus {
        self.known().status()
    }

    fn elapsed(&self) -> i64 {
        millis(self.0.started.elapsed())
    }

    fn known(&self) -> MutexGuard<'_, ClockState> {
        // Every change is one assignment after another of numbers: it is sound after a panic.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
