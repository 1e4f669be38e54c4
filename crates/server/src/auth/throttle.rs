//! Slows down guesses of passwords: after many failures the next attempt has to wait.
//!
//! The log counts attempts before a password is verified (`try_password.rs`), so the counts survive
//! every node and hold on all of them. This file computes how long an attempt still has to wait,
//! before anything is hashed or proposed. An attempt from a place that the account knows (an
//! address or a device from which it was logged in to), and one in a session, waits apart: guesses
//! from elsewhere do not keep the owner of the account out. Addresses are those of the connection,
//! or those that a proxy names which the operator trusts (`connections/proxies.rs`).
//!
//! Always true: the attempts of one account from one kind of place that are under way on this node
//! at the same time are no more than may fail without a wait; and no wait lasts longer on this node
//! than it was meant to, whatever the clocks say.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use conclave_core::{
    LoginKeys, SessionId, Throttle, ThrottleKey, Timestamp, limits::THROTTLE_FREE_ACCOUNT,
};
use conclave_storage::{RecentMap, state as rows};
use conclave_wire::{
    Problem,
    request::{
        throttle_key_of_account, throttle_key_of_address, throttle_key_of_device,
        throttle_key_of_pair, throttle_key_of_session,
    },
};
use tokio::time::Instant;

use crate::{auth::hash_queue::Asker, protocol::problems::millis};

/// Maximum number of waits whose beginning is remembered. A wait that is forgotten begins again,
/// and does not get longer than it was meant to be from then on.
const SEEN_MAX: usize = 16_384;
/// Maximum number of attempts under way. At the bound further ones are refused as busy.
const UNDER_WAY_MAX: usize = 4096;
/// Returns the keys of an attempt to log in. `name_key` is the account's name in the form in which
/// names are compared. Callers whose address is unknown share one key.
pub(crate) fn keys_of_login(
    name_key: &str,
    remote: Option<SocketAddr>,
    device_secret: Option<&[u8]>,
) -> LoginKeys {
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let address = remote.map_or(unknown, |remote| remote.ip().to_canonical());
    let account = throttle_key_of_account(name_key);
    let address = throttle_key_of_address(address);
    LoginKeys {
        account,
        address,
        pair: throttle_key_of_pair(account, address),
        device: device_secret.map(|secret| throttle_key_of_device(account, secret)),
        session: None,
    }
}

/// Returns the keys of a password that is asked for again in a session.
pub(crate) fn keys_of_session(
    name_key: &str,
    remote: Option<SocketAddr>,
    session: SessionId,
) -> LoginKeys {
    LoginKeys {
        session: Some(throttle_key_of_session(session)),
        ..keys_of_login(name_key, remote, None)
    }
}

/// What a node knows of the failures that an attempt is measured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownFailures {
    /// Key of the place if the attempt waits apart; `None` if it does not.
    apart: Option<ThrottleKey>,
    /// Failures of that place, or of the account.
    account: Option<Throttle>,
    /// Failures of the address, unless the attempt waits apart.
    address: Option<Throttle>,
}

impl KnownFailures {
    /// Reads the failures that count against an attempt.
    pub(crate) fn of(reader: &rows::Reader, keys: &LoginKeys) -> Result<Self, rows::ReadError> {
        let apart = match keys.session {
            Some(session) => Some(session),
            None => {
                let places: Vec<_> = keys.device.into_iter().chain([keys.pair]).collect();
                reader.known_place(&places)?
            }
        };
        Ok(match apart {
            Some(place) => Self {
                apart,
                account: reader.throttle(&place)?,
                address: None,
            },
            None => Self {
                apart,
                account: reader.throttle(&keys.account)?,
                address: reader.throttle(&keys.address)?,
            },
        })
    }

    /// Returns the key under which attempts under way are counted.
    pub(crate) fn key(&self, keys: &LoginKeys) -> ThrottleKey {
        self.apart.unwrap_or(keys.account)
    }

    /// Returns the key under which the attempt asks for a turn to hash: a known place has its own,
    /// any other caller that of its address.
    pub(crate) fn asker(&self, keys: &LoginKeys) -> Asker {
        Asker {
            group: self.apart.unwrap_or(keys.address),
            account: keys.account,
        }
    }
}

/// Admits attempts, one after the other.
pub(crate) struct AttemptGate {
    /// Since when this node knows of a wait.
    seen: Mutex<RecentMap<ThrottleKey, (Throttle, Instant)>>,
    /// Number of attempts under way on each account.
    under_way: Mutex<HashMap<ThrottleKey, u32>>,
}

impl Default for AttemptGate {
    fn default() -> Self {
        Self {
            seen: Mutex::new(RecentMap::new(SEEN_MAX)),
            under_way: Mutex::default(),
        }
    }
}

impl AttemptGate {
    /// Begins an attempt.
    pub(crate) fn enter(&self, key: ThrottleKey) -> Result<Attempt<'_>, Problem> {
        let mut under_way = lock(&self.under_way);
        if under_way.len() >= UNDER_WAY_MAX && !under_way.contains_key(&key) {
            return Err(Problem::Busy);
        }
        let count = under_way.entry(key).or_default();
        *count += 1;
        let ahead = *count - 1;
        Ok(Attempt {
            gate: self,
            key,
            ahead,
        })
    }

    /// Returns for how many milliseconds from now `throttle` makes an attempt wait.
    fn left_ms(&self, key: ThrottleKey, throttle: &Throttle, now: Timestamp) -> u64 {
        let by_clock = throttle.not_before.0.saturating_sub(now.0);
        if by_clock == 0 {
            return 0;
        }
        // The log's time may have stopped, because a leader's clock was ahead: with a clock alone,
        // people would wait until the time of day has reached it.
        let meant = throttle.not_before.0.saturating_sub(throttle.failed_at.0);
        let since = self.seen_since(key, throttle).elapsed();
        by_clock.min(meant.saturating_sub(millis(since)))
    }

    fn seen_since(&self, key: ThrottleKey, throttle: &Throttle) -> Instant {
        let mut seen = lock(&self.seen);
        match seen.get(&key) {
            Some((known, since)) if known == *throttle => return since,
            _ => {}
        }
        let now = Instant::now();
        seen.insert(key, (*throttle, now));
        now
    }
}

/// An attempt under way, until dropped.
pub(crate) struct Attempt<'a> {
    gate: &'a AttemptGate,
    key: ThrottleKey,
    /// Number of attempts with the same key that were under way already.
    ahead: u32,
}

impl Attempt<'_> {
    /// Refuses the attempt if it has to wait; `now` is the time of the log as this node knows it.
    pub(crate) fn admit(
        &self,
        held: &KnownFailures,
        address: ThrottleKey,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let left = |key, throttle: Option<Throttle>| {
            throttle.map_or(0, |throttle| self.gate.left_ms(key, &throttle, now))
        };
        let account = left(self.key, held.account);
        match account.max(left(address, held.address)) {
            0 => {}
            wait_ms => return Err(Problem::LoginThrottled { wait_ms }),
        }
        // Log-ins of one account that arrive at once wait for each other here, so that those with
        // the right password do not make each other wait by the log.
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
        let Some(count) = under_way.get_mut(&self.key) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            under_way.remove(&self.key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both maps are valid after every statement that changes them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ACCOUNT: ThrottleKey = ThrottleKey([1; 16]);
    const ADDRESS: ThrottleKey = ThrottleKey([2; 16]);
    const NOW: Timestamp = Timestamp(10_000);

    fn failed(failures: u32, failed_at: u64, not_before: u64) -> Option<Throttle> {
        Some(Throttle {
            failures,
            not_before: Timestamp(not_before),
            failed_at: Timestamp(failed_at),
        })
    }

    fn wait(gate: &AttemptGate, held: KnownFailures, now: u64) -> Option<u64> {
        let attempt = gate.enter(ACCOUNT).unwrap();
        match attempt.admit(&held, ADDRESS, Timestamp(now)) {
            Ok(()) => None,
            Err(Problem::LoginThrottled { wait_ms }) => Some(wait_ms),
            Err(problem) => panic!("{problem}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_throttle_wait_applies_until_it_ends() {
        let gate = AttemptGate::default();
        let held = KnownFailures {
            account: failed(6, 10_000, 11_000),
            address: failed(52, 10_000, 12_000),
            apart: None,
        };
        assert_eq!(wait(&gate, KnownFailures::default(), 10_000), None);
        for (now, expected) in [(10_000, Some(2000)), (11_500, Some(500)), (12_000, None)] {
            assert_eq!(wait(&gate, held, now), expected, "at {now}");
        }
        let free = KnownFailures {
            account: failed(5, 12_000, 12_000),
            ..KnownFailures::default()
        };
        assert_eq!(wait(&gate, free, 12_000), None, "within what is free");
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_wait_ends_with_log_time_an_hour_ahead() {
        let gate = AttemptGate::default();
        let ahead = 3_600_000;
        let held = KnownFailures {
            account: failed(7, ahead, ahead + 2000),
            ..KnownFailures::default()
        };
        assert_eq!(wait(&gate, held, NOW.0), Some(2000));
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(wait(&gate, held, NOW.0), Some(500));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(wait(&gate, held, NOW.0), None);
        let again = KnownFailures {
            account: failed(8, ahead, ahead + 4000),
            ..KnownFailures::default()
        };
        assert_eq!(wait(&gate, again, NOW.0), Some(4000), "another failure");
    }

    #[test]
    fn concurrent_guesses_are_bounded_by_the_free_failures() {
        let gate = AttemptGate::default();
        let none = KnownFailures::default();
        let guesses: Vec<_> = (0..THROTTLE_FREE_ACCOUNT)
            .map(|_| gate.enter(ACCOUNT).unwrap())
            .collect();
        assert!(
            guesses
                .iter()
                .all(|guess| guess.admit(&none, ADDRESS, NOW).is_ok())
        );
        let more = gate.enter(ACCOUNT).unwrap();
        assert_eq!(more.admit(&none, ADDRESS, NOW), Err(Problem::Busy));
        let other = ThrottleKey([3; 16]);
        assert_eq!(
            gate.enter(other).unwrap().admit(&none, ADDRESS, NOW),
            Ok(())
        );
        drop((guesses, more));
        let failed = KnownFailures {
            account: failed(THROTTLE_FREE_ACCOUNT + 3, 1, 2),
            ..KnownFailures::default()
        };
        let one = gate.enter(ACCOUNT).unwrap();
        assert_eq!(one.admit(&failed, ADDRESS, NOW), Ok(()));
        let second = gate.enter(ACCOUNT).unwrap();
        assert_eq!(second.admit(&failed, ADDRESS, NOW), Err(Problem::Busy));
    }

    #[test]
    fn ipv4_and_mapped_ipv6_addresses_share_their_throttle_keys() {
        let keys = |address: &str| keys_of_login("alice", Some(address.parse().unwrap()), None);
        assert_eq!(keys("10.0.0.1:5"), keys("[::ffff:10.0.0.1]:6"));
        assert_ne!(keys("10.0.0.1:5").address, keys("10.0.0.2:5").address);
        let unknown = keys_of_login("alice", None, None);
        assert_eq!(keys("10.0.0.1:5").account, unknown.account);
        assert_ne!(keys("10.0.0.1:5").pair, unknown.pair);
    }

    #[test]
    fn throttle_keys_differ_by_device_account_and_by_session() {
        let device = |name: &str| keys_of_login(name, None, Some(&[7; 32])).device;
        assert!(device("alice").is_some());
        assert_ne!(device("alice"), device("bob"));
        let session = |id| keys_of_session("alice", None, SessionId(id)).session;
        assert_ne!(session(1), session(2));
    }
}
