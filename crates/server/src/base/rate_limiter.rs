//! Measures how far a caller is ahead of the rate at which it may use something.
//!
//! Always true: unused capacity does not add up; a caller that rests is as free as a new one.

use std::time::Duration;

use tokio::time::Instant;

/// Time at which all use is paid back (the generic cell rate algorithm).
#[derive(Debug, Default)]
pub(crate) struct RateLimiter(Option<Instant>);

impl RateLimiter {
    /// Counts a use that is paid back after `cost`; all uses together are paid back after `most` at
    /// the latest, so that a flood is forgotten that long after its end.
    pub(crate) fn spend(&mut self, cost: Duration, most: Duration) {
        let now = Instant::now();
        let at = self.0.map_or(now, |at| at.max(now)) + cost;
        self.0 = Some(at.min(now + most));
    }

    /// Returns whether any use is still to be paid back.
    pub(crate) fn owes(&self) -> bool {
        !self.ahead(Duration::ZERO).is_zero()
    }

    /// Returns how long to wait until no more than `allowed` is to be paid back.
    pub(crate) fn ahead(&self, allowed: Duration) -> Duration {
        let free = Instant::now() + allowed;
        self.0
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(free))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn used_time_is_repaid_and_idle_time_does_not_accumulate() {
        let second = Duration::from_secs(1);
        let mut pace = RateLimiter::default();
        tokio::time::advance(60 * second).await;
        assert_eq!(pace.ahead(Duration::ZERO), Duration::ZERO);
        pace.spend(3 * second, 60 * second);
        pace.spend(second, 60 * second);
        assert_eq!(pace.ahead(Duration::ZERO), 4 * second);
        assert_eq!(pace.ahead(3 * second), second);
        tokio::time::advance(2 * second).await;
        assert_eq!(pace.ahead(Duration::ZERO), 2 * second);
        tokio::time::advance(60 * second).await;
        pace.spend(second, 60 * second);
        assert_eq!(pace.ahead(Duration::ZERO), second);
        (0..100).for_each(|_| pace.spend(second, 5 * second));
        assert_eq!(pace.ahead(Duration::ZERO), 5 * second);
    }
}
