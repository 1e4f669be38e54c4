//! A bounded map of what is known of callers.
//!
//! Always true: it holds no more entries than its bound. At the bound, each new caller looks at a
//! few entries, in turn, and removes those that say no more than a new entry would; if there are
//! none, the new caller is not stored, and the calling code decides what that means. So a call
//! costs no more with a full map than with an empty one.

use std::{collections::BTreeMap, ops::Bound};

/// Entries that a new caller looks at for one that can go.
const LOOKED_AT: usize = 64;

/// Entries by caller: an account or an address.
pub(crate) struct BoundedMap<K, V> {
    of: BTreeMap<K, V>,
    max: usize,
    /// The entry that was looked at last.
    hand: Option<K>,
}

impl<K: Ord + Copy, V> BoundedMap<K, V> {
    /// Makes an empty map for at most `max` entries.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            of: BTreeMap::new(),
            max,
            hand: None,
        }
    }

    /// Returns the entry of a caller, perhaps a new one; `None` if there is no room for it. At the
    /// bound, looks for entries for which `is_needed` is false.
    pub(crate) fn entry(
        &mut self,
        key: K,
        is_needed: impl Fn(&V) -> bool,
        new: impl FnOnce() -> V,
    ) -> Option<&mut V> {
        if self.of.len() >= self.max && !self.of.contains_key(&key) {
            self.sweep(is_needed);
            if self.of.len() >= self.max {
                return None;
            }
        }
        Some(self.of.entry(key).or_insert_with(new))
    }

    /// Removes what is not needed among the entries after the hand.
    fn sweep(&mut self, is_needed: impl Fn(&V) -> bool) {
        let after = self.hand.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.of.range((after, Bound::Unbounded));
        let looked_at: Vec<(K, bool)> = behind
            .chain(&self.of)
            .take(LOOKED_AT.min(self.of.len()))
            .map(|(key, value)| (*key, is_needed(value)))
            .collect();
        self.hand = looked_at.last().map(|(key, _)| *key);
        for (key, is_needed) in looked_at {
            if !is_needed {
                self.of.remove(&key);
            }
        }
    }

    /// Returns how many entries there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_bound_only_unneeded_entries_are_evicted() {
        let mut kept = BoundedMap::new(3);
        let is_needed = |value: &u32| *value > 0;
        for key in 1..=3 {
            *kept.entry(key, is_needed, || 0).unwrap() = key - 1;
        }
        // An existing entry needs no room.
        assert_eq!(kept.entry(1, is_needed, || 9), Some(&mut 0));
        assert_eq!(kept.entry(4, is_needed, || 9), Some(&mut 9));
        assert_eq!(kept.len(), 3);
        // All entries are needed.
        assert_eq!(kept.entry(5, is_needed, || 9), None);
        assert_eq!(kept.entry(3, is_needed, || 9), Some(&mut 2));
        assert_eq!(kept.len(), 3);
    }

    #[test]
    fn a_full_map_looks_at_few_entries_and_finds_each_in_the_end() {
        let max = 10 * LOOKED_AT;
        let mut kept = BoundedMap::new(max);
        for key in 0..max {
            *kept.entry(key, |_| true, || 0).unwrap() = key;
        }
        let looks = std::cell::Cell::new(0);
        let is_needed = |value: &usize| {
            looks.set(looks.get() + 1);
            *value != max / 2
        };
        let found = (0..=10).find(|_| kept.entry(max + 1, is_needed, || 0).is_some());
        assert!(found.is_some_and(|found| found > 0), "{found:?}");
        assert_eq!(looks.get(), LOOKED_AT * (found.unwrap() + 1));
        assert_eq!(kept.len(), max);
    }
}
