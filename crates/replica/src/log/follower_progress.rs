//! Up to where those that follow this leader have the log, as long as they come further.
//!
//! A follower that has had nothing new for [`FORGET`] is away: the log does not wait for it, and
//! it is brought up to date by a snapshot if it comes back late.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// How long the log waits for a follower that comes no further: several times as long as it may
/// take to sync entries.
const FORGET: Duration = Duration::from_secs(3);

/// The progress of the followers of one leader. Their number is bounded by the membership.
#[derive(Debug, Default)]
pub(crate) struct FollowerProgress {
    followers: BTreeMap<u64, Follower>,
}

#[derive(Clone, Copy, Debug)]
struct Follower {
    matched: u64,
    moved_at: Instant,
}

impl FollowerProgress {
    /// Notes up to which entry every follower has the log; returns the least of those that are
    /// still advancing. What comes after it is still needed.
    pub(crate) fn needed_after(
        &mut self,
        matched: impl IntoIterator<Item = (u64, u64)>,
        now: Instant,
    ) -> Option<u64> {
        let before = std::mem::take(&mut self.followers);
        for (node, matched) in matched {
            let known = before.get(&node).filter(|known| known.matched == matched);
            let moved_at = known.map_or(now, |known| known.moved_at);
            self.followers.insert(node, Follower { matched, moved_at });
        }
        let coming =
            |follower: &&Follower| now.saturating_duration_since(follower.moved_at) < FORGET;
        let coming = self.followers.values().filter(coming);
        coming.map(|follower| follower.matched).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_kept_for_advancing_but_not_absent_followers() {
        let (mut follower_progress, now) = (FollowerProgress::default(), Instant::now());
        assert_eq!(
            follower_progress.needed_after([], now),
            None,
            "no node follows"
        );
        let both = [(2, 900), (3, 10)];
        assert_eq!(follower_progress.needed_after(both, now), Some(10));
        let later = now + FORGET / 2;
        assert_eq!(
            follower_progress.needed_after([(2, 950), (3, 20)], later),
            Some(20)
        );
        let later = now + FORGET;
        assert_eq!(
            follower_progress.needed_after([(2, 960), (3, 20)], later),
            Some(20)
        );
        let later = now + FORGET / 2 + FORGET;
        assert_eq!(
            follower_progress.needed_after([(2, 990), (3, 20)], later),
            Some(990)
        );
        assert_eq!(
            follower_progress.needed_after([(2, 990), (3, 21)], later),
            Some(21),
            "it is back"
        );
        assert_eq!(follower_progress.needed_after([(2, 990)], later), Some(990));
    }
}
