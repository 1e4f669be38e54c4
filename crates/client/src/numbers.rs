//! The request numbers of a session: each is taken once, and none gets too far ahead of the others.
//!
//! A session remembers its newest [`REQUEST_WINDOW`] numbers. A request that is retried while the
//! others go on would fall out of that window and its outcome would be lost; so no request gets a
//! number that is a whole window above one still under way.
//!
//! Always true: no two requests of this client get the same number with the same nonce.

use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
};

use conclave_core::limits::REQUEST_WINDOW;
use tokio::sync::Notify;

use crate::{RequestKey, random};

#[derive(Debug)]
pub(crate) struct RequestNumbers {
    state: Mutex<State>,
    released: Notify,
}

#[derive(Debug)]
struct State {
    /// The next number; `None` until the session was asked for its greatest number.
    next: Option<u64>,
    nonce: u64,
    /// Counts restarts: a number belongs to the generation in which it was taken.
    generation: u64,
    under_way: BTreeSet<u64>,
}

/// A number that counts as under way until this is dropped.
#[derive(Debug)]
pub(crate) struct TakenNumber {
    numbers: Arc<RequestNumbers>,
    generation: u64,
    pub(crate) key: RequestKey,
}

impl RequestNumbers {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            next: None,
            nonce: random::number(),
            generation: 0,
            under_way: BTreeSet::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            released: Notify::new(),
        })
    }

    /// Returns whether the session's greatest number is known.
    pub(crate) fn is_learned(&self) -> bool {
        self.state().next.is_some()
    }

    /// Records that the session has used numbers up to `last`.
    pub(crate) fn learn(&self, last: u64) {
        let mut state = self.state();
        let above = last.saturating_add(1);
        state.next = Some(state.next.map_or(above, |next| next.max(above)));
    }

    /// Takes the next number; waits while the oldest number under way is a window behind.
    pub(crate) async fn take(self: &Arc<Self>) -> TakenNumber {
        loop {
            let mut released = pin!(self.released.notified());
            released.as_mut().enable();
            if let Some(taken) = self.try_take() {
                return taken;
            }
            released.await;
        }
    }

    /// Takes the next number; `None` if it is not known yet, or while the oldest number under way
    /// is a window behind.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<TakenNumber> {
        let mut state = self.state();
        let number = state.next?;
        let oldest = state.under_way.first().copied().unwrap_or(number);
        if number >= oldest.saturating_add(REQUEST_WINDOW) {
            return None;
        }
        Some(self.taken(&mut state, number))
    }

    /// Takes the next number, however far it is ahead of others: another program has used the
    /// numbers between.
    pub(crate) fn take_beyond(self: &Arc<Self>) -> TakenNumber {
        let mut state = self.state();
        let number = state.next.unwrap_or(1);
        self.taken(&mut state, number)
    }

    fn taken(self: &Arc<Self>, state: &mut State, number: u64) -> TakenNumber {
        state.next = Some(number.saturating_add(1));
        state.under_way.insert(number);
        TakenNumber {
            numbers: Arc::clone(self),
            generation: state.generation,
            key: RequestKey {
                number,
                nonce: state.nonce,
            },
        }
    }

    /// Marks a number as under way again that an earlier run of the program has taken and that may
    /// still be answered: so the others do not get too far ahead of it.
    pub(crate) fn hold(self: &Arc<Self>, key: RequestKey) -> TakenNumber {
        let mut state = self.state();
        state.under_way.insert(key.number);
        TakenNumber {
            numbers: Arc::clone(self),
            generation: state.generation,
            key,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("its holders do not panic")
    }
}

impl TakenNumber {
    /// Restarts counting above `last`, because the session has refused this number as too far above
    /// it: numbers were taken and never used. The nonce is new, so that a forgotten request that is
    /// still somewhere in the network is not taken for a new one.
    pub(crate) fn restart(&self, last: u64) {
        let mut state = self.numbers.state();
        if state.generation != self.generation {
            return;
        }
        state.generation += 1;
        state.nonce = random::number();
        state.next = Some(last.saturating_add(1));
        state.under_way.clear();
        drop(state);
        self.numbers.released.notify_waiters();
    }
}

impl Drop for TakenNumber {
    fn drop(&mut self) {
        let mut state = self.numbers.state();
        if state.generation == self.generation {
            state.under_way.remove(&self.key.number);
        }
        drop(state);
        self.numbers.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn request_numbers_stay_within_a_window_of_those_in_flight() {
        let numbers = RequestNumbers::new();
        numbers.learn(10);
        let first = numbers.take().await;
        assert_eq!(first.key.number, 11);
        for expected in 12..11 + REQUEST_WINDOW {
            assert_eq!(numbers.take().await.key.number, expected);
        }
        assert!(numbers.take().now_or_never().is_none());
        drop(first);
        assert_eq!(numbers.take().await.key.number, 11 + REQUEST_WINDOW);
    }

    #[tokio::test]
    async fn a_numbering_restart_changes_the_nonce_and_happens_once() {
        let numbers = RequestNumbers::new();
        numbers.learn(1000);
        let (one, two) = (numbers.take().await, numbers.take().await);
        one.restart(5);
        let three = numbers.take().await;
        assert_eq!(three.key.number, 6);
        assert_ne!(three.key.nonce, one.key.nonce);
        two.restart(5);
        assert_eq!(numbers.take().await.key.number, 7, "the second is no news");
    }

    #[tokio::test]
    async fn new_numbers_stay_within_a_window_of_a_restored_number() {
        let numbers = RequestNumbers::new();
        numbers.learn(10);
        let held = numbers.hold(RequestKey {
            number: 9,
            nonce: 7,
        });
        for expected in 11..9 + REQUEST_WINDOW {
            assert_eq!(numbers.take().await.key.number, expected);
        }
        assert!(numbers.take().now_or_never().is_none());
        drop(held);
        assert!(numbers.take().now_or_never().is_some());
    }

    #[test]
    fn a_learned_number_never_decreases() {
        let numbers = RequestNumbers::new();
        numbers.learn(7);
        numbers.learn(3);
        assert_eq!(numbers.state().next, Some(8));
    }
}
