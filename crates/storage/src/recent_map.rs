//! A bounded map that forgets what was not used for the longest time.
//!
//! It has two generations. What is used moves to the young one; when that is full, it becomes the
//! old one, and what the old one still held is forgotten. So a use costs no list, and at least half
//! of the bound, the part that was used last, is always kept.
//!
//! A cache for what can be read again: it does not say what it forgets.

use std::{
    borrow::Borrow,
    collections::HashMap,
    fmt::{Debug, Formatter},
    hash::Hash,
    mem,
};

/// Entries by key; see the head of this file.
pub struct RecentMap<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// Maximum number of entries of each generation.
    generation_max: usize,
}

impl<K, V> Debug for RecentMap<K, V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let kept = self.young.len() + self.old.len();
        f.debug_struct("RecentMap").field("kept", &kept).finish()
    }
}

impl<K: Hash + Eq, V> RecentMap<K, V> {
    /// Makes an empty map for at most `max` entries; for two if `max` is less.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            generation_max: (max / 2).max(1),
        }
    }

    /// Returns the value of a key, which is used by that.
    pub fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        self.get_mut(key).cloned()
    }

    /// Returns the value of a key to be changed, which is used by that.
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Keeps a value, in the place of an earlier one of this key.
    pub fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.generation_max && !self.young.contains_key(&key) {
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        // An earlier value in the old generation is hidden by this one until both go.
        self.young.insert(key, value);
    }

    /// Returns how many entries are kept; one that was replaced counts twice until the earlier
    /// value is gone.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Returns whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets a key.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_in_use_stay_while_others_come_and_go() {
        let mut kept = RecentMap::new(100);
        for round in 0..1000 {
            for key in 0..40 {
                match kept.get(&key) {
                    Some(value) => assert_eq!(value, key),
                    None => {
                        assert_eq!(round, 0, "{key} was forgotten");
                        kept.insert(key, key);
                    }
                }
            }
            kept.insert(1000 + round, 0);
            assert!(kept.young.len() + kept.old.len() <= 100);
        }
        assert_eq!(kept.get(&1000), None);
    }

    proptest! {
        #[test]
        fn a_kept_value_is_the_last_one_written(
            steps in prop::collection::vec((0..4_u8, 0..9_u8, 0..9_u8), 1..200),
            max in 0..8_usize,
        ) {
            let (mut kept, mut model) = (RecentMap::new(max), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 => {
                        kept.insert(key, value);
                        model.insert(key, value);
                        prop_assert_eq!(kept.get(&key), Some(value));
                    }
                    1 => {
                        kept.remove(&key);
                        model.remove(&key);
                        prop_assert_eq!(kept.get(&key), None);
                    }
                    2 => {
                        if let Some(known) = kept.get_mut(&key) {
                            *known = value;
                            model.insert(key, value);
                        }
                    }
                    _ => {
                        let found = kept.get(&key);
                        prop_assert!(found.is_none() || found == model.get(&key).copied());
                    }
                }
            }
        }
    }
}
