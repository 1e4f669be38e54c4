//! Turns to begin a handshake: at a limited rate, one address after the other.
//!
//! Always true: an address that waits for many turns delays another address by one, and addresses
//! of members not at all.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::address::Address;

/// How far a busy node may fall behind its rate and still make up for it.
const BEHIND_PACE: Duration = Duration::from_millis(8);

/// Turns of one port; see the head of this file. They end when this is dropped.
pub(crate) struct HandshakeTurns {
    members: Arc<Turns>,
    others: Arc<Turns>,
    giving: [JoinHandle<()>; 2],
}

impl HandshakeTurns {
    /// Gives two turns at this interval: one to members, and one to all others.
    pub(crate) fn start(every: Duration) -> Self {
        let (members, others) = (Arc::<Turns>::default(), Arc::<Turns>::default());
        let giving = [&members, &others].map(|turns| tokio::spawn(turns.clone().give(every)));
        Self {
            members,
            others,
            giving,
        }
    }

    /// Waits for a turn.
    pub(crate) async fn wait(&self, address: Address, is_of_member: bool) {
        match is_of_member {
            true => self.members.wait(address).await,
            false => self.others.wait(address).await,
        }
    }
}

impl Drop for HandshakeTurns {
    fn drop(&mut self) {
        self.giving.iter().for_each(JoinHandle::abort);
    }
}

/// Queue of turns. Its length is bounded by the places of the port.
#[derive(Default)]
struct Turns {
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Default)]
struct Waiting {
    of: BTreeMap<Address, VecDeque<oneshot::Sender<()>>>,
    last: Option<Address>,
}

impl Waiting {
    /// Returns the next waiting caller, of the address after that of the last one.
    fn next(&mut self) -> Option<oneshot::Sender<()>> {
        let after = match self.last {
            Some(last) => {
                let after = (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
                self.of.range(after).next()
            }
            None => None,
        };
        let address = *after.or_else(|| self.of.iter().next())?.0;
        let queue = self.of.get_mut(&address)?;
        let turn = queue.pop_front();
        if queue.is_empty() {
            self.of.remove(&address);
        }
        self.last = Some(address);
        turn
    }
}

impl Turns {
    async fn wait(&self, address: Address) {
        let (turn, given) = oneshot::channel();
        self.lock().of.entry(address).or_default().push_back(turn);
        self.came.notify_one();
        let _ = given.await;
    }

    /// Gives a turn at this interval; never ends.
    async fn give(self: Arc<Self>, every: Duration) {
        let mut due = Instant::now();
        loop {
            let Some(next) = self.lock().next() else {
                self.came.notified().await;
                continue;
            };
            // A caller that no longer waits costs no turn.
            if next.send(()).is_ok() {
                let now = Instant::now();
                due = due.max(now.checked_sub(BEHIND_PACE).unwrap_or(now)) + every;
                sleep_until(due).await;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(2);

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_paced_and_delays_no_other_address_or_member() {
        let crowd = Address::of("10.0.0.1".parse().unwrap());
        let other = Address::of("10.0.0.2".parse().unwrap());
        let began = Instant::now();
        let turns = Arc::new(HandshakeTurns::start(EVERY));
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let turns = turns.clone();
                tokio::spawn(async move { turns.wait(crowd, false).await })
            })
            .collect();
        tokio::task::yield_now().await;
        turns.wait(crowd, true).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "members do not wait");
        turns.wait(other, false).await;
        assert!(began.elapsed() <= 5 * EVERY, "{:?}", began.elapsed());
        for waiting in waiting {
            waiting.await.unwrap();
        }
        let least = 98 * EVERY - BEHIND_PACE;
        assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    }
}
