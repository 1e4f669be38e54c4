//! Counts how long something takes, in steps from a tenth of a millisecond to ten seconds.
//!
//! It knows no clock: the caller measures. Always true: noting a time takes no lock and no memory,
//! so it may stand on any path; reading the counts stops no writer, and each count is one that was
//! true a moment ago.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper ends of the steps; a time that is exactly at one belongs to it.
pub const LATENCY_BOUNDS: [Duration; 16] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// Number of steps: one for each bound, and one for longer times.
const STEPS: usize = LATENCY_BOUNDS.len() + 1;

/// The counts, which any thread may add to.
#[derive(Debug, Default)]
pub struct Latencies {
    steps: [AtomicU64; STEPS],
    sum_ns: AtomicU64,
}

/// The counts at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    /// How many times fell into each step of [`LATENCY_BOUNDS`]; the last: how many were longer.
    pub steps: [u64; STEPS],
    /// The sum of all times.
    pub sum: Duration,
}

impl Latencies {
    /// Notes that something took this long.
    pub fn note(&self, took: Duration) {
        let step = LATENCY_BOUNDS.partition_point(|bound| *bound < took);
        self.steps[step].fetch_add(1, Ordering::Relaxed);
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(took_ns, Ordering::Relaxed);
    }

    /// Returns the counts.
    #[must_use]
    pub fn counts(&self) -> LatencyCounts {
        let load = |step: usize| self.steps[step].load(Ordering::Relaxed);
        LatencyCounts {
            steps: std::array::from_fn(load),
            sum: Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)),
        }
    }
}

impl LatencyCounts {
    /// Returns how many times were noted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.steps.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_counted_in_the_step_that_ends_at_or_after_it() {
        let latencies = Latencies::default();
        assert_eq!(latencies.counts(), LatencyCounts::default());
        for took in [
            Duration::ZERO,
            LATENCY_BOUNDS[0],
            LATENCY_BOUNDS[0] + Duration::from_nanos(1),
            LATENCY_BOUNDS[15],
            Duration::from_secs(11),
        ] {
            latencies.note(took);
        }
        let counts = latencies.counts();
        assert_eq!((counts.steps[0], counts.steps[1]), (2, 1));
        assert_eq!((counts.steps[15], counts.steps[16]), (1, 1));
        assert_eq!(counts.count(), 5);
        assert_eq!(
            counts.sum,
            Duration::from_secs(21) + 2 * LATENCY_BOUNDS[0] + Duration::from_nanos(1)
        );
        assert!(LATENCY_BOUNDS.is_sorted());
    }
}
