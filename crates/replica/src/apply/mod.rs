//! The state machine as the engine knows it: committed entries are decided, answered and published,
//! and written behind that.
//!
//! One thread works with the database's one writer (`writer.rs`), or the engine's own for a few
//! commands while that has nothing to do; readers have it brought forward (`written.rs`).
//!
//! Always true: nothing is decided that is not on disk in this node's own log, and nothing is
//! purged from the log that is not synced in the database.

mod jobs;
mod writer;
pub(crate) mod written;

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, TryLockError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use conclave_storage::state::{self, RowRange, State};
use futures::StreamExt as _;
use openraft::{
    OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine, Snapshot},
};
use tokio::{
    sync::{oneshot, watch},
    task::spawn_blocking,
};

pub(crate) use self::writer::{Observers, VersionNow};
use self::{
    jobs::{Done, Job, Undecided, bytes_of},
    writer::{Here, Shared, Writer},
    written::Written,
};
use crate::{
    Codec, Member,
    convert::{
        Leader, LogId, SnapshotMeta, StoredMembers, TypeConfig, log_id_in, log_id_out,
        stored_members_in,
    },
    health::pins::{Request, RowsAt},
    log::synced::Synced,
    snapshot::{install_marker::InstallMarker, offer::SnapshotData, store::SnapshotStore},
};

/// Entries decided at once at most: that many take tens of milliseconds, and no caller gets its
/// answer before they are.
const APPLY_ENTRIES_MAX: usize = 512;

/// Bytes of entries decided at once at most: entries of the greatest size would else make half a
/// gigabyte after a restart.
const APPLY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Commands that are decided on the thread on which the engine hands them over, at most: they take
/// less time than waking another thread, and nothing else runs on it meanwhile.
const COMMANDS_HERE_MAX: usize = 16;

/// Bytes of entries that are decided there at most.
const BYTES_HERE_MAX: usize = 64 * 1024;

/// Jobs waiting for the writer. openraft sends one apply at a time, so more would only hide that
/// something else floods it.
const JOBS_MAX: usize = 16;

/// Pause before a checkpoint that a reader kept from completing is tried again.
const CHECKPOINT_RETRY: Duration = Duration::from_millis(50);

/// The engine around this state machine.
pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// The state machine as openraft knows it: a handle to the writer thread.
#[derive(Clone)]
pub(crate) struct StateMachine {
    jobs: mpsc::SyncSender<Job>,
    writer: Arc<Shared>,
    codec: Arc<dyn Codec>,
    reader: state::Reader,
    written: Written,
    store: SnapshotStore,
    synced: Synced,
    installed: InstallMarker,
    /// Up to where the log may be purged: the meta of the snapshot that openraft is offered.
    fence: watch::Sender<Option<SnapshotMeta>>,
    stopping: Arc<AtomicBool>,
}

impl StateMachine {
    /// Starts the writer thread.
    pub(crate) fn start(
        state: State,
        codec: Arc<dyn Codec>,
        store: SnapshotStore,
        observers: Observers,
        synced: Synced,
        installed: InstallMarker,
    ) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let (jobs, waiting) = mpsc::sync_channel(JOBS_MAX);
        let reader = state.reader();
        let stopping = Arc::new(AtomicBool::new(false));
        let written = Written::new(observers.applied.subscribe(), jobs.clone());
        let writer = Writer::new(
            state,
            observers,
            written.wanted(),
            written.decided(),
            stopping.clone(),
        );
        let writer = Arc::new(Mutex::new(Some(writer)));
        let shared = writer.clone();
        let thread = thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || Writer::run(&shared, &waiting))?;
        let fence = watch::Sender::new(None);
        Ok((
            Self {
                jobs,
                writer,
                codec,
                reader,
                written,
                store,
                synced,
                installed,
                fence,
                stopping,
            },
            thread,
        ))
    }

    /// Ends the writer thread after the jobs that are waiting.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let _ = self.jobs.send(Job::Stop);
    }

    /// Has entries decided: a few at once on this thread if the writer is idle, otherwise by the
    /// writer's own.
    async fn decide(&self, entries: Undecided) -> io::Result<()> {
        match self.decide_here(entries)? {
            Here::Decided { wake: true } => {
                // If its queue is full, the writer looks after its next job.
                let _ = self.jobs.try_send(Job::Wanted);
                Ok(())
            }
            Here::Decided { wake: false } => Ok(()),
            Here::No(entries) => self.job(|done| Job::Apply { entries, done }).await,
        }
    }

    fn decide_here(&self, entries: Undecided) -> io::Result<Here> {
        if entries.commands() > COMMANDS_HERE_MAX || entries.bytes > BYTES_HERE_MAX {
            return Ok(Here::No(entries));
        }
        match self.writer.try_lock() {
            Ok(mut writer) => writer.as_mut().ok_or_else(stopped)?.decide_here(entries),
            Err(TryLockError::WouldBlock) => Ok(Here::No(entries)),
            Err(TryLockError::Poisoned(_)) => Err(stopped()),
        }
    }

    async fn job<T>(&self, make: impl FnOnce(Done<T>) -> Job) -> io::Result<T> {
        let (done, finished) = oneshot::channel();
        self.jobs.send(make(done)).map_err(|_| stopped())?;
        finished.await.map_err(|_| stopped())?
    }

    /// Returns what knows how far the database is.
    pub(crate) fn written(&self) -> Written {
        self.written.clone()
    }

    /// Returns the digests of these ranges as they are after entry `index`, as soon as that is
    /// applied.
    pub(crate) async fn rows_at(&self, index: u64, ranges: Vec<RowRange>) -> io::Result<RowsAt> {
        let make = |done: Done<RowsAt>| {
            Job::RowsAt(Request {
                index,
                ranges,
                done,
            })
        };
        self.job(make).await
    }

    fn meta(&self, applied: &state::Applied) -> io::Result<SnapshotMeta> {
        let last_membership = match &applied.membership {
            Some((at, bytes)) => stored_members_in(*at, bytes, &*self.codec)?,
            None => StoredMembers::default(),
        };
        Ok(SnapshotMeta {
            last_log_id: applied.last.map(log_id_in),
            last_membership,
        })
    }

    /// Moves the purge fence: everything applied so far is synced into the database file.
    pub(crate) async fn move_fence(&self) -> io::Result<SnapshotMeta> {
        loop {
            if let Some(synced) = self.job(|done| Job::Checkpoint { done }).await? {
                let meta = self.meta(&synced)?;
                self.fence.send_replace(Some(meta.clone()));
                return Ok(meta);
            }
            tokio::time::sleep(CHECKPOINT_RETRY).await;
        }
    }

    fn snapshot(&self, meta: SnapshotMeta) -> Snapshot<Leader, u64, Member, SnapshotData> {
        let own = SnapshotData::Own {
            reader: self.reader.clone(),
            store: self.store.clone(),
            index: meta.last_log_id.map_or(0, |id| id.index()),
        };
        Snapshot {
            meta,
            snapshot: own,
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembers), io::Error> {
        let applied = self.job(|done| Job::Applied { done }).await?;
        let meta = self.meta(&applied)?;
        Ok((meta.last_log_id, meta.last_membership))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: futures::Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>>
            + Unpin
            + OptionalSend,
    {
        let mut ready = entries.ready_chunks(APPLY_ENTRIES_MAX);
        while let Some(chunk) = ready.next().await {
            let mut rest = chunk.into_iter().collect::<Result<VecDeque<_>, _>>()?;
            while !rest.is_empty() {
                let count = entries_at_once(rest.iter().map(|(entry, _)| bytes_of(entry)));
                let entries: Vec<_> = rest.drain(..count).collect();
                if let Some((last, _)) = entries.last() {
                    self.synced.reaches(last.log_id.index).await?;
                }
                self.decide(Undecided::of(entries, &*self.codec)?).await?;
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let SnapshotData::Received(file) = snapshot else {
            return Err(io::Error::other("one's own snapshot is never installed"));
        };
        if let Some(last) = &meta.last_log_id {
            let (installed, last) = (self.installed.clone(), log_id_out(last));
            spawn_blocking(move || installed.note(last))
                .await
                .map_err(io::Error::other)??;
        }
        self.job(|done| Job::Install { file, done }).await?;
        // The log that went on after it is gone.
        self.store.forget();
        self.move_fence().await?;
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<Leader, u64, Member, SnapshotData>>, io::Error> {
        if let Some(made) = self.store.cached() {
            // Older than the fence perhaps, but the log goes on after it: a receiver that was
            // interrupted need not begin again.
            return Ok(Some(Snapshot {
                meta: self.meta(&made.applied)?,
                snapshot: SnapshotData::Cached(made),
            }));
        }
        let meta = self.fence.borrow().clone();
        Ok(meta
            .filter(|meta| meta.last_log_id.is_some())
            .map(|meta| self.snapshot(meta)))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(
        &mut self,
    ) -> Result<Snapshot<Leader, u64, Member, SnapshotData>, io::Error> {
        let meta = self.move_fence().await?;
        Ok(self.snapshot(meta))
    }
}

fn stopped() -> io::Error {
    io::Error::other("the state writer has stopped")
}

/// Returns how many of the first entries, of which these are the sizes, are decided at once: at
/// least one.
fn entries_at_once(sizes: impl Iterator<Item = usize>) -> usize {
    let sums = sizes.scan(0, |sum: &mut usize, bytes| {
        *sum = sum.saturating_add(bytes);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= APPLY_BYTES_MAX)
        .count()
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_bounded_in_bytes_but_never_empty() {
        let mib = 1024 * 1024;
        let at_once = |sizes: &[usize]| entries_at_once(sizes.iter().copied());
        assert_eq!(at_once(&[0; 512]), 512);
        assert_eq!(at_once(&[mib; 512]), 4);
        assert_eq!(at_once(&[5 * mib, 1]), 1);
        assert_eq!(at_once(&[mib, 5 * mib, 1]), 1);
        assert_eq!(at_once(&[usize::MAX, usize::MAX]), 1);
    }
}
