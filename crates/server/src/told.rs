//! What the log was told already: whoever is refused goes on trying, and the log is for people.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// For how long something that was told is no news.
const KNOWN: Duration = Duration::from_secs(60);
/// Of how many that is remembered. At the bound all are forgotten: a line more is no harm.
const REMEMBERED_MAX: usize = 1024;

/// Whom the log was told of, and when.
#[derive(Debug)]
pub(crate) struct Told<K = u64>(Mutex<BTreeMap<K, Instant>>);

impl<K> Default for Told<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord> Told<K> {
    /// Whether the log was not told of this one for a while; now it is.
    pub(crate) fn is_news(&self, who: K) -> bool {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told
            .get(&who)
            .is_some_and(|at| now.duration_since(*at) < KNOWN)
        {
            return false;
        }
        if told.len() >= REMEMBERED_MAX {
            told.clear();
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
        for other in 10..10 + 2 * REMEMBERED_MAX as u64 {
            assert!(told.is_news(other));
        }
        assert!(told.0.lock().unwrap().len() <= REMEMBERED_MAX);
    }
}
