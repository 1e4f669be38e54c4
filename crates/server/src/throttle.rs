//! Passwords cannot be guessed fast: who has failed often has to wait before the next attempt.
//!
//! Failures are counted by the log, for the account's name and for the network address, so they
//! survive every node; here is read how long an attempt still has to wait, before anything is
//! hashed. Addresses are those of the connection: no header of a proxy is believed.
//!
//! Always true: attempts on one account that are under way on this node at the same time are no
//! more than may fail without a wait; and no wait lasts longer on this node than it was meant to,
//! whatever the clocks say.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use conclave_core::{
    Accepted, OnceId, Rejection, Throttle, ThrottleKey, Timestamp, limits::THROTTLE_FREE_ACCOUNT,
};
use conclave_replica::rows;
use conclave_wire::{
    Problem,
    request::{self, throttle_key_of_account, throttle_key_of_address},
};
use tokio::time::Instant;

use crate::{
    access::{Deadline, accepted},
    problems::millis,
    shared::Shared,
};

/// Waits whose beginning is remembered. At the bound all are forgotten: they begin again, and
/// none gets longer than it was meant to be from then on.
const SEEN_MAX: usize = 16_384;
/// Attempts under way. At the bound further ones are refused as busy.
const UNDER_WAY_MAX: usize = 4096;
/// Separates names of counted failures from all other uses of the hash.
const FAILURE_CONTEXT: &str = "conclave 2026-11 name of a counted login failure";

/// By what an attempt is known: whose password is tried, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) account: ThrottleKey,
    pub(crate) address: ThrottleKey,
}

impl Keys {
    /// `name_key` is the account's name as names are compared. Those whose address is not known
    /// share one.
    pub(crate) fn of(name_key: &str, remote: Option<SocketAddr>) -> Self {
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let address = remote.map_or(unknown, |remote| remote.ip().to_canonical());
        Self {
            account: throttle_key_of_account(name_key),
            address: throttle_key_of_address(address),
        }
    }

    /// What is held against them.
    pub(crate) fn held(&self, reader: &rows::Reader) -> Result<Held, rows::ReadError> {
        Ok(Held {
            account: reader.throttle(&self.account)?,
            address: reader.throttle(&self.address)?,
        })
    }
}

/// What is held against an account and an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    account: Option<Throttle>,
    address: Option<Throttle>,
}

/// Lets attempts pass, one after the other.
#[derive(Default)]
pub(crate) struct Gate {
    /// Since when this node knows of a wait.
    seen: Mutex<HashMap<ThrottleKey, (Throttle, Instant)>>,
    /// How many attempts on each account are under way.
    under_way: Mutex<HashMap<ThrottleKey, u32>>,
}

impl Gate {
    /// Begins an attempt. This must come before what is held against it is read: an attempt that
    /// was over before is in what is read then, and one that is not over is counted here.
    pub(crate) fn enter(&self, keys: Keys) -> Result<Attempt<'_>, Problem> {
        let mut under_way = lock(&self.under_way);
        if under_way.len() >= UNDER_WAY_MAX && !under_way.contains_key(&keys.account) {
            return Err(Problem::Busy);
        }
        let count = under_way.entry(keys.account).or_default();
        *count += 1;
        let ahead = *count - 1;
        Ok(Attempt {
            gate: self,
            keys,
            ahead,
        })
    }

    /// How long `throttle` makes wait from now on.
    fn left_ms(&self, key: ThrottleKey, throttle: &Throttle, now: Timestamp) -> u64 {
        let by_clock = throttle.not_before.0.saturating_sub(now.0);
        if by_clock == 0 {
            return 0;
        }
        // The log's time may have stopped, because a leader's clock was ahead: a clock alone
        // would make people wait until the time of day has come there.
        let meant = throttle.not_before.0.saturating_sub(throttle.failed_at.0);
        let since = self.seen_since(key, throttle).elapsed();
        by_clock.min(meant.saturating_sub(millis(since)))
    }

    fn seen_since(&self, key: ThrottleKey, throttle: &Throttle) -> Instant {
        let mut seen = lock(&self.seen);
        match seen.get(&key) {
            Some((known, since)) if known == throttle => return *since,
            _ => {}
        }
        if seen.len() >= SEEN_MAX {
            seen.clear();
        }
        let now = Instant::now();
        seen.insert(key, (*throttle, now));
        now
    }
}

/// An attempt that is under way; over when dropped.
pub(crate) struct Attempt<'a> {
    gate: &'a Gate,
    keys: Keys,
    /// Attempts on the same account that were under way already.
    ahead: u32,
}

impl Attempt<'_> {
    /// Refuses the attempt if it has to wait; `now` is by the clock of this node.
    pub(crate) fn admit(&self, held: &Held, now: Timestamp) -> Result<(), Problem> {
        let left = |key, throttle: Option<Throttle>| {
            throttle.map_or(0, |throttle| self.gate.left_ms(key, &throttle, now))
        };
        let account = left(self.keys.account, held.account);
        match account.max(left(self.keys.address, held.address)) {
            0 => {}
            wait_ms => return Err(Problem::LoginThrottled { wait_ms }),
        }
        // Guesses that are made at once must not get around the count of those that failed.
        let failures = held.account.map_or(0, |throttle| throttle.failures);
        match self.ahead < THROTTLE_FREE_ACCOUNT.saturating_sub(failures).max(1) {
            true => Ok(()),
            false => Err(Problem::Busy),
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.gate.under_way);
        let Some(count) = under_way.get_mut(&self.keys.account) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            under_way.remove(&self.keys.account);
        }
    }
}

impl Shared {
    /// Counts a failed attempt under the name `once`, and gives what the client is told: a count
    /// that did not get through is told as such, so that nobody learns of a wrong password for
    /// free.
    pub(crate) async fn count_failure(
        &self,
        once: OnceId,
        keys: Keys,
        deadline: Deadline,
    ) -> Problem {
        let command = request::count_login_failure(once, keys.account, keys.address);
        let counted = match self.propose(command, deadline).await {
            Ok(outcome) => accepted(&outcome, |accepted| match accepted {
                Accepted::LoginFailureCounted { .. } => Some(()),
                _ => None,
            }),
            Err(problem) => Err(problem),
        };
        match counted {
            // The same guess from another address: it is counted already.
            Ok(()) | Err(Problem::Refused { .. }) => Rejection::WrongCredentials.into(),
            Err(problem) => problem,
        }
    }
}

/// The name under which a failed attempt is counted: the same for a retry, another for another
/// guess, even if a client that guesses gives all its guesses the same request id.
///
/// Nobody can try passwords against it who does not know the request id, which is random and,
/// for an attempt that failed, nowhere else in the cluster.
pub(crate) fn failure_id(request_id: &OnceId, keys: Keys, password: &str) -> OnceId {
    let key = blake3::derive_key(FAILURE_CONTEXT, &request_id.0);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(&keys.account.0);
    hasher.update(password.as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    OnceId(id)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both maps are sound after every statement that changes them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEYS: Keys = Keys {
        account: ThrottleKey([1; 16]),
        address: ThrottleKey([2; 16]),
    };
    const NOW: Timestamp = Timestamp(10_000);

    fn failed(failures: u32, failed_at: u64, not_before: u64) -> Option<Throttle> {
        Some(Throttle {
            failures,
            not_before: Timestamp(not_before),
            failed_at: Timestamp(failed_at),
        })
    }

    fn wait(gate: &Gate, held: Held, now: u64) -> Option<u64> {
        match gate.enter(KEYS).unwrap().admit(&held, Timestamp(now)) {
            Ok(()) => None,
            Err(Problem::LoginThrottled { wait_ms }) => Some(wait_ms),
            Err(problem) => panic!("{problem}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longer_of_two_waits_counts_until_it_is_over() {
        let gate = Gate::default();
        let held = Held {
            account: failed(6, 10_000, 11_000),
            address: failed(52, 10_000, 12_000),
        };
        assert_eq!(wait(&gate, Held::default(), 10_000), None);
        for (now, expected) in [(10_000, Some(2000)), (11_500, Some(500)), (12_000, None)] {
            assert_eq!(wait(&gate, held, now), expected, "at {now}");
        }
        let free = Held {
            account: failed(5, 12_000, 12_000),
            address: None,
        };
        assert_eq!(wait(&gate, free, 12_000), None, "within what is free");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_though_the_time_of_the_log_is_an_hour_ahead() {
        let gate = Gate::default();
        let ahead = 3_600_000;
        let held = Held {
            account: failed(7, ahead, ahead + 2000),
            address: None,
        };
        assert_eq!(wait(&gate, held, NOW.0), Some(2000));
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(wait(&gate, held, NOW.0), Some(500));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(wait(&gate, held, NOW.0), None);
        let again = Held {
            account: failed(8, ahead, ahead + 4000),
            address: None,
        };
        assert_eq!(wait(&gate, again, NOW.0), Some(4000), "another failure");
    }

    #[test]
    fn guesses_at_once_are_no_more_than_may_fail() {
        let gate = Gate::default();
        let none = Held::default();
        let guesses: Vec<_> = (0..THROTTLE_FREE_ACCOUNT)
            .map(|_| gate.enter(KEYS).unwrap())
            .collect();
        assert!(guesses.iter().all(|guess| guess.admit(&none, NOW).is_ok()));
        let more = gate.enter(KEYS).unwrap();
        assert_eq!(more.admit(&none, NOW), Err(Problem::Busy));
        let other = Keys {
            account: ThrottleKey([3; 16]),
            ..KEYS
        };
        assert_eq!(gate.enter(other).unwrap().admit(&none, NOW), Ok(()));
        drop((guesses, more));
        let failed = Held {
            account: failed(THROTTLE_FREE_ACCOUNT + 3, 1, 2),
            address: None,
        };
        let one = gate.enter(KEYS).unwrap();
        assert_eq!(one.admit(&failed, NOW), Ok(()));
        let second = gate.enter(KEYS).unwrap();
        assert_eq!(second.admit(&failed, NOW), Err(Problem::Busy));
    }

    #[test]
    fn a_retry_is_counted_once_and_another_guess_again() {
        let id = |request: u8, password: &str| failure_id(&OnceId([request; 16]), KEYS, password);
        assert_eq!(id(1, "guess one"), id(1, "guess one"));
        assert_ne!(id(1, "guess one"), id(1, "guess two"));
        assert_ne!(id(1, "guess one"), id(2, "guess one"));
        assert_ne!(id(1, "guess one"), OnceId([1; 16]));
    }

    #[test]
    fn an_address_is_the_same_in_both_of_its_forms() {
        let keys = |address: &str| Keys::of("alice", Some(address.parse().unwrap()));
        assert_eq!(keys("10.0.0.1:5"), keys("[::ffff:10.0.0.1]:6"));
        assert_ne!(keys("10.0.0.1:5").address, keys("10.0.0.2:5").address);
        assert_eq!(keys("10.0.0.1:5").account, Keys::of("alice", None).account);
    }
}
