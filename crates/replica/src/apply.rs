//! The state machine: committed entries are decided, written and published, in that order.
//!
//! One thread owns the database's one writer. An apply is one job: decode, decide and write the
//! whole batch in one transaction, then answer, then notify the followers of this node.
//!
//! Always true: no client hears of an entry before its transaction is committed, and no transaction
//! has an entry that is not on disk in this node's own log.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use conclave_core::Now;
use conclave_storage::{
    search::Search,
    state::{self, State, VerifiedSnapshot},
};
use futures::StreamExt as _;
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{ApplyResponder, EntryResponder, RaftStateMachine, Snapshot},
};
use tokio::{
    sync::{oneshot, watch},
    task::spawn_blocking,
};

use crate::{
    Codec, Listener, Member,
    clocks::Clocks,
    convert::{
        Decided, Entry, Leader, LogId, SnapshotMeta, StoredMembers, TypeConfig, log_id_in,
        log_id_out, members_out, stored_members_in,
    },
    health::pins::{Pin, Pins},
    log::synced::Synced,
    snapshot::{install_marker::InstallMarker, offer::SnapshotData, store::SnapshotStore},
};

/// Entries applied in one transaction at most: a transaction of this size takes tens of
/// milliseconds, and no caller gets its answer before it ends.
const APPLY_ENTRIES_MAX: usize = 512;

/// Bytes of entries applied in one transaction, after which it ends: entries of the greatest size
/// would else make one of half a gigabyte after a restart.
const APPLY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Jobs waiting for the writer. openraft sends one apply at a time, so more would only hide that
/// something else floods it.
const JOBS_MAX: usize = 16;

/// Pause before a checkpoint that a reader kept from completing is tried again.
const CHECKPOINT_RETRY: Duration = Duration::from_millis(50);

/// Pause before entries are applied again for which the disk had no room.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// The engine around this state machine.
pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;

type Responder = Option<ApplyResponder<TypeConfig>>;
type Done<T> = oneshot::Sender<io::Result<T>>;

enum Job {
    Apply {
        entries: Vec<(Entry, Responder)>,
        done: Done<()>,
    },
    /// Returns the entry up to which everything is synced, or `None` if a reader was in the way.
    Checkpoint {
        done: Done<Option<state::Applied>>,
    },
    Install {
        file: VerifiedSnapshot,
        done: Done<()>,
    },
    Applied {
        done: Done<state::Applied>,
    },
    /// Returns the state as it is after the entry with this index.
    Pin {
        index: u64,
        done: Done<Pin>,
    },
    Stop,
}

/// The state machine as openraft knows it: a handle to the writer thread.
#[derive(Clone)]
pub(crate) struct StateMachine {
    jobs: mpsc::SyncSender<Job>,
    codec: Arc<dyn Codec>,
    reader: state::Reader,
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
        let writer = Writer {
            state,
            reader: reader.clone(),
            codec: codec.clone(),
            observers,
            pins: Pins::default(),
            stopping: stopping.clone(),
        };
        let thread = thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || writer.run(&waiting))?;
        let fence = watch::Sender::new(None);
        Ok((
            Self {
                jobs,
                codec,
                reader,
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

    async fn job<T>(&self, make: impl FnOnce(Done<T>) -> Job) -> io::Result<T> {
        let (done, finished) = oneshot::channel();
        let stopped = || io::Error::other("the state writer has stopped");
        self.jobs.send(make(done)).map_err(|_| stopped())?;
        finished.await.map_err(|_| stopped())?
    }

    /// Returns the state as it is after entry `index`, as soon as that is applied.
    pub(crate) async fn pin(&self, index: u64) -> io::Result<Pin> {
        self.job(|done| Job::Pin { index, done }).await
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
                self.job(|done| Job::Apply { entries, done }).await?;
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

/// Returns how many of the first entries, of which these are the sizes, fit into one transaction:
/// at least one.
fn entries_at_once(sizes: impl Iterator<Item = usize>) -> usize {
    let sums = sizes.scan(0, |sum: &mut usize, bytes| {
        *sum = sum.saturating_add(bytes);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= APPLY_BYTES_MAX)
        .count()
        .max(1)
}

/// Returns the bytes of an entry's commands; other entries are small.
fn bytes_of(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(commands) => commands.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

/// What is notified after each transaction.
pub(crate) struct Observers {
    /// The index of the last entry that is in the database.
    pub(crate) applied: watch::Sender<u64>,
    /// Also hears what happened.
    pub(crate) listener: Arc<dyn Listener>,
    /// Goes on with its index.
    pub(crate) search: Search,
    /// Knows how much time has passed.
    pub(crate) clocks: Clocks,
}

/// What the writer thread owns.
struct Writer {
    state: State,
    reader: state::Reader,
    codec: Arc<dyn Codec>,
    observers: Observers,
    pins: Pins,
    /// Nothing is waited for any more.
    stopping: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            // The calling task may have been stopped; what was written stands all the same.
            match job {
                Job::Apply { entries, done } => {
                    let _ = done.send(self.apply(entries));
                }
                Job::Checkpoint { done } => {
                    let _ = done.send(self.checkpoint());
                }
                Job::Install { file, done } => {
                    let _ = done.send(self.install(&file));
                }
                Job::Applied { done } => {
                    let _ = done.send(Ok(self.state.applied()));
                }
                Job::Pin { index, done } => {
                    let applied = self.last_index();
                    self.pins.ask(index, done, applied, &self.reader);
                }
                Job::Stop => break,
            }
        }
    }

    fn apply(&mut self, entries: Vec<(Entry, Responder)>) -> io::Result<()> {
        let mut decoded = Vec::with_capacity(entries.len());
        let mut responders = Vec::with_capacity(entries.len());
        for (entry, responder) in entries {
            decoded.push(self.decode(entry)?);
            responders.push(responder);
        }
        let results = self.write(&decoded)?;
        let mut events = Vec::new();
        for (responder, result) in responders.into_iter().zip(results) {
            if let Some(responder) = responder {
                let decided = result.answers.into_iter().zip(result.decided_in);
                responder.send(Decided(decided.collect()));
            }
            events.extend(result.events);
        }
        let last = self.last_index();
        self.observers.clocks.applied(self.now());
        self.observers.listener.applied(last, events);
        self.observers.applied.send_replace(last);
        self.observers.search.notify();
        Ok(())
    }

    /// Writes entries in one transaction, or in several if a caller has asked for the state in
    /// between.
    fn write(&mut self, entries: &[state::Entry]) -> io::Result<Vec<state::EntryResult>> {
        let mut results = Vec::with_capacity(entries.len());
        let mut rest = entries;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.pins.step(rest));
            results.extend(self.apply_when_there_is_room(now)?);
            self.pins.reached(self.last_index(), &self.reader);
            rest = later;
        }
        Ok(results)
    }

    /// Applies entries; while the disk is full it waits for room. Nothing is lost by that: the log
    /// has them.
    fn apply_when_there_is_room(
        &mut self,
        entries: &[state::Entry],
    ) -> io::Result<Vec<state::EntryResult>> {
        let mut told = false;
        loop {
            match self.state.apply(entries) {
                Err(error) if error.is_full() && !self.stopping.load(Ordering::Relaxed) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!("the disk is full: applying waits for room");
                    }
                    thread::park_timeout(ROOM_PAUSE);
                }
                applied => return applied.map_err(io::Error::other),
            }
        }
    }

    fn decode(&self, entry: Entry) -> io::Result<state::Entry> {
        let id = log_id_out(&entry.log_id);
        let payload = match entry.payload {
            EntryPayload::Blank => state::Payload::Blank,
            EntryPayload::Normal(commands) => {
                let batch = self
                    .codec
                    .decode_batch(&commands.0)
                    .map_err(io::Error::other)?;
                state::Payload::Commands(Arc::new(batch))
            }
            EntryPayload::Membership(membership) => state::Payload::Membership {
                bytes: self.codec.encode_members(&members_out(&membership)),
                nodes: membership.nodes().map(|(node, _)| *node).collect(),
            },
        };
        Ok(state::Entry { id, payload })
    }

    fn checkpoint(&mut self) -> io::Result<Option<state::Applied>> {
        let applied = self.state.applied();
        let checkpoint = match self.state.checkpoint() {
            Err(error) if error.is_full() => return Ok(None),
            checkpoint => checkpoint.map_err(io::Error::other)?,
        };
        // The writer is this thread: nothing was applied in between.
        Ok((checkpoint.synced_through == applied.last).then_some(applied))
    }

    fn install(&mut self, file: &VerifiedSnapshot) -> io::Result<()> {
        self.state
            .install_verified(file)
            .map_err(io::Error::other)?;
        let log_index = self.last_index();
        self.pins.reached(log_index, &self.reader);
        tracing::info!(log_index, "snapshot installed");
        self.observers.clocks.applied(self.now());
        self.observers.listener.installed(log_index);
        self.observers.applied.send_replace(log_index);
        self.observers.search.notify();
        Ok(())
    }

    fn now(&self) -> Now {
        self.state.now()
    }

    fn last_index(&self) -> u64 {
        self.state.applied().last.map_or(0, |last| last.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_bounded_in_bytes_but_never_empty() {
        let mib = 1024 * 1024;
        let at_once = |sizes: &[usize]| entries_at_once(sizes.iter().copied());
        assert_eq!(at_once(&[0; 512]), 512);
        assert_eq!(at_once(&[mib; 512]), 4);
        assert_eq!(at_once(&[5 * mib, 1]), 1);
        assert_eq!(at_once(&[mib, 5 * mib, 1]), 1);
        assert_eq!(at_once(&[usize::MAX, usize::MAX]), 1);
    }
}
