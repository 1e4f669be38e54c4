//! Holds the answers of decided entries back until every voter has these entries.
//!
//! With the policy of a majority an answer passes at once. What is held is bounded by the places of
//! its callers in the backlog, and in time by the keeper.
//!
//! Always true: while the policy is all, no answer leaves before the keeper has said that every
//! voter has its entry; from the entry on that ends this policy answers still wait until all voters
//! have that entry, or for [`HOLD_LIMIT`].

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_core::AckPolicy;
use tokio::{sync::Notify, time::Instant};

/// How long a voter that is away may hold answers back. An election takes less than a second, and
/// so does the restart of a process; callers wait for fifteen seconds.
pub(crate) const HOLD_LIMIT: Duration = Duration::from_secs(3);

/// Outcome of waiting for the voters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every voter has the entry.
    Reached,
    /// This node leads no longer: the next leader answers the same request.
    Unknown,
}

/// Gives an answer, or says that it is unknown.
type Reply = Box<dyn FnOnce(Verdict) + Send>;

struct Held {
    index: u64,
    since: Instant,
    reply: Reply,
}

/// The gate. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Inner>);

#[derive(Default)]
struct Inner {
    policy: AtomicU64,
    /// The entry that ended the policy of all voters; 0: none that is not on all of them.
    ended_at: AtomicU64,
    /// In the order of their entries.
    held: Mutex<VecDeque<Held>>,
    wake: Notify,
}

impl Gate {
    /// Returns the gate of a node whose state has this policy.
    pub(crate) fn new(policy: AckPolicy) -> Self {
        let gate = Self::default();
        gate.0.policy.store(number(policy), Ordering::Relaxed);
        gate
    }

    /// Returns the policy after the last entry that is decided on this node.
    pub(crate) fn policy(&self) -> AckPolicy {
        match self.0.policy.load(Ordering::Acquire) == number(AckPolicy::All) {
            true => AckPolicy::All,
            false => AckPolicy::Majority,
        }
    }

    /// Notes the policy after entry `index`, before any of its answers passes.
    pub(crate) fn note(&self, policy: AckPolicy, index: u64) {
        let inner = &self.0;
        if inner.policy.load(Ordering::Relaxed) == number(policy) {
            return;
        }
        tracing::info!(?policy, index, "the policy of acknowledgements has changed");
        if policy == AckPolicy::Majority {
            inner.ended_at.store(index, Ordering::Release);
        }
        inner.policy.store(number(policy), Ordering::Release);
        inner.wake.notify_one();
    }

    /// Returns whether answers are held back now.
    pub(crate) fn holds(&self) -> bool {
        self.policy() == AckPolicy::All || self.0.ended_at.load(Ordering::Acquire) != 0
    }

    /// Holds the answer of entry `index` back.
    pub(crate) fn hold(&self, index: u64, reply: Reply) {
        let since = Instant::now();
        let held = Held {
            index,
            since,
            reply,
        };
        self.held().push_back(held);
        self.0.wake.notify_one();
    }

    /// Lets all answers up to entry `through` pass: every voter has it.
    pub(crate) fn release(&self, through: u64) {
        let ended_at = self.0.ended_at.load(Ordering::Acquire);
        if ended_at != 0 && ended_at <= through {
            self.0.ended_at.store(0, Ordering::Release);
        }
        let through = match self.holds() {
            true => through,
            // What waits still came before the policy has ended.
            false => u64::MAX,
        };
        self.conclude(|index| index <= through, Verdict::Reached);
    }

    /// Gives up what is held, and what is left of a policy that has ended: this node does not lead.
    pub(crate) fn give_up(&self) {
        self.conclude(|_| true, Verdict::Unknown);
    }

    /// Ends the wait for a policy that has ended.
    pub(crate) fn end(&self) {
        self.0.ended_at.store(0, Ordering::Release);
        self.release(0);
    }

    /// Returns the entry whose answer is held longest, and since when.
    pub(crate) fn oldest(&self) -> Option<(u64, Instant)> {
        self.held().front().map(|held| (held.index, held.since))
    }

    /// Returns the number of entries whose answers are held.
    pub(crate) fn len(&self) -> usize {
        self.held().len()
    }

    /// Waits until an answer is held, or the policy has changed.
    pub(crate) async fn woken(&self) {
        self.0.wake.notified().await;
    }

    fn conclude(&self, is_due: impl Fn(u64) -> bool, verdict: Verdict) {
        loop {
            // Replies are given without the lock.
            let due = self.held().pop_front_if(|held| is_due(held.index));
            match due {
                Some(held) => (held.reply)(verdict),
                None => return,
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, VecDeque<Held>> {
        // Every statement leaves a valid queue.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(policy: AckPolicy) -> u64 {
    u64::from(policy == AckPolicy::All)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    type Told = mpsc::Receiver<(u64, Verdict)>;

    fn holding(gate: &Gate, indexes: &[u64]) -> Told {
        let (tell, told) = mpsc::sync_channel(16);
        for index in indexes.iter().copied() {
            let tell = tell.clone();
            let reply = move |verdict| tell.send((index, verdict)).unwrap();
            gate.hold(index, Box::new(reply));
        }
        told
    }

    fn all(told: &Told) -> Vec<(u64, Verdict)> {
        told.try_iter().collect()
    }

    #[tokio::test]
    async fn answers_pass_in_order_once_every_voter_has_their_entries() {
        let gate = Gate::new(AckPolicy::Majority);
        assert!(!gate.holds());
        gate.note(AckPolicy::All, 4);
        assert!(gate.holds());
        let told = holding(&gate, &[4, 5, 7]);
        gate.release(3);
        assert_eq!(all(&told), []);
        assert_eq!(gate.oldest().unwrap().0, 4);
        gate.release(6);
        assert_eq!(all(&told), [(4, Verdict::Reached), (5, Verdict::Reached)]);
        gate.give_up();
        assert_eq!(all(&told), [(7, Verdict::Unknown)]);
        assert_eq!(gate.len(), 0);
        assert!(gate.holds(), "the next ones wait");
    }

    #[tokio::test]
    async fn answers_wait_until_every_voter_knows_that_they_need_not() {
        let gate = Gate::new(AckPolicy::All);
        gate.note(AckPolicy::Majority, 9);
        let told = holding(&gate, &[9, 12]);
        gate.release(8);
        assert!(gate.holds());
        assert_eq!(all(&told), []);
        gate.release(9);
        assert!(!gate.holds());
        assert_eq!(all(&told), [(9, Verdict::Reached), (12, Verdict::Reached)]);
        gate.note(AckPolicy::All, 13);
        gate.note(AckPolicy::Majority, 14);
        let told = holding(&gate, &[14]);
        gate.end();
        assert!(!gate.holds() && !all(&told).is_empty(), "not for ever");
    }
}
