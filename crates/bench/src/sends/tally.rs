//! Counts outcomes and latencies of messages while many tasks send.
//!
//! Always true: what is taken out is never counted again, and nothing is missed between two takes.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::mode::Outcome;
use crate::latencies;

/// Number of parts of the tally, so that tasks rarely wait for each other.
const PARTS: usize = 8;
/// Maximum number of reasons that are told apart; others count as [`OTHER`].
const REASONS_MAX: usize = 32;
/// Name of all reasons beyond the bound.
const OTHER: &str = "other reasons";
/// Maximum length of a reason in characters.
const REASON_CHARACTERS_MAX: usize = 120;

/// What has happened in some time.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    /// Latencies of acknowledged messages, from the time at which each was due.
    pub(super) latencies: Histogram<u64>,
    /// Delays between the time at which a message was due and the time at which it left.
    pub(super) late: Histogram<u64>,
    /// Messages that did not leave because too many were under way.
    pub(super) not_sent: u64,
    /// Messages without an acknowledgement, by reason.
    pub(super) failed: BTreeMap<String, u64>,
    /// Of these, the messages whose outcome is unknown.
    pub(super) unknown: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            latencies: latencies(),
            late: latencies(),
            not_sent: 0,
            failed: BTreeMap::new(),
            unknown: 0,
        }
    }
}

impl Counts {
    /// Returns the number of acknowledged messages.
    pub(super) fn acked(&self) -> u64 {
        self.latencies.len()
    }

    /// Returns the number of messages that left and were not acknowledged.
    pub(super) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Adds what happened in another time.
    pub(super) fn add(&mut self, other: &Self) {
        let bounds = "all have the same bounds";
        self.latencies.add(&other.latencies).expect(bounds);
        self.late.add(&other.late).expect(bounds);
        self.not_sent += other.not_sent;
        self.unknown += other.unknown;
        for (reason, count) in &other.failed {
            self.fail(reason, *count);
        }
    }

    fn fail(&mut self, reason: &str, count: u64) {
        let is_known = self.failed.contains_key(reason);
        let reason = match is_known || self.failed.len() < REASONS_MAX {
            true => reason.chars().take(REASON_CHARACTERS_MAX).collect(),
            false => OTHER.to_owned(),
        };
        *self.failed.entry(reason).or_default() += count;
    }

    /// Forgets everything, and keeps the memory.
    fn clear(&mut self) {
        self.latencies.reset();
        self.late.reset();
        self.not_sent = 0;
        self.unknown = 0;
        self.failed.clear();
    }
}

/// The counts of all tasks.
#[derive(Debug)]
pub(super) struct Tally {
    parts: [Mutex<Counts>; PARTS],
    began: Instant,
    pub(super) acked: AtomicU64,
    pub(super) unknown: AtomicU64,
    /// The greatest position in the log that a node has named.
    pub(super) position: AtomicU64,
    acked_last_us: AtomicU64,
    watches_gap: AtomicBool,
    gap_us: AtomicU64,
}

/// Times of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) due: Instant,
    pub(super) left: Instant,
    pub(super) ended: Instant,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            began: Instant::now(),
            acked: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            position: AtomicU64::new(0),
            acked_last_us: AtomicU64::new(0),
            watches_gap: AtomicBool::new(false),
            gap_us: AtomicU64::new(0),
        }
    }

    /// Counts the outcome of a message.
    pub(super) fn count(&self, number: u64, times: Times, outcome: &Outcome) {
        match outcome {
            Outcome::Acked { position, .. } => {
                self.acked.fetch_add(1, Ordering::Relaxed);
                self.position.fetch_max(*position, Ordering::Relaxed);
                self.note_ack(times.ended);
                let mut part = self.part(number);
                let took = times.ended.saturating_duration_since(times.due);
                part.latencies.saturating_record(micros(took));
                let late = times.left.saturating_duration_since(times.due);
                part.late.saturating_record(micros(late));
            }
            Outcome::Failed { reason, certain } => {
                let unknown = u64::from(!certain);
                self.unknown.fetch_add(unknown, Ordering::Relaxed);
                let mut part = self.part(number);
                part.unknown += unknown;
                part.fail(reason, 1);
            }
        }
    }

    /// Counts a message that could not leave.
    pub(super) fn count_not_sent(&self, number: u64) {
        self.part(number).not_sent += 1;
    }

    /// Takes out what was counted since the last time.
    pub(super) fn take(&self) -> Counts {
        let mut all = Counts::default();
        for number in 0..PARTS as u64 {
            let mut part = self.part(number);
            all.add(&part);
            part.clear();
        }
        all
    }

    /// Begins to watch for the longest time without an acknowledgement.
    pub(super) fn watch_gap(&self) {
        self.gap_us.store(0, Ordering::Relaxed);
        // What nodes acknowledged before belongs to no gap.
        self.note_ack(Instant::now());
        self.watches_gap.store(true, Ordering::Relaxed);
    }

    /// Returns the longest time without an acknowledgement since the watch began, the time since
    /// the last one included.
    pub(super) fn gap(&self) -> Duration {
        let last = self.acked_last_us.load(Ordering::Relaxed);
        let since = self.since_us(Instant::now()).saturating_sub(last);
        Duration::from_micros(self.gap_us.load(Ordering::Relaxed).max(since))
    }

    fn note_ack(&self, at: Instant) {
        let now = self.since_us(at);
        let before = self.acked_last_us.fetch_max(now, Ordering::Relaxed);
        if self.watches_gap.load(Ordering::Relaxed) {
            let gap = now.saturating_sub(before);
            self.gap_us.fetch_max(gap, Ordering::Relaxed);
        }
    }

    fn since_us(&self, at: Instant) -> u64 {
        micros(at.saturating_duration_since(self.began))
    }

    fn part(&self, number: u64) -> MutexGuard<'_, Counts> {
        let part = usize::try_from(number % PARTS as u64).expect("parts are few");
        // The counts are sound after every statement that changes them.
        self.parts[part]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(took_ms: u64) -> Times {
        let due = Instant::now();
        Times {
            due,
            left: due + Duration::from_millis(took_ms / 2),
            ended: due + Duration::from_millis(took_ms),
        }
    }

    fn acked() -> Outcome {
        Outcome::Acked {
            sequence: 1,
            position: 7,
        }
    }

    #[tokio::test]
    async fn what_is_taken_out_is_counted_once() {
        let tally = Tally::new();
        for number in 0..100 {
            tally.count(number, times(10), &acked());
        }
        tally.count_not_sent(3);
        let first = tally.take();
        assert_eq!((first.acked(), first.not_sent), (100, 1));
        assert!((9_900..10_100).contains(&first.latencies.value_at_quantile(0.5)));
        assert!((4_950..5_050).contains(&first.late.value_at_quantile(0.5)));
        assert_eq!((tally.take().acked(), tally.take().not_sent), (0, 0));
        assert_eq!(tally.acked.load(Ordering::Relaxed), 100);
        assert_eq!(tally.position.load(Ordering::Relaxed), 7);
    }

    #[tokio::test]
    async fn reasons_are_counted_apart_up_to_a_bound() {
        let tally = Tally::new();
        for number in 0..500 {
            let outcome = Outcome::Failed {
                reason: format!("reason {}", number / 5),
                certain: number % 2 == 0,
            };
            tally.count(number, times(1), &outcome);
        }
        let counts = tally.take();
        assert_eq!((counts.failures(), counts.unknown), (500, 250));
        assert!(counts.failed.len() <= REASONS_MAX + 1);
        assert_eq!(counts.failed["reason 0"], 5);
        assert!(counts.failed[OTHER] > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_is_the_longest_time_without_an_acknowledgement() {
        let tally = Tally::new();
        let wait = |ms| tokio::time::advance(Duration::from_millis(ms));
        tally.count(0, times(0), &acked());
        wait(5000).await;
        tally.watch_gap();
        wait(20).await;
        tally.count(1, times(0), &acked());
        wait(350).await;
        tally.count(2, times(0), &acked());
        wait(5).await;
        assert_eq!(tally.gap().as_millis(), 350);
        wait(900).await;
        assert_eq!(tally.gap().as_millis(), 905, "the gap that has not ended");
    }
}
