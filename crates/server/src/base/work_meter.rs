//! Measures the processor time that one account takes from this node, and tells when to go on.
//!
//! An account may use [`AT_ONCE`] of a core, as a first synchronisation does. If it goes on, its
//! next work begins later: so much later that it gets one part in [`SHARE`] of a core. What is
//! measured is the time in which this node's threads work for it, whatever it asks for and from
//! however many sessions, so no kind of call needs a price of its own.
//!
//! Always true: no rest is longer than [`REST_MAX`]; an account that has used less than
//! [`AT_ONCE`] never rests; where the limits of accounts are lifted, no account does.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::base::rate_limiter::RateLimiter;

/// Work of one account on one node without a rest: the first synchronisation of a client with a
/// hundred pages takes about as much.
pub(crate) const AT_ONCE: Duration = Duration::from_millis(500);
/// Divisor of the time in which this node works for an account that never stops asking, on one
/// core. A debug build needs about ten times as long for the same work.
pub(crate) const SHARE: u32 = if cfg!(debug_assertions) { 2 } else { 16 };
/// Longest rest.
pub(crate) const REST_MAX: Duration = Duration::from_secs(1);
/// Time after its last work after which an account is as free as one that has used [`AT_ONCE`].
const FORGOTTEN: Duration = Duration::from_secs(2);
/// What a turn costs before it is known what it has cost: the next one begins that much later, so
/// that of many connections that rest only one wakes at a time.
const TURN: Duration = Duration::from_millis(1);

/// Work that waits until its account may go on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resting {
    /// A turn to read the database.
    Turn,
    /// What a connection sends.
    Connection,
}

/// What the meters of all accounts share.
#[derive(Debug, Default)]
pub(crate) struct WorkRules {
    lifted: AtomicBool,
    rests: [AtomicU64; 2],
}

impl WorkRules {
    /// Records whether the limits of accounts are lifted.
    pub(crate) fn lift(&self, lifted: bool) {
        self.lifted.store(lifted, Ordering::Relaxed);
    }

    /// Returns how often something had to rest.
    pub(crate) fn rests(&self, what: Resting) -> u64 {
        self.rests[what as usize].load(Ordering::Relaxed)
    }
}

/// The work for one account on this node.
#[derive(Default)]
pub(crate) struct WorkMeter {
    pace: Mutex<RateLimiter>,
    rules: Arc<WorkRules>,
}

impl WorkMeter {
    /// Makes the meter of an account that has used nothing.
    pub(crate) fn new(rules: &Arc<WorkRules>) -> Self {
        Self {
            pace: Mutex::default(),
            rules: rules.clone(),
        }
    }

    /// Counts work that was done.
    pub(crate) fn worked(&self, time: Duration) {
        let cost = time.min(AT_ONCE) * SHARE;
        self.lock().spend(cost, AT_ONCE * SHARE + FORGOTTEN);
    }

    /// Returns how long the account's next work of this kind is to wait, if it is.
    pub(crate) fn rest(&self, what: Resting) -> Option<Duration> {
        if self.rules.lifted.load(Ordering::Relaxed) {
            return None;
        }
        let rest = self.lock().ahead(AT_ONCE * SHARE);
        if rest.is_zero() {
            return None;
        }
        self.rules.rests[what as usize].fetch_add(1, Ordering::Relaxed);
        Some(rest.min(REST_MAX))
    }

    /// Returns how long a connection of the account is to wait, if it is; the next one waits
    /// longer.
    pub(crate) fn turn(&self) -> Option<Duration> {
        let rest = self.rest(Resting::Connection)?;
        self.worked(TURN);
        Some(rest)
    }

    /// Returns whether the account has worked so recently that it matters.
    pub(crate) fn is_in_use(&self) -> bool {
        self.lock().owes()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RateLimiter> {
        // Valid after every statement that changes it.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn an_account_that_never_stops_gets_its_share_of_a_core() {
        let (meter, page) = (WorkMeter::default(), Duration::from_millis(3));
        let (began, mut worked) = (Instant::now(), Duration::ZERO);
        while began.elapsed() < MINUTE {
            advance(meter.rest(Resting::Connection).unwrap_or(page)).await;
            meter.worked(page);
            worked += page;
        }
        assert!(worked >= AT_ONCE + MINUTE / (2 * SHARE), "{worked:?}");
        assert!(worked <= AT_ONCE + MINUTE / SHARE + 3 * page, "{worked:?}");
        advance(AT_ONCE * SHARE + FORGOTTEN).await;
        meter.worked(AT_ONCE);
        assert_eq!(meter.rest(Resting::Connection), None, "it has rested");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_connections_of_one_account_wake_one_after_the_other() {
        let meter = WorkMeter::default();
        assert_eq!(meter.turn(), None);
        meter.worked(AT_ONCE);
        meter.worked(TURN);
        let turns: Vec<_> = (0..10).map(|_| meter.turn().unwrap()).collect();
        assert!(
            turns.is_sorted_by(|one, next| *one + TURN * SHARE <= *next),
            "{turns:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_rest_is_long_and_none_is_made_without_limits() {
        let rules = Arc::default();
        let meter = WorkMeter::new(&rules);
        (0..100).for_each(|_| meter.worked(MINUTE));
        assert_eq!(meter.rest(Resting::Connection), Some(REST_MAX));
        assert_eq!(rules.rests(Resting::Connection), 1);
        rules.lift(true);
        assert_eq!(meter.rest(Resting::Connection), None);
        rules.lift(false);
        advance(FORGOTTEN).await;
        assert_eq!(meter.rest(Resting::Connection), None);
        assert!(meter.is_in_use());
    }
}
