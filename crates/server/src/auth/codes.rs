//! Slows down wrong codes (of invites, setup tokens and resets): they are looked up before a
//! password is hashed, and an address that sends many of them has to wait.
//!
//! A code has so many random bits that guessing is hopeless, so the wait only saves work. That is
//! why each node keeps it by itself, and a right code passes however many wrong ones its address
//! sends.
//!
//! Always true: a wrong code costs no hash and no log entry.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use conclave_core::ThrottleKey;
use tokio::time::Instant;

/// Number of wrong codes in a row from one address that need not wait.
const WRONG_FREE: u32 = 20;
/// Time after which one more wrong code is free.
const FORGIVEN_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of addresses in memory. At the bound, the address whose wait ends first is
/// removed.
const ADDRESSES_MAX: usize = 4096;

/// Wrong codes that each address has sent lately.
#[derive(Default)]
pub(crate) struct WrongCodes {
    /// Time at which all wrong codes of an address are forgiven.
    forgiven_at: Mutex<HashMap<ThrottleKey, Instant>>,
}

impl WrongCodes {
    /// Returns how long an address has to wait before its next wrong code is looked up through the
    /// leader.
    pub(crate) fn wait(&self, address: ThrottleKey) -> Option<Duration> {
        let all = self.lock();
        let until = *all.get(&address)?;
        let debt = until.saturating_duration_since(Instant::now());
        let wait = debt.saturating_sub(FORGIVEN_INTERVAL * (WRONG_FREE - 1));
        (!wait.is_zero()).then_some(wait)
    }

    /// Counts a wrong code.
    pub(crate) fn count(&self, address: ThrottleKey) {
        let now = Instant::now();
        let mut all = self.lock();
        if all.len() >= ADDRESSES_MAX && !all.contains_key(&address) {
            let first = all.iter().min_by_key(|(_, until)| **until);
            let first = first.map(|(address, _)| *address);
            first.and_then(|first| all.remove(&first));
        }
        let until = all.entry(address).or_insert(now);
        // However many wrong codes arrive, an address waits no longer than one interval from now.
        let most = now + FORGIVEN_INTERVAL * WRONG_FREE;
        *until = (now.max(*until) + FORGIVEN_INTERVAL).min(most);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ThrottleKey, Instant>> {
        // Valid after every statement that changes it.
        self.forgiven_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: ThrottleKey = ThrottleKey([1; 16]);

    #[tokio::test(start_paused = true)]
    async fn wrong_codes_throttle_only_their_address() {
        let codes = WrongCodes::default();
        for _ in 0..WRONG_FREE {
            assert_eq!(codes.wait(ADDRESS), None);
            codes.count(ADDRESS);
        }
        assert_eq!(codes.wait(ADDRESS), Some(FORGIVEN_INTERVAL));
        for _ in 0..1000 {
            codes.count(ADDRESS);
        }
        assert_eq!(codes.wait(ADDRESS), Some(FORGIVEN_INTERVAL), "no longer");
        assert_eq!(codes.wait(ThrottleKey([2; 16])), None);
        tokio::time::advance(FORGIVEN_INTERVAL).await;
        assert_eq!(codes.wait(ADDRESS), None, "one is free again");
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_code_counts_are_bounded_and_keep_a_flooding_address() {
        let codes = WrongCodes::default();
        for _ in 0..=WRONG_FREE {
            codes.count(ADDRESS);
        }
        for other in 0..2 * ADDRESSES_MAX as u64 {
            let mut key = [9; 16];
            key[..8].copy_from_slice(&other.to_le_bytes());
            codes.count(ThrottleKey(key));
        }
        assert_eq!(codes.lock().len(), ADDRESSES_MAX);
        assert!(codes.wait(ADDRESS).is_some());
    }
}
