//! Tracks whether a peer answers, over all its lanes; logs and records each change and nothing
//! else.
//!
//! A call that fails is no change: a busy machine is late now and then. A peer is unreachable when
//! its calls have failed for [`SILENCE_MIN`] with no successful call between them.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use conclave_replica::PeerError;
use conclave_wire::v1;
use tokio::time::Instant;

use crate::protocol::recent_events::RecentEvents;

/// How long calls must fail: several heartbeats, and less than an election takes.
const SILENCE_MIN: Duration = Duration::from_millis(300);

/// State of one peer.
#[derive(Debug)]
pub(crate) struct Reachability {
    peer: u64,
    events: RecentEvents,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Answers,
    FailsSince(Instant),
    Unreachable,
}

impl Reachability {
    /// Creates the state of a peer, which is assumed to answer until it does not.
    pub(crate) fn new(peer: u64, events: RecentEvents) -> Self {
        Self {
            peer,
            events,
            state: Mutex::new(State::Answers),
        }
    }

    /// Records the outcome of a call to the peer.
    pub(crate) fn note(&self, error: Option<&PeerError>) {
        let peer = self.peer;
        match (self.changes(error.is_none()), error) {
            (false, _) => {}
            (true, None) => {
                self.events.record(v1::NodeEventKind::PeerReachable, peer);
                tracing::info!(peer, "peer reachable");
            }
            (true, Some(error)) => {
                self.events.record(v1::NodeEventKind::PeerUnreachable, peer);
                tracing::warn!(peer, %error, "peer unreachable");
            }
        }
    }

    /// Returns whether this outcome changes the state.
    fn changes(&self, answered: bool) -> bool {
        // One value is written at once, so it is valid even if another thread has panicked.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *state;
        *state = match (before, answered) {
            (_, true) => State::Answers,
            (State::Answers, false) => State::FailsSince(Instant::now()),
            (State::FailsSince(since), false) if since.elapsed() >= SILENCE_MIN => {
                State::Unreachable
            }
            (before, false) => before,
        };
        (before == State::Unreachable) != (*state == State::Unreachable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_change_of_reachability_is_reported_once() {
        let peer = Reachability::new(2, RecentEvents::default());
        for _ in 0..2 {
            assert!(!peer.changes(true));
            assert!(!peer.changes(false), "one failure is no silence");
            tokio::time::advance(SILENCE_MIN).await;
            assert!(peer.changes(false));
            assert!(!peer.changes(false), "it was told");
            assert!(peer.changes(true));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_between_answers_do_not_make_a_peer_unreachable() {
        let peer = Reachability::new(2, RecentEvents::default());
        for _ in 0..10 {
            assert!(!peer.changes(false));
            tokio::time::advance(SILENCE_MIN / 2).await;
            assert!(!peer.changes(false));
            assert!(!peer.changes(true));
            tokio::time::advance(SILENCE_MIN).await;
        }
    }
}
