//! Limits how fast this node sends snapshots, all of them together, and how fast a backup.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// How far a transfer may fall behind its rate and still make up for it.
const BEHIND: Duration = Duration::from_millis(20);

/// A rate in bytes per second.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    /// Rate; 0: no limit.
    bytes_per_second: u64,
    /// Time at which the next bytes may go.
    due: Mutex<Instant>,
}

impl RateLimiter {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            due: Mutex::new(Instant::now()),
        }
    }

    /// Returns how many bytes should go at once: an eighth of a second's.
    pub(crate) fn step(&self, least: usize, most: usize) -> usize {
        match self.bytes_per_second {
            0 => most,
            bytes => usize::try_from(bytes / 8).map_or(most, |step| step.clamp(least, most)),
        }
    }

    /// Waits until so many bytes may go.
    pub(crate) async fn take(&self, bytes: usize) {
        if self.bytes_per_second == 0 {
            return;
        }
        let due = {
            let now = Instant::now();
            // One value is written at once, so it is valid even if another thread has panicked.
            let mut next = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let due = (*next).max(now.checked_sub(BEHIND).unwrap_or(now));
            let seconds = bytes as f64 / self.bytes_per_second as f64;
            *next = due + Duration::from_secs_f64(seconds);
            due
        };
        sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_transfers_share_one_rate_limit_and_0_is_unlimited() {
        let (pace, began) = (RateLimiter::new(1000), Instant::now());
        let transfer = async || {
            for _ in 0..50 {
                pace.take(100).await;
            }
        };
        tokio::join!(transfer(), transfer());
        // Twice 5000 bytes, of which the last need no wait.
        let elapsed = began.elapsed();
        assert!(elapsed >= Duration::from_millis(9800), "{elapsed:?}");
        assert!(elapsed <= Duration::from_millis(10_000), "{elapsed:?}");
        let (free, began) = (RateLimiter::new(0), Instant::now());
        free.take(usize::MAX).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[test]
    fn a_slow_pace_goes_in_small_steps() {
        assert_eq!(RateLimiter::new(0).step(10, 100), 100);
        assert_eq!(RateLimiter::new(400).step(10, 100), 50);
        assert_eq!(RateLimiter::new(1).step(10, 100), 10);
        assert_eq!(RateLimiter::new(u64::MAX).step(10, 100), 100);
    }
}
