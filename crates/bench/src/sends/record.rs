//! Remembers what was sent to some conversations, so that the check reads them against it.
//!
//! Of every conversation in the sample the record has the first messages of the measurement, up to
//! a bound; what comes later is only counted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::mode::Outcome;

/// Maximum number of conversations in the sample.
pub(super) const CONVERSATIONS_MAX: usize = 64;
/// Maximum number of messages in the record: about 200 MiB when the check reads them.
const MESSAGES_MAX: usize = 200_000;
/// Maximum number of bytes of their texts, which the check reads from every node.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// One message of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) began_us: u64,
    pub(super) ended_us: u64,
    /// `None` while it is under way.
    pub(super) outcome: Option<Outcome>,
}

/// What was sent to one conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) entries: Vec<Entry>,
    /// Number of the first message that had no place in the record.
    pub(super) cut_at: Option<u64>,
}

/// The place of a message in the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    sample: usize,
    entry: usize,
}

/// What was sent to the conversations in the sample.
#[derive(Debug)]
pub(super) struct Record {
    /// One conversation of so many is in the sample.
    stride: usize,
    sample: Vec<Mutex<Sent>>,
    entries_max: usize,
    began: Instant,
}

impl Record {
    /// Makes a record of some of these conversations, for messages of this mean size. Without
    /// `tells_apart` no text can be recognised, and nothing is recorded.
    pub(super) fn new(conversations: usize, bytes_mean: u64, tells_apart: bool) -> Self {
        let stride = conversations.div_ceil(CONVERSATIONS_MAX).max(1);
        let count = match tells_apart {
            true => conversations.div_ceil(stride),
            false => 0,
        };
        let of_bytes = usize::try_from(BYTES_MAX / bytes_mean.max(1)).unwrap_or(MESSAGES_MAX);
        Self {
            stride,
            sample: (0..count).map(|_| Mutex::default()).collect(),
            entries_max: MESSAGES_MAX.min(of_bytes) / count.max(1),
            began: Instant::now(),
        }
    }

    /// Returns the conversations in the sample.
    pub(super) fn conversations(&self) -> impl Iterator<Item = usize> + use<> {
        let stride = self.stride;
        (0..self.sample.len()).map(move |sample| sample * stride)
    }

    /// Returns the time of the record.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).expect("a run is short")
    }

    /// Records that a message is about to leave; `None` if the record does not take it.
    pub(super) fn begin(&self, conversation: usize, number: u64) -> Option<Place> {
        if !conversation.is_multiple_of(self.stride) {
            return None;
        }
        let sample = conversation / self.stride;
        let mut sent = self.sent(sample)?;
        if sent.entries.len() >= self.entries_max {
            sent.cut_at = Some(sent.cut_at.map_or(number, |cut| cut.min(number)));
            return None;
        }
        let now = self.now_us();
        sent.entries.push(Entry {
            number,
            began_us: now,
            ended_us: now,
            outcome: None,
        });
        let entry = sent.entries.len() - 1;
        Some(Place { sample, entry })
    }

    /// Records the outcome of a message.
    pub(super) fn end(&self, place: Place, outcome: &Outcome) {
        let now = self.now_us();
        if let Some(mut sent) = self.sent(place.sample)
            && let Some(entry) = sent.entries.get_mut(place.entry)
        {
            entry.ended_us = now;
            entry.outcome = Some(outcome.clone());
        }
    }

    /// Forgets the messages before the measurement, except those of unknown outcome: they may yet
    /// be stored. No message may be under way.
    pub(super) fn restart(&self) {
        for sample in 0..self.sample.len() {
            if let Some(mut sent) = self.sent(sample) {
                let is_unknown = |entry: &Entry| {
                    matches!(entry.outcome, Some(Outcome::Failed { certain: false, .. }))
                };
                sent.entries.retain(is_unknown);
                sent.cut_at = None;
            }
        }
    }

    /// Takes the record out, by conversation.
    pub(super) fn take(&self) -> BTreeMap<usize, Sent> {
        let conversations: Vec<usize> = self.conversations().collect();
        let taken = conversations
            .into_iter()
            .enumerate()
            .filter_map(|(sample, conversation)| {
                let mut sent = self.sent(sample)?;
                Some((conversation, std::mem::take(&mut *sent)))
            });
        taken.collect()
    }

    fn sent(&self, sample: usize) -> Option<MutexGuard<'_, Sent>> {
        // The list is sound after every statement that changes it.
        let sent = self.sample.get(sample)?;
        Some(sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown() -> Outcome {
        Outcome::Failed {
            reason: "no answer".to_owned(),
            certain: false,
        }
    }

    fn acked() -> Outcome {
        Outcome::Acked {
            sequence: 1,
            position: 1,
        }
    }

    #[tokio::test]
    async fn the_sample_is_spread_over_all_conversations() {
        for (all, sampled) in [(1, 1), (64, 64), (65, 33), (10_000, 64)] {
            let record = Record::new(all, 100, true);
            let conversations: Vec<usize> = record.conversations().collect();
            assert_eq!(conversations.len(), sampled, "of {all}");
            assert!(conversations.iter().all(|conversation| *conversation < all));
        }
        assert_eq!(Record::new(9, 100, false).conversations().count(), 0);
        assert!(Record::new(9, 100, false).begin(0, 1).is_none());
    }

    #[tokio::test]
    async fn a_full_record_says_where_it_ends() {
        let record = Record::new(64, 100, true);
        for number in 0..MESSAGES_MAX as u64 {
            record.begin(7, number);
        }
        let sent = &record.take()[&7];
        let taken = (MESSAGES_MAX / 64) as u64;
        assert_eq!(sent.entries.len() as u64, taken);
        assert_eq!(sent.cut_at, Some(taken));
    }

    #[tokio::test]
    async fn of_the_time_before_unknown_outcomes_are_kept() {
        let record = Record::new(1, 100, true);
        for (number, outcome) in [(1, acked()), (2, unknown()), (3, acked())] {
            let place = record.begin(0, number).unwrap();
            record.end(place, &outcome);
        }
        record.restart();
        let numbers = |sent: &Sent| sent.entries.iter().map(|e| e.number).collect::<Vec<_>>();
        record.begin(0, 4);
        let sent = record.take();
        assert_eq!(numbers(&sent[&0]), [2, 4]);
        assert_eq!(sent[&0].entries[1].outcome, None);
    }
}
