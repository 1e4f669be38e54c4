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
pub(crate) struct LogOnce<K = u64>(Mutex<BTreeMap<K, Instant>>);

impl<K> Default for LogOnce<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord> LogOnce<K> {
    /// Returns whether the log has not named this key for a while, and records that it does so now.
    pub(crate) fn should_log(&self, key: K) -> bool {
        let now = Instant::now();
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() >= LINES_MAX {
            logged.retain(|_, at| now.duration_since(*at) < KNOWN);
        }
        let is_known = |at: &Instant| now.duration_since(*at) < KNOWN;
        if logged.get(&key).is_some_and(is_known) || logged.len() >= LINES_MAX {
            return false;
        }
        logged.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_key_is_logged_once_per_interval() {
        let logged = LogOnce::default();
        assert!(logged.should_log(1) && logged.should_log(2));
        assert!(!logged.should_log(1) && !logged.should_log(2));
        tokio::time::advance(KNOWN).await;
        assert!(logged.should_log(1));
        let others = 10..10 + 2 * LINES_MAX as u64;
        let lines = others.filter(|other| logged.should_log(*other)).count();
        assert_eq!(lines, LINES_MAX - 1);
        tokio::time::advance(KNOWN).await;
        assert!(logged.should_log(10_000));
        assert_eq!(logged.0.lock().unwrap().len(), 1);
    }
}
