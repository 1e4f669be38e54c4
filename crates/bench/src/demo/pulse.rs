//! What people who watch a demonstration see of its load: how many messages, how fast, and for how
//! long nothing was acknowledged.
//!
//! Always true: memory is bounded. The oldest beats and pauses are forgotten first, and counted.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

/// Length of a beat: the time of one point of the chart.
pub(super) const BEAT_MS: u64 = 200;
/// Maximum number of beats that are kept: one hour.
const BEATS_MAX: usize = 18_000;
/// Maximum number of latencies of one beat for its median.
const LATENCIES_MAX: usize = 512;
/// Without an acknowledgement for this long, the cluster takes no messages.
const PAUSE_MS: u64 = 250;
/// Maximum number of pauses that are kept.
const PAUSES_MAX: usize = 200;
/// Maximum number of messages per second that a person at the panel may ask for.
pub(super) const RATE_MAX: u64 = 400;
/// Maximum number of messages if a person sets the load: more would fill the record of the run, and
/// then nothing would be proven.
const SENDS_MAX: u64 = 500_000;

/// The load of a demonstration as it is seen.
#[derive(Debug)]
pub(super) struct Pulse {
    started: Instant,
    is_on: AtomicBool,
    /// Messages per second; 0: each person waits for a while after each answer.
    rate: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    counts: Counts,
    /// When each message that has no answer yet was sent.
    under_way: BTreeMap<u64, u64>,
    beats: VecDeque<Beat>,
    forgotten: u64,
    /// Latencies of the beat that is not over.
    latencies: Vec<u64>,
    acked: u64,
    worst_us: u64,
    /// Since when nothing was acknowledged although there was something to acknowledge.
    silent_since_us: Option<u64>,
    pauses: Vec<Pause>,
}

/// Number of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) acked: u64,
    pub(super) under_way: u64,
    /// Messages whose outcome no answer has told.
    pub(super) unknown: u64,
    pub(super) refused: u64,
}

/// A point of the chart: acknowledged messages, and their median and longest latency. A message
/// that still waits counts with the time that it has waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Beat(pub(super) u64, pub(super) u64, pub(super) u64);

/// A time in which nothing was acknowledged although messages were under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Pause {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
}

/// The answer to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Acked,
    Refused,
    Unknown,
}

impl Pulse {
    /// Begins with a load of so many messages per second.
    pub(super) fn new(rate: u64) -> Self {
        Self {
            started: Instant::now(),
            is_on: AtomicBool::new(true),
            rate: AtomicU64::new(rate),
            inner: Mutex::default(),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).expect("a run is short")
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    /// Returns whether the record takes no more messages.
    pub(super) fn is_full(&self) -> bool {
        self.inner().counts.sent >= SENDS_MAX
    }

    /// Sets whether messages are sent, and how many per second.
    pub(super) fn set_load(&self, is_on: bool, rate: u64) {
        self.is_on.store(is_on, Ordering::Relaxed);
        self.rate.store(rate.clamp(1, RATE_MAX), Ordering::Relaxed);
    }

    pub(super) fn sent(&self, op: u64) {
        self.sent_at(op, self.now_us());
    }

    pub(super) fn answered(&self, op: u64, answer: Answer) {
        self.answered_at(op, answer, self.now_us());
    }

    /// Ends the beats that are over.
    pub(super) fn tick(&self) {
        self.tick_at(self.now_us());
    }

    pub(super) fn counts(&self) -> Counts {
        let inner = self.inner();
        Counts {
            under_way: inner.under_way.len() as u64,
            ..inner.counts
        }
    }

    /// Returns at most `max` beats from this one on, and the number of the first of them.
    pub(super) fn beats(&self, from: u64, max: usize) -> (u64, Vec<Beat>) {
        let inner = self.inner();
        let end = inner.forgotten + inner.beats.len() as u64;
        let first = from.clamp(inner.forgotten, end);
        let skipped = usize::try_from(first - inner.forgotten).unwrap_or(usize::MAX);
        let beats = inner.beats.iter().skip(skipped).take(max).copied();
        (first, beats.collect())
    }

    /// Returns the pauses, also the one that is not over.
    pub(super) fn pauses(&self) -> Vec<Pause> {
        let (inner, now_us) = (self.inner(), self.now_us());
        let open = inner.open_pause(now_us);
        inner.pauses.iter().copied().chain(open).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // The value is sound after every statement that changes it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent_at(&self, op: u64, at_us: u64) {
        let mut inner = self.inner();
        inner.close(at_us);
        inner.counts.sent += 1;
        inner.under_way.insert(op, at_us);
        inner.silent_since_us.get_or_insert(at_us);
    }

    fn answered_at(&self, op: u64, answer: Answer, at_us: u64) {
        let mut inner = self.inner();
        inner.close(at_us);
        let sent_us = inner.under_way.remove(&op).unwrap_or(at_us);
        match answer {
            Answer::Refused => inner.counts.refused += 1,
            Answer::Unknown => inner.counts.unknown += 1,
            Answer::Acked => {
                inner.counts.acked += 1;
                inner.acked += 1;
                let latency_us = at_us.saturating_sub(sent_us);
                inner.worst_us = inner.worst_us.max(latency_us);
                if inner.latencies.len() < LATENCIES_MAX {
                    inner.latencies.push(latency_us);
                }
                let pause = inner.open_pause(at_us);
                if inner.pauses.len() < PAUSES_MAX {
                    inner.pauses.extend(pause);
                }
                inner.silent_since_us = None;
            }
        }
        inner.silent_since_us = match inner.under_way.is_empty() {
            true => None,
            false => inner.silent_since_us.or(Some(at_us)),
        };
    }

    fn tick_at(&self, now_us: u64) {
        self.inner().close(now_us);
    }
}

impl Inner {
    /// Ends the beats before this moment.
    fn close(&mut self, now_us: u64) {
        let due = now_us / 1000 / BEAT_MS;
        while self.forgotten + (self.beats.len() as u64) < due {
            let end_us = (self.forgotten + self.beats.len() as u64 + 1) * BEAT_MS * 1000;
            let waiting = self.under_way.values().copied().min();
            let waited_us = waiting.map_or(0, |since_us| end_us.saturating_sub(since_us));
            self.latencies.sort_unstable();
            let median_us = self.latencies.get(self.latencies.len() / 2);
            let beat = Beat(
                self.acked,
                median_us.copied().unwrap_or(0),
                self.worst_us.max(waited_us),
            );
            self.latencies.clear();
            (self.acked, self.worst_us) = (0, 0);
            if self.beats.len() == BEATS_MAX {
                self.beats.pop_front();
                self.forgotten += 1;
            }
            self.beats.push_back(beat);
        }
    }

    fn open_pause(&self, now_us: u64) -> Option<Pause> {
        let (from_ms, to_ms) = (self.silent_since_us? / 1000, now_us / 1000);
        (to_ms.saturating_sub(from_ms) >= PAUSE_MS).then_some(Pause { from_ms, to_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    #[tokio::test]
    async fn a_message_that_waits_is_seen_before_its_answer() {
        let pulse = Pulse::new(0);
        pulse.sent_at(1, 10 * MS);
        pulse.answered_at(1, Answer::Acked, 15 * MS);
        pulse.sent_at(2, 20 * MS);
        pulse.tick_at(650 * MS);
        let beats = pulse.beats(0, 10);
        // The second message has waited until the end of each beat.
        let expected = [
            Beat(1, 5 * MS, 180 * MS),
            Beat(0, 0, 380 * MS),
            Beat(0, 0, 580 * MS),
        ];
        assert_eq!(beats, (0, expected.to_vec()));
        assert_eq!(pulse.beats(2, 10), (2, vec![expected[2]]));
        assert_eq!(pulse.beats(99, 10), (3, vec![]));
        assert_eq!(pulse.beats(0, 1).1.len(), 1);
        let counts = pulse.counts();
        assert_eq!((counts.sent, counts.acked, counts.under_way), (2, 1, 1));
    }

    #[tokio::test]
    async fn a_pause_lasts_from_the_first_silence_to_the_next_answer() {
        let pulse = Pulse::new(0);
        pulse.sent_at(1, 0);
        pulse.answered_at(1, Answer::Acked, 100 * MS);
        // Nothing is under way: this is no pause.
        pulse.sent_at(2, 5000 * MS);
        pulse.sent_at(3, 5100 * MS);
        pulse.answered_at(2, Answer::Unknown, 5200 * MS);
        pulse.answered_at(3, Answer::Acked, 5700 * MS);
        let pause = Pause {
            from_ms: 5000,
            to_ms: 5700,
        };
        assert_eq!(pulse.pauses(), [pause]);
        assert_eq!(pulse.counts().unknown, 1);
    }

    #[tokio::test]
    async fn no_more_than_an_hour_of_beats_is_kept() {
        let pulse = Pulse::new(0);
        pulse.tick_at((BEATS_MAX as u64 + 5) * BEAT_MS * MS);
        let (first, beats) = pulse.beats(0, usize::MAX);
        assert_eq!((first, beats.len()), (5, BEATS_MAX));
        pulse.set_load(false, 1_000_000);
        assert_eq!((pulse.is_on(), pulse.rate()), (false, RATE_MAX));
    }
}
