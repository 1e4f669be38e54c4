//! The database's writer: decides entries, answers, publishes, and writes behind, on a thread of
//! its own.
//!
//! An apply is one job: decide all of its entries, answer, then notify the listener of this node.
//! A small one is done on the thread of its caller; all that may wait is left to the writer's own.
//! The database gets them later, many at once: by time, by size, and at once when a reader waits
//! for one of them.
//!
//! Always true: what is decided and not written is bounded in bytes, commands and time, unless the
//! disk is full; then nothing more is decided.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use conclave_core::{ClusterVersion, Now};
use conclave_storage::{
    search::Search,
    state::{self, ApplyError, State, VerifiedSnapshot},
};
use tokio::sync::watch;

use super::{
    jobs::{Job, Undecided},
    written::Wanted,
};
use crate::{
    Listener,
    acks::gate::Gate,
    clocks::Clocks,
    convert::Decided,
    health::{meter::Meter, pins::Pins},
};

/// How long a decided entry waits to be written if no reader needs it. etcd commits its store
/// every 100 ms.
const WRITE_EVERY: Duration = Duration::from_millis(50);

/// Commands that are decided and not written at most: the commit of that many takes milliseconds,
/// and nothing is decided meanwhile.
const UNWRITTEN_COMMANDS_MAX: usize = 2048;

/// Bytes of entries that are decided and not written at most.
const UNWRITTEN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How often the database is asked for pages that hold nothing, and how long it rests between two
/// steps that give some of them back: 5 MiB in a second at most.
const VACUUM_LOOK: Duration = Duration::from_secs(5);
/// See above.
const VACUUM_PAUSE: Duration = Duration::from_millis(50);

/// Pause before entries are decided or written again for which the disk had no room.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// What is notified.
pub(crate) struct Observers {
    /// The index of the last entry that is in the database.
    pub(crate) applied: watch::Sender<u64>,
    /// Hears what was decided.
    pub(crate) listener: Arc<dyn Listener>,
    /// Goes on with what is in the database.
    pub(crate) search: Search,
    /// Knows how much time has passed.
    pub(crate) clocks: Clocks,
    /// Counts what was decided.
    pub(crate) meter: Meter,
    /// Knows the cluster version.
    pub(crate) version: VersionNow,
    /// Knows which voters answers wait for.
    pub(crate) gate: Gate,
}

/// The cluster version after the last entry that is decided on this node; all clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct VersionNow(Arc<AtomicU32>);

impl VersionNow {
    pub(crate) fn new(version: Option<ClusterVersion>) -> Self {
        Self(Arc::new(AtomicU32::new(version.map_or(0, |said| said.0))))
    }

    /// Returns the version; [`ClusterVersion::FIRST`] if the log has said none.
    pub(crate) fn get(&self) -> ClusterVersion {
        ClusterVersion(self.0.load(Ordering::Acquire)).max(ClusterVersion::FIRST)
    }

    /// Returns whether the log has said a version.
    pub(crate) fn is_said(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    /// Notes what was decided or installed; returns whether that is another version.
    fn set(&self, version: Option<ClusterVersion>) -> bool {
        let version = version.map_or(0, |said| said.0);
        self.0.load(Ordering::Relaxed) != version && {
            self.0.store(version, Ordering::Release);
            true
        }
    }
}

/// What is decided and not written.
#[derive(Clone, Copy, Default)]
struct Unwritten {
    /// When it must be written, if there is anything.
    due: Option<Instant>,
    commands: usize,
    bytes: usize,
}

/// Whether entries were decided on the thread of the caller.
pub(super) enum Here {
    /// They are decided; `wake` says that the writer's own thread must look after them.
    Decided { wake: bool },
    /// Only the writer's own thread can do it.
    No(Undecided),
}

/// The writer, until it is stopped. Its own thread holds it while it works, also for the
/// milliseconds of a commit.
pub(super) type Shared = Mutex<Option<Writer>>;

/// Decides, and writes behind.
pub(super) struct Writer {
    state: State,
    observers: Observers,
    pins: Pins,
    wanted: Wanted,
    /// The last entry that is decided; noted before any of its answers leaves.
    decided: Arc<AtomicU64>,
    unwritten: Unwritten,
    /// When the file of the database may be made smaller again.
    vacuum_due: Instant,
    /// Why nothing can be written any more.
    failed: Option<String>,
    /// Nothing is waited for any more.
    stopping: Arc<AtomicBool>,
}

impl Writer {
    pub(super) fn new(
        state: State,
        observers: Observers,
        wanted: Wanted,
        decided: Arc<AtomicU64>,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        Self {
            state,
            observers,
            pins: Pins::default(),
            wanted,
            decided,
            unwritten: Unwritten::default(),
            vacuum_due: now() + VACUUM_LOOK,
            failed: None,
            stopping,
        }
    }

    /// Works until it is stopped.
    pub(super) fn run(shared: &Shared, jobs: &mpsc::Receiver<Job>) {
        let mut due = now() + VACUUM_LOOK;
        loop {
            let job = jobs.recv_timeout(due.saturating_duration_since(now()));
            // A panic while it was held: nothing more can be decided.
            let Ok(mut writer) = shared.lock() else {
                return;
            };
            let Some(writer) = &mut *writer else { return };
            match job {
                Ok(Job::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Ok(job) => writer.work(job),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if writer.is_due() {
                writer.write_behind();
            }
            writer.vacuum();
            due = writer.unwritten.due.unwrap_or(writer.vacuum_due);
        }
        if let Ok(Some(mut writer)) = shared.lock().map(|mut writer| writer.take()) {
            // Spares the next start the work; the log has it all the same.
            writer.write_behind();
        }
    }

    /// Decides entries on the thread of the caller, if that takes no wait for anything; otherwise
    /// gives them back. Returns whether the writer's own thread has to look after what is
    /// unwritten.
    pub(super) fn decide_here(&mut self, entries: Undecided) -> io::Result<Here> {
        if self.failed.is_some() || !self.pins.is_empty() {
            return Ok(Here::No(entries));
        }
        match self.state.decide(&entries.entries) {
            Ok(results) => {
                let begins = self.unwritten.due.is_none();
                self.unwritten.due.get_or_insert_with(write_due);
                self.decided(entries, results);
                Ok(Here::Decided {
                    wake: begins || self.is_due(),
                })
            }
            Err(error) if error.is_full() => Ok(Here::No(entries)),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn work(&mut self, job: Job) {
        // The calling task may have been stopped; what was decided stands all the same.
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
            Job::RowsAt(request) => {
                if request.index == self.last_index()
                    && let Err(error) = self.write()
                {
                    let _ = request.done.send(Err(error));
                    return;
                }
                let applied = self.last_index();
                self.pins.ask(request, applied, &self.state);
            }
            Job::Wanted | Job::Stop => {}
        }
    }

    fn apply(&mut self, entries: Undecided) -> io::Result<()> {
        if let Some(why) = &self.failed {
            return Err(io::Error::other(why.clone()));
        }
        let results = self.decide(&entries.entries)?;
        self.decided(entries, results);
        Ok(())
    }

    /// Answers and publishes what was decided.
    fn decided(&mut self, entries: Undecided, results: Vec<state::EntryResult>) {
        self.unwritten.bytes += entries.bytes;
        self.note_settings();
        self.decided.store(self.last_index(), Ordering::Release);
        let mut events = Vec::new();
        for (responder, result) in entries.responders.into_iter().zip(results) {
            self.observers.meter.decided(result.answers.len());
            self.unwritten.commands += result.answers.len();
            if let Some(responder) = responder {
                let decided = result.answers.into_iter().zip(result.decided_in);
                responder.send(Decided(decided.collect()));
            }
            events.extend(result.events);
        }
        self.observers.clocks.applied(self.now());
        self.observers.listener.decided(self.last_index(), events);
    }

    /// Decides entries; if a caller has asked for the state in between, it is written there.
    fn decide(&mut self, entries: &[state::Entry]) -> io::Result<Vec<state::EntryResult>> {
        let mut results = Vec::with_capacity(entries.len());
        let mut rest = entries;
        while !rest.is_empty() {
            let (first, later) = rest.split_at(self.pins.step(rest));
            results.extend(self.when_there_is_room(|state| state.decide(first))?);
            self.unwritten.due.get_or_insert_with(write_due);
            if self.pins.want(self.last_index()) {
                self.write()?;
                self.pins.reached(self.last_index(), &self.state);
            }
            rest = later;
        }
        Ok(results)
    }

    /// Changes the state; while the disk is full it waits for room. Nothing is lost by that: the
    /// log has the entries.
    fn when_there_is_room<T>(
        &mut self,
        mut change: impl FnMut(&mut State) -> Result<T, ApplyError>,
    ) -> io::Result<T> {
        let mut told = false;
        loop {
            match change(&mut self.state) {
                Err(error) if error.is_full() && !self.stopping.load(Ordering::Relaxed) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!("the disk is full: applying waits for room");
                    }
                    thread::park_timeout(ROOM_PAUSE);
                }
                changed => return changed.map_err(io::Error::other),
            }
        }
    }

    /// Returns whether what is decided must be written now.
    fn is_due(&self) -> bool {
        let Unwritten {
            due,
            commands,
            bytes,
        } = self.unwritten;
        let Some(due) = due else {
            return false;
        };
        let written = *self.observers.applied.borrow();
        now() >= due
            || commands >= UNWRITTEN_COMMANDS_MAX
            || bytes >= UNWRITTEN_BYTES_MAX
            || self.wanted.is_any_in(written, self.last_index())
    }

    /// Writes what is decided. What fails is told with the next entry: nothing of it is lost, and a
    /// failure of the disk is known to the whole node.
    fn write_behind(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self.write()
        {
            tracing::error!(%error, "failed to write the state");
            self.failed = Some(error.to_string());
            self.unwritten.due = None;
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.unwritten.due.is_none() {
            return Ok(());
        }
        let began = now();
        self.when_there_is_room(State::write)?;
        self.observers.meter.written(began.elapsed());
        self.unwritten = Unwritten::default();
        self.notify_written(self.last_index());
        Ok(())
    }

    /// Makes the file of the database a little smaller, if it is time and nothing else is to do.
    fn vacuum(&mut self) {
        let began = now();
        if began < self.vacuum_due || self.unwritten.due.is_some() || self.failed.is_some() {
            return;
        }
        let pause = match self.state.vacuum() {
            Ok(free) => {
                self.observers.meter.vacuumed(free.bytes, began.elapsed());
                self.observers.meter.looked(self.state.messages());
                if free.may_shrink {
                    VACUUM_PAUSE
                } else {
                    VACUUM_LOOK
                }
            }
            // It needs room for a moment, and has none.
            Err(error) if error.is_full() => VACUUM_LOOK,
            Err(error) => {
                tracing::error!(%error, "failed to make the database smaller");
                self.failed = Some(error.to_string());
                VACUUM_LOOK
            }
        };
        self.vacuum_due = now() + pause;
    }

    fn notify_written(&self, index: u64) {
        self.observers.applied.send_replace(index);
        self.wanted.written();
        self.observers.search.notify();
    }

    fn checkpoint(&mut self) -> io::Result<Option<state::Applied>> {
        self.write()?;
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
        self.unwritten = Unwritten::default();
        let log_index = self.last_index();
        self.pins.reached(log_index, &self.state);
        tracing::info!(log_index, "snapshot installed");
        self.note_settings();
        self.observers.meter.snapshot_installed();
        self.observers.clocks.applied(self.now());
        self.observers.listener.installed(log_index);
        self.decided.store(log_index, Ordering::Release);
        self.notify_written(log_index);
        Ok(())
    }

    /// Notes the cluster version and the policy of acknowledgements, before any answer or the
    /// listener tells of them.
    fn note_settings(&self) {
        if self.observers.version.set(self.state.cluster_version()) {
            let version = self.observers.version.get();
            tracing::info!(%version, "the cluster version was raised");
        }
        let policy = self.state.ack_policy();
        self.observers.gate.note(policy, self.last_index());
    }

    fn now(&self) -> Now {
        self.state.now()
    }

    fn last_index(&self) -> u64 {
        self.state.applied().last.map_or(0, |last| last.index)
    }
}

/// Returns when what is decided now must be written.
fn write_due() -> Instant {
    now() + WRITE_EVERY
}

#[expect(
    clippy::disallowed_methods,
    reason = "it says when the database is written, not what"
)]
fn now() -> Instant {
    Instant::now()
}
