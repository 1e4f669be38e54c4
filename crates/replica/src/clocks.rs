//! How much time has passed and which date it is: what a leader stamps its entries with.
//!
//! Log time goes on by the time that passes on this machine, which no setting of a clock changes,
//! from what the log said last. Dates are the median of the clocks of the voters, which every node
//! reads once a second. Only a node that has just started takes from the clocks how much time has
//! passed while it was down.
//!
//! Always true: no clock of a minority moves log time or dates; nothing here waits for a peer
//! longer than [`READ_LIMIT`], and no proposal longer than [`AGREE_LIMIT`], once.

mod known;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use conclave_core::{Now, Timestamp};
use futures::future::join_all;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use self::known::{Known, Reading, millis};
use crate::{Lane, Member, Replica, Transport, apply::Raft};

/// Between two readings of the others' clocks.
const READ_EVERY: Duration = Duration::from_secs(1);
/// The same, as long as it is not known what a majority says.
const READ_FIRST_EVERY: Duration = Duration::from_millis(50);
/// How long one reading may take. Half of it is how wrong a reading can be.
const READ_LIMIT: Duration = Duration::from_millis(400);
/// How long a leader that has just started waits for the clocks of a majority. Afterwards it goes
/// on from what the log says: acknowledging does not depend on clocks.
const AGREE_LIMIT: Duration = Duration::from_millis(500);

/// How far a clock may be from the median before its node says so, in milliseconds: more than a
/// reading can be wrong and than an ordinary time service leaves, less than people notice.
pub const CLOCK_SKEW_MAX_MS: u64 = 10_000;

/// How this node's clock is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockStatus {
    /// How far it is ahead of the median of the voters, in milliseconds; negative: behind. `None`
    /// while it is not known what a majority says.
    pub skew_ms: Option<i64>,
    /// Whether that is more than [`CLOCK_SKEW_MAX_MS`].
    pub is_skewed: bool,
}

/// What a node knows of time; all clones are the same.
#[derive(Clone)]
pub(crate) struct Clocks(Arc<Inner>);

struct Inner {
    node: u64,
    own: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// From here on the time of this machine is counted.
    started: Instant,
    known: Mutex<Known>,
    /// Whether nobody needs to wait any more for what a majority says.
    agreed: watch::Sender<bool>,
}

impl Clocks {
    /// Those of a node whose state has `applied` as its last times.
    pub(crate) fn new(
        node: u64,
        own: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        applied: Now,
    ) -> Self {
        Self(Arc::new(Inner {
            node,
            own,
            started: Instant::now(),
            known: Mutex::new(Known::new(applied)),
            agreed: watch::Sender::new(false),
        }))
    }

    /// What this node's own clock says.
    pub(crate) fn own(&self) -> Timestamp {
        (self.0.own)()
    }

    /// The times now, as far as this node knows.
    pub(crate) fn now(&self) -> Now {
        let elapsed = self.elapsed();
        self.known().now(elapsed)
    }

    /// The times of an entry that this node proposes now.
    pub(crate) async fn stamp(&self) -> Now {
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

    /// How this node's own clock is.
    pub(crate) fn status(&self) -> ClockStatus {
        self.known().status()
    }

    /// Reads the clocks of the others again and again; never ends.
    pub(crate) async fn run(self, others: Others) {
        loop {
            let (voters, members) = others.voters();
            let asked = members.into_iter().filter(|(node, _)| *node != self.0.node);
            let readings = asked.map(|(node, member)| {
                let peer = others.transport.peer(node, &member, Lane::Calls);
                let clocks = &self;
                async move {
                    let before = Instant::now();
                    let said = peer.clock(READ_LIMIT).await.ok()?;
                    let half = before.elapsed() / 2;
                    let elapsed = clocks.elapsed();
                    Some((node, Reading::new(said, millis(half), elapsed)))
                }
            });
            let readings: Vec<_> = join_all(readings).await.into_iter().flatten().collect();
            let (elapsed, own) = (self.elapsed(), self.own());
            let changes = {
                let mut known = self.known();
                known.read(readings);
                known.agree(self.0.node, own, &voters, elapsed)
            };
            self.tell(changes);
            let has_agreed = self.known().has_agreed();
            if has_agreed && !*self.0.agreed.borrow() {
                self.0.agreed.send_replace(true);
            }
            sleep(if has_agreed {
                READ_EVERY
            } else {
                READ_FIRST_EVERY
            })
            .await;
        }
    }

    /// One line for each change.
    fn tell(&self, changes: known::Changes) {
        let node = self.0.node;
        if let Some(step_ms) = changes.date_step_ms {
            tracing::warn!(
                node,
                step_ms,
                "the clocks of a majority were set: dates follow"
            );
        }
        match changes.skew {
            Some((skew_ms, true)) => {
                tracing::warn!(node, skew_ms, "the clock of this node is off: set it");
            }
            Some((skew_ms, false)) => {
                tracing::info!(node, skew_ms, "the clock of this node is right again");
            }
            None => {}
        }
    }

    fn elapsed(&self) -> i64 {
        millis(self.0.started.elapsed())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change is one assignment after another of numbers: it is sound after a panic.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the other clocks are.
pub(crate) struct Others {
    pub(crate) raft: Raft,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) member_of: Arc<dyn Fn(u64) -> Option<Member> + Send + Sync>,
}

impl Others {
    /// The sets of voters, and where each voter is reached.
    fn voters(&self) -> (Vec<BTreeSet<u64>>, Vec<(u64, Member)>) {
        let sets = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            crate::convert::members_out(metrics.membership_config.membership()).voters
        };
        let all: BTreeSet<u64> = sets.iter().flatten().copied().collect();
        let members = all.into_iter().filter_map(|node| {
            let member = (self.member_of)(node)?;
            Some((node, member))
        });
        (sets, members.collect())
    }
}

impl Replica {
    /// How much time has passed and which date it is, as far as this node knows. A state that was
    /// applied later than that is never behind it by more than the way of an entry.
    #[must_use]
    pub fn now(&self) -> Now {
        self.inner.clocks.now()
    }

    /// What this node's own clock says: right or wrong, for the others to compare.
    #[must_use]
    pub fn own_clock(&self) -> Timestamp {
        self.inner.clocks.own()
    }

    /// How this node's own clock is.
    #[must_use]
    pub fn clock_status(&self) -> ClockStatus {
        self.inner.clocks.status()
    }
}
