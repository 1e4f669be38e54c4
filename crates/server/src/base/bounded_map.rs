//! A bounded map of what is known of callers.
//!
//! Always true: it holds no more entries than its bound. At the bound, entries that say no more
//! than a new entry would are removed; if there are none, a new caller is not stored, and the
//! calling code decides what that means.

use std::collections::BTreeMap;

/// Entries by caller: an account or an address.
pub(crate) struct BoundedMap<K, V> {
    of: BTreeMap<K, V>,
    max: usize,
}

impl<K: Ord, V> BoundedMap<K, V> {
    /// Makes an empty map for at most `max` entries.
    pub(crate) fn new(max: usize) -> Self {
        let of = BTreeMap::new();
        Self { of, max }
    }

    /// Returns the entry of a caller, perhaps a new one; `None` if there is no room for it. At the
    /// bound, removes the entries for which `is_needed` is false.
    pub(crate) fn entry(
        &mut self,
        key: K,
        is_needed: impl Fn(&V) -> bool,
        new: impl FnOnce() -> V,
    ) -> Option<&mut V> {
        if self.of.len() >= self.max && !self.of.contains_key(&key) {
            self.of.retain(|_, value| is_needed(value));
            if self.of.len() >= self.max {
                return None;
            }
        }
        Some(self.of.entry(key).or_insert_with(new))
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
}
