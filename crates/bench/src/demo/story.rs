//! What has happened in a demonstration, in order: for the list at the panel, and for the report.
//!
//! Bounded: the oldest entries are forgotten first, and the numbers of the others stay.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

/// Maximum number of entries that are kept.
const ENTRIES_MAX: usize = 1000;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Killed,
    Ended,
    Started,
    Paused,
    Resumed,
    CutOff,
    Joined,
    Slow,
    Fast,
    Skewed,
    SetRight,
    Leader,
    NoMajority,
    Majority,
    Load,
    Healed,
}

/// One thing that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) at_ms: u64,
    pub(super) kind: Kind,
    pub(super) node: Option<u64>,
    pub(super) text: String,
}

/// Everything that has happened.
#[derive(Debug, Default)]
pub(super) struct Story {
    entries: Mutex<(u64, VecDeque<Entry>)>,
}

impl Story {
    /// Adds what happened at this moment.
    pub(super) fn tell(&self, at_ms: u64, kind: Kind, node: Option<u64>, text: String) {
        let mut told = self.told();
        let (next, entries) = &mut *told;
        if entries.len() == ENTRIES_MAX {
            entries.pop_front();
        }
        *next += 1;
        entries.push_back(Entry {
            number: *next,
            at_ms,
            kind,
            node,
            text,
        });
    }

    /// Returns at most `max` entries behind this number, the oldest first.
    pub(super) fn after(&self, number: u64, max: usize) -> Vec<Entry> {
        let told = self.told();
        let later = told.1.iter().filter(|entry| entry.number > number);
        later.take(max).cloned().collect()
    }

    fn told(&self) -> MutexGuard<'_, (u64, VecDeque<Entry>)> {
        // The value is sound after every statement that changes it.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_are_forgotten_and_numbers_stay() {
        let story = Story::default();
        for at_ms in 0..ENTRIES_MAX as u64 + 2 {
            story.tell(at_ms, Kind::Load, None, String::new());
        }
        let first = &story.after(0, 1)[0];
        assert_eq!((first.number, first.at_ms), (3, 2));
        assert_eq!(story.after(ENTRIES_MAX as u64, 10).len(), 2);
        assert_eq!(story.after(u64::MAX, 10), []);
    }
}
