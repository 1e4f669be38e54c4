//! Decides when the log is compacted, and how much of it is kept.
//!
//! Always true: only entries behind the purge fence are purged (everything up to it is synced
//! into the database), and the newest ones stay (see [`LogRetention`]), so that a follower
//! that was away for a while is served from the log instead of a snapshot. The log also stays
//! that goes on after a snapshot that is being sent, and what a follower lacks that is catching
//! up: as much as the disk has room for, so that a transfer of any length ends in time. Without
//! room it is up to [`HELD`] times what is kept. A witness keeps what any full member lacks
//! (`full_members.rs`).

use std::{collections::VecDeque, path::PathBuf, time::Duration};

use conclave_storage::disk_space;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::Instant;

use crate::{
    LogRetention,
    apply::Raft,
    log::{follower_progress::FollowerProgress, full_members::FullMembers, store::Log},
    snapshot::store::SnapshotStore,
};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Marks kept; each stands for at least [`MARK_BYTES`], or for the entries between two looks.
const MARKS_MAX: usize = 4096;
/// Bytes between two marks.
const MARK_BYTES: u64 = 256 * 1024;
/// How many times the bytes that are kept may be held back for followers that are catching up, if
/// the disk has little room.
const HELD: u64 = 4;
/// How many entries may be held back in any case: their places are in memory, 50 bytes each.
const HELD_ENTRIES: u64 = 4_000_000;
/// Part of the disk that has to be free for more: far above the mark at which the cluster refuses
/// to grow.
const ROOM_PART: u64 = 4;

/// Where the log stood when this many bytes had been appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    index: u64,
    bytes: u64,
}

pub(crate) struct Retention {
    raft: Raft,
    log: Log,
    limits: LogRetention,
    marks: VecDeque<Mark>,
    fenced: Mark,
    store: SnapshotStore,
    /// The directory of the log.
    data: PathBuf,
    follower_progress: FollowerProgress,
    full: FullMembers,
}

impl Retention {
    pub(crate) fn new(
        raft: Raft,
        log: Log,
        limits: LogRetention,
        store: SnapshotStore,
        data: PathBuf,
        full: FullMembers,
    ) -> Self {
        let index = raft.metrics().borrow_watched().last_log_index.unwrap_or(0);
        let start = Mark { index, bytes: 0 };
        Self {
            raft,
            log,
            limits,
            marks: VecDeque::from([start]),
            fenced: start,
            store,
            data,
            follower_progress: FollowerProgress::default(),
            full,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (last, snapshot, purged) = {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow_watched();
                (
                    metrics.last_log_index.unwrap_or(0),
                    metrics.snapshot.as_ref().map_or(0, |id| id.index()),
                    metrics.purged.as_ref().map_or(0, |id| id.index()),
                )
            };
            let now = Mark {
                index: last,
                bytes: self.log.appended_bytes(),
            };
            self.mark(now);
            let due = now.bytes - self.fenced.bytes >= self.limits.sync_bytes
                || now.index.saturating_sub(self.fenced.index) >= self.limits.sync_entries;
            if due {
                self.fenced = now;
                if self.raft.trigger().snapshot().await.is_err() {
                    return;
                }
            }
            let upto = self.held_back(purge_to(&self.limits, &self.marks, now).min(snapshot), now);
            let upto = upto.min(self.full.have_all());
            if upto > purged && self.raft.trigger().purge_log(upto).await.is_err() {
                return;
            }
        }
    }

    /// Returns up to where the log may be purged for followers that are catching up.
    fn held_back(&mut self, upto: u64, now: Mark) -> u64 {
        // A disk that does not say has none.
        let has_room = disk_space(&self.data).is_ok_and(has_room);
        let bound = purge_to(&held(&self.limits, has_room), &self.marks, now);
        let matched: Vec<(u64, u64)> = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let followers = metrics.replication.iter().flatten();
            followers
                .filter_map(|(node, matched)| Some((*node, matched.as_ref()?.index())))
                .collect()
        };
        let clock = Instant::now();
        let needed = self.follower_progress.needed_after(matched, clock);
        let upto = upto.min(needed.unwrap_or(u64::MAX).max(bound));
        self.store.purging(upto, bound, clock)
    }

    fn mark(&mut self, now: Mark) {
        if self
            .marks
            .back()
            .is_none_or(|last| now.bytes - last.bytes >= MARK_BYTES)
        {
            self.marks.push_back(now);
        }
        // What is far behind needs no mark but the newest such one.
        while self.marks.len() > MARKS_MAX
            || self.marks.get(1).is_some_and(|second| {
                now.bytes - second.bytes > self.limits.keep_bytes.saturating_mul(HELD)
            })
        {
            self.marks.pop_front();
        }
    }
}

/// Returns whether a disk with these bytes, free and in all, has room for a log that is held back.
fn has_room((free, all): (u64, u64)) -> bool {
    free >= all / ROOM_PART
}

/// Returns how much of the log may be held back.
fn held(limits: &LogRetention, has_room: bool) -> LogRetention {
    LogRetention {
        keep_bytes: match has_room {
            true => u64::MAX,
            false => limits.keep_bytes.saturating_mul(HELD),
        },
        keep_entries: HELD_ENTRIES,
        ..*limits
    }
}

/// Returns the entry up to which the log may go: far enough behind by bytes or by entries.
fn purge_to(limits: &LogRetention, marks: &VecDeque<Mark>, now: Mark) -> u64 {
    let by_entries = now.index.saturating_sub(limits.keep_entries);
    let far = |mark: &&Mark| now.bytes - mark.bytes > limits.keep_bytes;
    let by_bytes = marks.iter().rev().find(far).map_or(0, |mark| mark.index);
    by_entries.max(by_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_transfer_holds_the_log_while_the_disk_has_room() {
        let limits = LogRetention::default();
        let mark = |index, mib: u64| Mark {
            index,
            bytes: mib << 20,
        };
        // 100 GiB since the transfer began, in entries of 64 KiB.
        let marks = VecDeque::from([mark(0, 0), mark(1_000_000, 64_000)]);
        let now = mark(1_638_400, 102_400);
        let purge = |free| purge_to(&held(&limits, has_room((free, 1000))), &marks, now);
        assert_eq!(purge(250), 0, "what the receiver needs stays");
        assert_eq!(purge(249), 1_000_000, "the disk is not filled");
        let many = mark(HELD_ENTRIES + 9, 102_400);
        let bound = purge_to(&held(&limits, true), &marks, many);
        assert_eq!(bound, 9, "places in memory are bounded");
    }

    #[test]
    fn the_newest_bytes_and_entries_are_kept() {
        let mark = |index, mib: u64| Mark {
            index,
            bytes: mib << 20,
        };
        let marks = VecDeque::from([mark(10, 1), mark(20, 30), mark(30, 60)]);
        assert_eq!(purge_to(&LogRetention::default(), &marks, mark(40, 65)), 0);
        assert_eq!(purge_to(&LogRetention::default(), &marks, mark(40, 66)), 10);
        assert_eq!(
            purge_to(&LogRetention::default(), &marks, mark(40, 120)),
            20
        );
        assert_eq!(
            purge_to(&LogRetention::default(), &marks, mark(100_025, 65)),
            25
        );
    }
}
