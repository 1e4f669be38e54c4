//! Snapshot files that this node has made, kept for as long as somebody may go on with them.
//!
//! Making one reads the whole state, and a receiver that was interrupted can only go on with the
//! same file. So the newest one is kept: until it is too old for the log, until nobody has asked
//! for it for [`KEEP`], or until a receiver found it damaged.
//!
//! Always true: the entry after a file that is given out is still in the log. While one is kept
//! the log is not purged past what the engine was told of it, up to a bound; beyond the bound the
//! file goes, not the bound.

use std::{
    error::Error as _,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_storage::state::{Applied, Reader, SnapshotError, SnapshotFile};
use tokio::{task::spawn_blocking, time::Instant};

/// How long a file is kept that nobody asks for.
const KEEP: Duration = Duration::from_secs(600);
/// How long the log waits for a receiver that has all of a file, and is about to follow. Once it
/// does, it is waited for as for any other follower.
const FOLLOW: Duration = Duration::from_secs(10);

/// Makes the names of files of one process different.
static FILES: AtomicU64 = AtomicU64::new(0);

/// A file and what is in it; the file goes with the last who holds this.
#[derive(Debug)]
pub(crate) struct Made {
    /// What it holds.
    pub(crate) applied: Applied,
    /// Its place in the log.
    pub(crate) index: u64,
    /// Where it is.
    pub(crate) file: PathBuf,
    /// Its length.
    pub(crate) bytes: u64,
    /// BLAKE3 of its bytes.
    pub(crate) blake3: [u8; 32],
}

impl Made {
    fn new(file: PathBuf, made: SnapshotFile) -> io::Result<Self> {
        // It exists already, so it must be owned before anything can fail.
        let mut owned = Self {
            applied: made.applied,
            index: 0,
            file,
            bytes: made.bytes,
            blake3: made.blake3,
        };
        let last = owned.applied.last;
        owned.index = last
            .ok_or_else(|| io::Error::other("nothing is applied yet"))?
            .index;
        Ok(owned)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.file) {
            tracing::debug!(%error, file = %self.file.display(), "snapshot file not removed");
        }
    }
}

/// What the mutex guards.
#[derive(Default)]
struct Shelf {
    kept: Option<Kept>,
    /// The entry that a file holds at least which is being made.
    making: Option<u64>,
    /// Why none could be made at the last attempt, so that the log says it once.
    trouble: Option<String>,
    /// Everything up to here may be gone from the log.
    purged: u64,
}

struct Kept {
    made: Arc<Made>,
    /// The least entry that the engine was told to be the last of it. A file may hold more, and
    /// the engine would have the receiver go on from here.
    told: u64,
    asked_at: Instant,
    /// When a receiver has got all of it, if nobody has asked for it since.
    received_at: Option<Instant>,
}

/// The files of one node. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(crate) struct Offers {
    directory: Arc<Path>,
    shelf: Arc<Mutex<Shelf>>,
    /// Held while a file is being made: who waits for it takes the same one.
    making: Arc<tokio::sync::Mutex<()>>,
}

impl Offers {
    /// Keeps its files in `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.into(),
            shelf: Arc::default(),
            making: Arc::default(),
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // A shelf is sound after every statement that changes it.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file that is kept, if the log goes on after it.
    pub(crate) fn kept(&self) -> Option<Arc<Made>> {
        let mut shelf = self.shelf();
        let purged = shelf.purged;
        let kept = shelf.kept.as_mut()?;
        if kept.made.index < purged {
            return None;
        }
        kept.asked_at = Instant::now();
        kept.received_at = None;
        Some(kept.made.clone())
    }

    /// The file that is kept if it holds entry `index`, else a new one.
    ///
    /// # Errors
    /// If it cannot be written; trying again is safe.
    pub(crate) async fn take(&self, reader: &Reader, index: u64) -> io::Result<Arc<Made>> {
        let _turn = self.making.lock().await;
        if let Some(made) = self.kept().filter(|kept| kept.index >= index) {
            if let Some(kept) = &mut self.shelf().kept {
                kept.told = kept.told.min(index);
            }
            return Ok(made);
        }
        // Its place may be needed for the new one.
        self.forget();
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let file = self.directory.join(format!("send-{number}.db"));
        let (target, reader) = (file.clone(), reader.clone());
        let began = Instant::now();
        let _held = self.hold(index);
        let made = spawn_blocking(move || reader.snapshot_to(&target))
            .await
            .map_err(io::Error::other)?;
        self.note(made.as_ref().err());
        let made = made.map_err(io::Error::other)?;
        let made = Arc::new(Made::new(file, made)?);
        let elapsed_ms = began.elapsed().as_millis();
        tracing::info!(
            log_index = made.index,
            bytes = made.bytes,
            elapsed_ms,
            "snapshot made"
        );
        self.shelf().kept = Some(Kept {
            made: made.clone(),
            told: index,
            asked_at: Instant::now(),
            received_at: None,
        });
        Ok(made)
    }

    /// Keeps nothing: the log is another one, or the file is worth nothing.
    pub(crate) fn forget(&self) {
        let kept = self.shelf().kept.take();
        // Removing a large file takes its time; the shelf is free meanwhile.
        drop(kept);
    }

    /// Says once why no file can be made.
    fn note(&self, error: Option<&SnapshotError>) {
        let why = error.map(|error| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        });
        let mut shelf = self.shelf();
        if let Some(error) = why.as_ref().filter(|_| shelf.trouble != why) {
            tracing::warn!(error, "a snapshot cannot be made; it is tried again");
        }
        shelf.trouble = why;
    }

    /// The log waits from entry `index` on, until this is dropped.
    fn hold(&self, index: u64) -> Making<'_> {
        self.shelf().making = Some(index);
        Making(self)
    }

    /// A receiver has all of it. Others may still ask for it, but soon the log waits no more.
    pub(crate) fn received(&self) {
        if let Some(kept) = &mut self.shelf().kept {
            kept.received_at = Some(Instant::now());
        }
    }

    /// Is told that the log is about to be purged up to entry `upto`; gives up to where it may be.
    /// `bound` is how far it may be held back.
    pub(crate) fn purging(&self, upto: u64, bound: u64, now: Instant) -> u64 {
        let mut shelf = self.shelf();
        let held = shelf.kept.as_ref().filter(|kept| kept.holds(now));
        let held = held.map(|kept| kept.told).into_iter();
        let held = held.chain(shelf.making).min();
        let allowed = upto.min(held.unwrap_or(u64::MAX).max(bound));
        shelf.purged = shelf.purged.max(allowed);
        let stale = |kept: &mut Kept| {
            let age = now.saturating_duration_since(kept.asked_at);
            kept.made.index < allowed || age >= KEEP && !kept.is_in_use()
        };
        let gone = shelf.kept.take_if(stale);
        drop(shelf);
        drop(gone);
        allowed
    }
}

impl Kept {
    /// Whether the log waits for it.
    fn holds(&self, now: Instant) -> bool {
        self.received_at
            .is_none_or(|received| now.saturating_duration_since(received) < FOLLOW)
    }

    /// Whether a transfer is under way.
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.made) > 1
    }
}

/// A file is being made.
struct Making<'a>(&'a Offers);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.shelf().making = None;
    }
}

#[cfg(test)]
mod tests {
    use conclave_storage::state::{Options, State};

    use super::*;
    use crate::LogId;

    /// A state in which so many entries are applied, and its offers.
    fn state(directory: &Path, entries: u64) -> (State, Offers) {
        let mut state = State::open(directory, Options::default()).unwrap();
        apply(&mut state, 1, entries);
        let snapshots = directory.join("snapshots");
        std::fs::create_dir(&snapshots).unwrap();
        (state, Offers::new(&snapshots))
    }

    fn apply(state: &mut State, first: u64, last: u64) {
        let entry = |index| conclave_storage::state::Entry {
            id: LogId {
                term: 1,
                node: 1,
                index,
            },
            payload: conclave_storage::state::Payload::Blank,
        };
        let entries: Vec<_> = (first..=last).map(entry).collect();
        state.apply(&entries).unwrap();
    }

    fn files(offers: &Offers) -> usize {
        std::fs::read_dir(&offers.directory).unwrap().count()
    }

    #[tokio::test]
    async fn a_second_attempt_gets_the_same_file_while_the_log_goes_on_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let (mut state, offers) = state(directory.path(), 10);
        let first = offers.take(&state.reader(), 5).await.unwrap();
        assert_eq!((first.index, files(&offers)), (10, 1));
        apply(&mut state, 11, 20);
        let again = offers.take(&state.reader(), 10).await.unwrap();
        assert_eq!(again.file, first.file);
        // What the receiver is to have at least is not in it.
        let newer = offers.take(&state.reader(), 11).await.unwrap();
        assert_eq!((newer.index, files(&offers)), (20, 2));
        drop((first, again));
        assert_eq!(files(&offers), 1, "the old one went with its last user");
    }

    #[tokio::test]
    async fn the_log_waits_for_a_file_up_to_a_bound_and_then_the_file_goes() {
        let directory = tempfile::tempdir().unwrap();
        let (state, offers) = state(directory.path(), 10);
        let now = Instant::now();
        assert_eq!(offers.purging(7, 0, now), 7, "nobody is in the way");
        drop(offers.take(&state.reader(), 8).await.unwrap());
        assert_eq!(
            offers.purging(50, 7, now),
            8,
            "held back from what was told"
        );
        drop(offers.take(&state.reader(), 10).await.unwrap());
        assert_eq!(offers.purging(50, 7, now), 8, "the first may still be told");
        offers.received();
        assert!(offers.kept().is_some(), "the log still goes on after it");
        assert_eq!(offers.purging(50, 9, now), 9, "somebody has asked again");
        assert_eq!(offers.purging(50, 30, now), 30, "the bound");
        assert!(offers.kept().is_none());
        assert_eq!(files(&offers), 0);
        assert_eq!(offers.purging(50, 30, now), 50);
    }

    #[tokio::test]
    async fn the_log_waits_for_a_file_that_was_received_until_its_receiver_follows() {
        let directory = tempfile::tempdir().unwrap();
        let (state, offers) = state(directory.path(), 10);
        drop(offers.take(&state.reader(), 10).await.unwrap());
        offers.received();
        assert_eq!(offers.purging(50, 0, Instant::now()), 10);
        assert_eq!(offers.purging(50, 0, Instant::now() + FOLLOW), 50);
        assert_eq!(files(&offers), 0);
    }

    #[tokio::test]
    async fn the_log_waits_for_a_file_that_is_being_made() {
        let directory = tempfile::tempdir().unwrap();
        let (_state, offers) = state(directory.path(), 10);
        let making = offers.hold(7);
        assert_eq!(offers.purging(50, 0, Instant::now()), 7);
        assert_eq!(offers.purging(50, 9, Instant::now()), 9, "the bound");
        drop(making);
        assert_eq!(offers.purging(50, 9, Instant::now()), 50);
    }

    #[tokio::test]
    async fn a_file_that_nobody_asks_for_goes_after_a_time_but_not_from_under_a_transfer() {
        let directory = tempfile::tempdir().unwrap();
        let (state, offers) = state(directory.path(), 10);
        let used = offers.take(&state.reader(), 0).await.unwrap();
        offers.purging(0, 0, Instant::now() + KEEP);
        assert_eq!(offers.kept().unwrap().file, used.file);
        drop(used);
        offers.purging(0, 0, Instant::now());
        assert!(offers.kept().is_some(), "somebody has asked just now");
        offers.purging(0, 0, Instant::now() + KEEP);
        assert!(offers.kept().is_none());
        assert_eq!(files(&offers), 0);
    }

    #[tokio::test]
    async fn a_state_without_entries_makes_no_offer_and_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let (state, offers) = state(directory.path(), 0);
        assert!(offers.take(&state.reader(), 0).await.is_err());
        assert_eq!(files(&offers), 0);
    }
}
