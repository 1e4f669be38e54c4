//! Snapshot files that this node has made, kept for as long as a receiver may go on with them.
//!
//! Making one reads the whole state, and a receiver that was interrupted can only go on with the
//! same file. So the newest one is kept: until it is too old for the log, until no receiver has
//! asked for it for [`KEEP`], or until a receiver found it damaged.
//!
//! Always true: the entry after a file that is given out is still in the log. While one is kept the
//! log is not purged past the entry that the engine was given as its last, up to a bound; beyond
//! the bound the file goes, not the bound.

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

use conclave_storage::state::{self, Applied, Reader, SnapshotError};
use tokio::{task::spawn_blocking, time::Instant};

/// How long a file is kept that no receiver asks for.
const KEEP: Duration = Duration::from_secs(600);
/// How long the log waits for a receiver that has all of a file, and is about to follow. Once it
/// does, it is waited for as for any other follower.
const FOLLOW: Duration = Duration::from_secs(10);

/// Makes the names of files of one process different.
static FILES: AtomicU64 = AtomicU64::new(0);

/// A file and its content; the file is removed when the last owner drops this.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    /// State that it holds.
    pub(crate) applied: Applied,
    /// Index of the entry up to which it holds the state.
    pub(crate) index: u64,
    /// Path of the file.
    pub(crate) file: PathBuf,
    /// Length in bytes.
    pub(crate) bytes: u64,
    /// BLAKE3 of its bytes.
    pub(crate) blake3: [u8; 32],
}

impl SnapshotFile {
    fn new(file: PathBuf, made: state::SnapshotFile) -> io::Result<Self> {
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

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.file) {
            tracing::debug!(%error, file = %self.file.display(), "failed to remove snapshot file");
        }
    }
}

/// State behind the mutex.
#[derive(Default)]
struct Inner {
    cached: Option<Cached>,
    /// The entry that a file holds at least which is being made.
    making: Option<u64>,
    /// The reason why none could be made at the last attempt, so that the log says it once.
    trouble: Option<String>,
    /// Everything up to here may be gone from the log.
    purged: u64,
}

struct Cached {
    made: Arc<SnapshotFile>,
    /// The least entry that the engine was given as its last. A file may hold more, and the engine
    /// would have the receiver go on from here.
    told: u64,
    asked_at: Instant,
    /// When a receiver has got all of it, if no receiver has asked for it since.
    received_at: Option<Instant>,
}

/// The files of one node. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(crate) struct SnapshotStore {
    directory: Arc<Path>,
    inner: Arc<Mutex<Inner>>,
    /// Held while a file is being made: a task that waits for it takes the same file.
    making: Arc<tokio::sync::Mutex<()>>,
}

impl SnapshotStore {
    /// Keeps its files in `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.into(),
            inner: Arc::default(),
            making: Arc::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // The value is sound after every statement that changes it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the file that is kept, if the log goes on after it.
    pub(crate) fn cached(&self) -> Option<Arc<SnapshotFile>> {
        let mut inner = self.inner();
        let purged = inner.purged;
        let cached = inner.cached.as_mut()?;
        if cached.made.index < purged {
            return None;
        }
        cached.asked_at = Instant::now();
        cached.received_at = None;
        Some(cached.made.clone())
    }

    /// Returns the file that is kept if it holds entry `index`, else a new one.
    ///
    /// # Errors
    /// If it cannot be written; trying again is safe.
    pub(crate) async fn take(&self, reader: &Reader, index: u64) -> io::Result<Arc<SnapshotFile>> {
        let _turn = self.making.lock().await;
        if let Some(made) = self.cached().filter(|cached| cached.index >= index) {
            if let Some(cached) = &mut self.inner().cached {
                cached.told = cached.told.min(index);
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
        let made = Arc::new(SnapshotFile::new(file, made)?);
        let elapsed_ms = began.elapsed().as_millis();
        tracing::info!(
            log_index = made.index,
            bytes = made.bytes,
            elapsed_ms,
            "snapshot made"
        );
        self.inner().cached = Some(Cached {
            made: made.clone(),
            told: index,
            asked_at: Instant::now(),
            received_at: None,
        });
        Ok(made)
    }

    /// Keeps nothing: the log is another one, or the file cannot be used.
    pub(crate) fn forget(&self) {
        let cached = self.inner().cached.take();
        // Removing a large file takes its time; the lock is free meanwhile.
        drop(cached);
    }

    /// Says once why no file can be made.
    fn note(&self, error: Option<&SnapshotError>) {
        let why = error.map(|error| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        });
        let mut inner = self.inner();
        if let Some(error) = why.as_ref().filter(|_| inner.trouble != why) {
            tracing::warn!(error, "failed to make a snapshot; retrying");
        }
        inner.trouble = why;
    }

    /// Makes the log wait from entry `index` on, until the result is dropped.
    fn hold(&self, index: u64) -> Making<'_> {
        self.inner().making = Some(index);
        Making(self)
    }

    /// Notes that a receiver has all of it. Others may still ask for it, but soon the log waits no
    /// more.
    pub(crate) fn received(&self) {
        if let Some(cached) = &mut self.inner().cached {
            cached.received_at = Some(Instant::now());
        }
    }

    /// Notes that the log is about to be purged up to entry `upto`; returns up to where it may be.
    /// `bound` is how far it may be held back.
    pub(crate) fn purging(&self, upto: u64, bound: u64, now: Instant) -> u64 {
        let mut inner = self.inner();
        let held = inner.cached.as_ref().filter(|cached| cached.holds(now));
        let held = held.map(|cached| cached.told).into_iter();
        let held = held.chain(inner.making).min();
        let allowed = upto.min(held.unwrap_or(u64::MAX).max(bound));
        inner.purged = inner.purged.max(allowed);
        let stale = |cached: &mut Cached| {
            let age = now.saturating_duration_since(cached.asked_at);
            cached.made.index < allowed || age >= KEEP && !cached.is_in_use()
        };
        let gone = inner.cached.take_if(stale);
        drop(inner);
        drop(gone);
        allowed
    }
}

impl Cached {
    /// Returns whether the log waits for the file.
    fn holds(&self, now: Instant) -> bool {
        self.received_at
            .is_none_or(|received| now.saturating_duration_since(received) < FOLLOW)
    }

    /// Returns whether a transfer is under way.
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.made) > 1
    }
}

/// A file is being made.
struct Making<'a>(&'a SnapshotStore);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.inner().making = None;
    }
}

#[cfg(test)]
mod tests {
    use conclave_storage::{
        log::LogId,
        state::{Options, State},
    };

    use super::*;

    /// Returns a state in which so many entries are applied, and its offers.
    fn state(directory: &Path, entries: u64) -> (State, SnapshotStore) {
        let mut state = State::open(directory, Options::default()).unwrap();
        apply(&mut state, 1, entries);
        let snapshots = directory.join("snapshots");
        std::fs::create_dir(&snapshots).unwrap();
        (state, SnapshotStore::new(&snapshots))
    }

    fn apply(state: &mut State, first: u64, last: u64) {
        let entry = |index| state::Entry {
            id: LogId {
                term: 1,
                node: 1,
                index,
            },
            payload: state::Payload::Blank,
        };
        let entries: Vec<_> = (first..=last).map(entry).collect();
        state.apply(&entries).unwrap();
    }

    fn files(store: &SnapshotStore) -> usize {
        std::fs::read_dir(&store.directory).unwrap().count()
    }

    #[tokio::test]
    async fn a_snapshot_file_is_reused_while_the_log_continues_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let (mut state, store) = state(directory.path(), 10);
        let first = store.take(&state.reader(), 5).await.unwrap();
        assert_eq!((first.index, files(&store)), (10, 1));
        apply(&mut state, 11, 20);
        let again = store.take(&state.reader(), 10).await.unwrap();
        assert_eq!(again.file, first.file);
        // What the receiver is to have at least is not in it.
        let newer = store.take(&state.reader(), 11).await.unwrap();
        assert_eq!((newer.index, files(&store)), (20, 2));
        drop((first, again));
        assert_eq!(files(&store), 1, "the old one went with its last user");
    }

    #[tokio::test]
    async fn a_snapshot_holds_back_the_log_only_up_to_a_bound() {
        let directory = tempfile::tempdir().unwrap();
        let (state, store) = state(directory.path(), 10);
        let now = Instant::now();
        assert_eq!(store.purging(7, 0, now), 7, "no receiver holds the log");
        drop(store.take(&state.reader(), 8).await.unwrap());
        assert_eq!(store.purging(50, 7, now), 8, "held back from what was told");
        drop(store.take(&state.reader(), 10).await.unwrap());
        assert_eq!(store.purging(50, 7, now), 8, "the first may still be told");
        store.received();
        assert!(store.cached().is_some(), "the log still goes on after it");
        assert_eq!(store.purging(50, 9, now), 9, "a receiver has asked again");
        assert_eq!(store.purging(50, 30, now), 30, "the bound");
        assert!(store.cached().is_none());
        assert_eq!(files(&store), 0);
        assert_eq!(store.purging(50, 30, now), 50);
    }

    #[tokio::test]
    async fn a_sent_snapshot_holds_the_log_until_its_receiver_follows() {
        let directory = tempfile::tempdir().unwrap();
        let (state, store) = state(directory.path(), 10);
        drop(store.take(&state.reader(), 10).await.unwrap());
        store.received();
        assert_eq!(store.purging(50, 0, Instant::now()), 10);
        assert_eq!(store.purging(50, 0, Instant::now() + FOLLOW), 50);
        assert_eq!(files(&store), 0);
    }

    #[tokio::test]
    async fn a_snapshot_being_made_holds_back_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let (_state, store) = state(directory.path(), 10);
        let making = store.hold(7);
        assert_eq!(store.purging(50, 0, Instant::now()), 7);
        assert_eq!(store.purging(50, 9, Instant::now()), 9, "the bound");
        drop(making);
        assert_eq!(store.purging(50, 9, Instant::now()), 50);
    }

    #[tokio::test]
    async fn an_unused_snapshot_expires_but_not_during_a_transfer() {
        let directory = tempfile::tempdir().unwrap();
        let (state, store) = state(directory.path(), 10);
        let used = store.take(&state.reader(), 0).await.unwrap();
        store.purging(0, 0, Instant::now() + KEEP);
        assert_eq!(store.cached().unwrap().file, used.file);
        drop(used);
        store.purging(0, 0, Instant::now());
        assert!(store.cached().is_some(), "a receiver has asked just now");
        store.purging(0, 0, Instant::now() + KEEP);
        assert!(store.cached().is_none());
        assert_eq!(files(&store), 0);
    }

    #[tokio::test]
    async fn a_state_without_entries_yields_no_snapshot_and_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let (state, store) = state(directory.path(), 0);
        assert!(store.take(&state.reader(), 0).await.is_err());
        assert_eq!(files(&store), 0);
    }
}
