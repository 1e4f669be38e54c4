//! Campaigns early when the connection to the leader breaks.
//!
//! A follower that only waits campaigns after its lease and a random election timeout. A broken
//! connection says more than silence: once the lease has run out, the followers ask for pre-votes
//! one after another, in an order that all of them know, so that votes are hardly ever split.
//!
//! Always true: a leader that a quorum still hears is not disturbed. The engine refuses a pre-vote
//! while its lease lasts, here and on every voter that is asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{apply::Raft, election::contact::Contact};

/// Broken connections that wait to be looked at; more at once say nothing new.
const HINTS_MAX: usize = 16;
/// Time between the campaigns of two followers: a pre-vote and a vote take less on a busy machine.
const BETWEEN_FOLLOWERS: Duration = Duration::from_millis(40);
/// Pause before a follower asks again for pre-votes that it did not get: the leases of the others
/// end some milliseconds later than its own.
const AGAIN: Duration = Duration::from_millis(20);
/// Time after the end of the lease in which a hint counts; then the engine's own timer has run.
const HINT_LIFE: Duration = Duration::from_millis(500);

/// Takes hints.
#[derive(Clone)]
pub(crate) struct Handle {
    hints: mpsc::Sender<u64>,
    stands_back: Arc<AtomicBool>,
}

impl Handle {
    /// Notes that the connection from this node has broken.
    pub(crate) fn lost(&self, node: u64) {
        // A hint that finds no place is not the only one.
        let _ = self.hints.try_send(node);
    }

    /// Leaves early campaigns to the others, or takes part in them again.
    pub(crate) fn stand_back(&self, stands_back: bool) {
        self.stands_back.store(stands_back, Ordering::Relaxed);
    }
}

/// Owns the hints.
pub(crate) struct Campaigner {
    pub(crate) node: u64,
    pub(crate) raft: Raft,
    pub(crate) contact: Contact,
    /// The time after a sign of life in which no voter grants a vote.
    pub(crate) lease: Duration,
}

impl Campaigner {
    /// Starts the campaigner; it ends when the last handle is dropped.
    pub(crate) fn start(self) -> Handle {
        let (hints, waiting) = mpsc::channel(HINTS_MAX);
        let stands_back = Arc::<AtomicBool>::default();
        tokio::spawn(self.run(waiting, stands_back.clone()));
        Handle { hints, stands_back }
    }

    async fn run(self, mut hints: mpsc::Receiver<u64>, stands_back: Arc<AtomicBool>) {
        while let Some(lost) = hints.recv().await {
            // The engine's own timer still makes it a candidate, if no other node becomes one.
            if stands_back.load(Ordering::Relaxed) {
                continue;
            }
            if let Some(turn) = self.turn_after(lost) {
                self.campaign(lost, turn).await;
            }
        }
    }

    /// Asks for pre-votes until another leader or another term is there, or the hint is old. A
    /// leader that is heard again begins a new lease, and the hint was wrong.
    async fn campaign(&self, lost: u64, turn: u32) {
        let (hinted, term) = (Instant::now(), self.term());
        let heard = self.contact.last_or_start();
        let lease_ends = heard + self.lease;
        let mut at = lease_ends + BETWEEN_FOLLOWERS * turn;
        let end = lease_ends.max(hinted) + HINT_LIFE;
        while at < end {
            sleep_until(at).await;
            if self.contact.last_or_start() != heard
                || self.term() != term
                || self.turn_after(lost).is_none()
            {
                return;
            }
            tracing::debug!(node = self.node, term, peer = lost, "campaigning early");
            if self.raft.trigger().elect(true).await.is_err() {
                return;
            }
            at = Instant::now() + AGAIN;
        }
    }

    /// Returns how many followers campaign before this one if `lost` is the leader that is gone;
    /// `None` if it is not, or if this node does not vote.
    fn turn_after(&self, lost: u64) -> Option<u32> {
        let metrics = self.raft.server_metrics();
        let metrics = openraft::async_runtime::watch::WatchReceiver::borrow_watched(&metrics);
        let voters = metrics.membership_config.membership().voter_ids();
        let voters: Vec<u64> = voters.filter(|voter| *voter != lost).collect();
        if metrics.current_leader != Some(lost) || !voters.contains(&self.node) {
            return None;
        }
        turn(&voters, lost, self.node)
    }

    fn term(&self) -> u64 {
        let metrics = self.raft.server_metrics();
        let metrics = openraft::async_runtime::watch::WatchReceiver::borrow_watched(&metrics);
        metrics.vote.leader_id.term
    }
}

/// Returns the place of a voter behind the one that is gone, in a circle: each leader has another
/// heir.
fn turn(voters: &[u64], lost: u64, node: u64) -> Option<u32> {
    let after = voters.iter().filter(|voter| **voter > lost);
    let before = voters.iter().filter(|voter| **voter < lost);
    let place = after.chain(before).position(|voter| *voter == node)?;
    u32::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_follower_has_its_own_campaign_turn() {
        let turns = |lost: u64| {
            let voters: Vec<u64> = (1..=5).filter(|voter| *voter != lost).collect();
            let turns = voters.iter().map(|node| turn(&voters, lost, *node));
            turns.collect::<Option<Vec<u32>>>().unwrap()
        };
        assert_eq!(turns(1), [0, 1, 2, 3]);
        assert_eq!(turns(3), [2, 3, 0, 1]);
        assert_eq!(turns(5), [0, 1, 2, 3]);
        assert_eq!(turn(&[1, 2], 3, 9), None);
    }
}
