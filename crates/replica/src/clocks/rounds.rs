//! Reads the clocks of the other voters, once a second, and notes what a majority says.
//!
//! Always true: a round waits for a peer no longer than [`READ_LIMIT`].

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::join_all;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::{Instant, sleep};

use super::{
    Clocks,
    clock_state::{Changes, Reading, millis},
};
use crate::{Lane, Member, Transport, apply::Raft, convert::members_out};

/// Between two readings of the others' clocks.
const READ_EVERY: Duration = Duration::from_secs(1);
/// The same, as long as it is not known what a majority says.
const READ_FIRST_EVERY: Duration = Duration::from_millis(50);
/// How long one reading may take. Half of it is how wrong a reading can be.
const READ_LIMIT: Duration = Duration::from_millis(400);

impl Clocks {
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

    /// Logs one line for each change.
    fn tell(&self, changes: Changes) {
        let node = self.0.node;
        if let Some(step_ms) = changes.date_step_ms {
            tracing::warn!(
                node,
                step_ms,
                "the clocks of a majority were set: message dates follow"
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
}

/// Where the other clocks are.
pub(crate) struct Others {
    pub(crate) raft: Raft,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) member_of: Arc<dyn Fn(u64) -> Option<Member> + Send + Sync>,
}

impl Others {
    /// Returns the sets of voters, and where each voter is reached.
    fn voters(&self) -> (Vec<BTreeSet<u64>>, Vec<(u64, Member)>) {
        let sets = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            members_out(metrics.membership_config.membership()).voters
        };
        let all: BTreeSet<u64> = sets.iter().flatten().copied().collect();
        let members = all.into_iter().filter_map(|node| {
            let member = (self.member_of)(node)?;
            Some((node, member))
        });
        (sets, members.collect())
    }
}
