//! Measures the processor time that one account takes from this node, and tells when to go on.
//!
//! An account may use a little as fast as it asks, and then a part of a core until it has used as
//! much as a first synchronisation does ([`ALLOWANCES`]). If it goes on, its next work begins
//! later: so much later that it gets a small part of a core. What is measured is the time in which
//! this node's threads work for it, whatever it asks for and from however many sessions, so no kind
//! of call needs a price of its own.
//!
//! Always true: no rest is longer than [`REST_MAX`]; an account that has used little lately never
//! rests; where the limits of accounts are lifted, no account does.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::base::rate_limiter::RateLimiter;

/// Work of one account on one node: so much at once, and then one part in `share` of a core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) at_once: Duration,
    pub(crate) share: u32,
}

impl Allowance {
    const fn new(at_once_ms: u64, share: u32) -> Self {
        Self {
            at_once: Duration::from_millis(at_once_ms),
            share,
        }
    }

    /// Returns the time in which an account that has used all of it has nothing to pay back.
    pub(crate) fn repaid(self) -> Duration {
        self.at_once * self.share
    }
}

/// Both allowances, the shorter one first. A few pages, or a hundred messages, come without a rest;
/// with more at once one message of others in a hundred would be late. The first synchronisation of
/// a client with a hundred pages takes about half a second of work.
const RELEASE: [Allowance; 2] = [Allowance::new(10, 4), Allowance::new(500, 16)];
/// A debug build needs about ten times as long for the same work.
const DEBUG: [Allowance; 2] = [Allowance::new(500, 2), Allowance::new(500, 2)];
const ALLOWANCES: [Allowance; 2] = if cfg!(debug_assertions) {
    DEBUG
} else {
    RELEASE
};
/// What an account gets for a moment.
#[cfg(test)]
pub(crate) const PROMPT: Allowance = ALLOWANCES[0];
/// What it gets as long as it goes on.
pub(crate) const LASTING: Allowance = ALLOWANCES[1];
/// Longest rest.
pub(crate) const REST_MAX: Duration = Duration::from_secs(1);
/// Time after which work that was more than an allowance is forgotten.
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
pub(crate) struct WorkMeter {
    allowances: [Allowance; 2],
    /// What was used of each of them.
    used: Mutex<[RateLimiter; 2]>,
    rules: Arc<WorkRules>,
}

impl WorkMeter {
    /// Makes the meter of an account that has used nothing.
    pub(crate) fn new(rules: &Arc<WorkRules>) -> Self {
        Self {
            allowances: ALLOWANCES,
            used: Mutex::default(),
            rules: rules.clone(),
        }
    }

    /// Counts work that was done.
    pub(crate) fn worked(&self, time: Duration) {
        let time = time.min(LASTING.at_once);
        for (used, of) in self.lock().iter_mut().zip(self.allowances) {
            used.spend(time * of.share, of.repaid() + FORGOTTEN);
        }
    }

    /// Returns how long the account's next work of this kind is to wait, if it is.
    pub(crate) fn rest(&self, what: Resting) -> Option<Duration> {
        if self.rules.lifted.load(Ordering::Relaxed) {
            return None;
        }
        let rest = {
            let used = self.lock();
            let rests = used.iter().zip(self.allowances);
            let rests = rests.map(|(used, of)| used.ahead(of.repaid()));
            rests.max().unwrap_or_default()
        };
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
        self.lock().iter().any(RateLimiter::owes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [RateLimiter; 2]> {
        // Valid after every statement that changes it.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Default for WorkMeter {
    fn default() -> Self {
        Self::new(&Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PAGE: Duration = Duration::from_millis(3);

    fn meter_of(allowances: [Allowance; 2]) -> WorkMeter {
        WorkMeter {
            allowances,
            ..WorkMeter::default()
        }
    }

    /// Lets an account work for so long, as fast as it may; returns how long it worked.
    async fn worked_within(meter: &WorkMeter, time: Duration) -> Duration {
        let (began, mut worked) = (Instant::now(), Duration::ZERO);
        while began.elapsed() < time {
            advance(meter.rest(Resting::Connection).unwrap_or(PAGE)).await;
            meter.worked(PAGE);
            worked += PAGE;
        }
        worked
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_never_stops_gets_its_share_of_a_core() {
        for allowances in [RELEASE, DEBUG] {
            let [prompt, lasting] = allowances;
            let meter = meter_of(allowances);
            let (began, mut worked) = (Instant::now(), Duration::ZERO);
            for time in [prompt.at_once, SECOND, 5 * SECOND, 60 * SECOND] {
                worked += worked_within(&meter, time).await;
                let all = began.elapsed();
                let allowed = allowances.map(|of| of.at_once + all / of.share);
                let most = allowed.into_iter().min().unwrap_or_default().min(all);
                assert!(worked <= most + 3 * PAGE, "{worked:?} in {all:?}");
                assert!(worked + 10 * PAGE >= most, "{worked:?} in {all:?}");
            }
            advance(lasting.repaid() + FORGOTTEN).await;
            meter.worked(prompt.at_once);
            assert_eq!(meter.rest(Resting::Connection), None, "it has rested");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_connections_of_one_account_wake_one_after_the_other() {
        for allowances in [RELEASE, DEBUG] {
            let meter = meter_of(allowances);
            assert_eq!(meter.turn(), None);
            meter.worked(allowances[0].at_once);
            meter.worked(TURN);
            let turns: Vec<_> = (0..10).map(|_| meter.turn().unwrap()).collect();
            let apart = TURN * allowances[0].share;
            let is_apart = |one: &Duration, next: &Duration| *one + apart <= *next;
            assert!(turns.is_sorted_by(is_apart), "{turns:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_rest_is_long_and_none_is_made_without_limits() {
        let rules = Arc::default();
        let meter = WorkMeter::new(&rules);
        (0..100).for_each(|_| meter.worked(60 * SECOND));
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
