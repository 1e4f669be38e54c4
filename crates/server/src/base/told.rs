//! Remembers what the log already shows: a caller that is refused goes on trying, and the log is
//! for people.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Time for which something that was logged is no news.
const KNOWN: Duration = Duration::from_secs(60);
/// Maximum number of lines in [`KNOWN`], whatever they are about: callers choose addresses and
/// reasons, and the log is on a disk.
const LINES_MAX: usize = 256;

/// What the log has named, and when.
#[derive(Debug)]
pub(crate) struct Told<K = u64>(Mutex<BTreeMap<K, Instant>>);

impl<K> Default for Told<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord> Told<K> {
    /// Returns whether the log has not named this key for a while, and records that it does so now.
    pub(crate) fn is_news(&self, who: K) -> bool {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= LINES_MAX {
            told.retain(|_, at| now.duration_since(*at) < KNOWN);
        }
        let is_known = |at: &Instant| now.duration_since(*at) < KNOWN;
        if told.get(&who).is_some_and(is_known) || told.len() >= LINES_MAX {
            return false;
        }
        told.insert(who, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_is_told_once_in_a_while() {
        let told = Told::default();
        assert!(told.is_news(1) && told.is_news(2));
        assert!(!told.is_news(1) && !told.is_news(2));
        tokio::time::advance(KNOWN).await;
        assert!(told.is_news(1));
        let others = 10..10 + 2 * LINES_MAX as u64;
        let lines = others.filter(|other| told.is_news(*other)).count();
        assert_eq!(lines, LINES_MAX - 1);
        tokio::time::advance(KNOWN).await;
        assert!(told.is_news(10_000));
        assert_eq!(told.0.lock().unwrap().len(), 1);
    }
}
