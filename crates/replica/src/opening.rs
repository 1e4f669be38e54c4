//! Opens what a replica needs beside the engine, and closes it again if the engine does not start.
//!
//! Always true: after a failed start no file is open any more, and damage that was found meanwhile
//! is the reason that is given.

use std::{fmt, fs::File, io, sync::Arc, thread, time::Duration};

use conclave_storage::{
    log::{self, LogStore as _, SegmentLog},
    search::Search,
    state::{self, Reader, State},
};
use tokio::{sync::watch, task::spawn_blocking};

use crate::{
    Codec, Config, Listener, StartError,
    acks::gate::Gate,
    apply::{Observers, StateMachine, VersionNow},
    clocks::Clocks,
    health::{
        damage::{disk_failure, found, log_has_all},
        meter::Meter,
    },
    log::store::Log,
    snapshot::{install_marker::InstallMarker, offer, store::SnapshotStore},
};

/// The open parts of a replica whose engine does not run yet.
pub(crate) struct Opened {
    pub(crate) log: Arc<SegmentLog>,
    /// The engine's view of the log.
    pub(crate) log_view: Log,
    pub(crate) reader: Reader,
    /// Index of the last entry that is in the database.
    pub(crate) applied: watch::Receiver<u64>,
    pub(crate) store: SnapshotStore,
    pub(crate) search: Search,
    pub(crate) clocks: Clocks,
    pub(crate) meter: Meter,
    pub(crate) version: VersionNow,
    pub(crate) gate: Gate,
    pub(crate) machine: StateMachine,
    /// The thread that applies entries.
    pub(crate) writer: thread::JoinHandle<()>,
}

impl Opened {
    /// Opens log and state, and starts the state machine over them. `listener` hears what is
    /// applied from now on.
    pub(crate) fn open(
        config: &Config,
        codec: &Arc<dyn Codec>,
        listener: Arc<dyn Listener>,
    ) -> Result<Self, StartError> {
        let (log, state) = open_pair(config)?;
        let reader = state.reader();
        let last = state.applied().last.map_or(0, |last| last.index);
        let cluster_version = state.cluster_version();
        let gate = Gate::new(state.ack_policy());
        let (applied_tx, applied) = watch::channel(last);
        let snapshots = offer::directory(&config.data);
        offer::clean_directory(&snapshots)?;
        let store = SnapshotStore::new(&snapshots);
        let search = start_search(config, &log, &reader)?;
        let clocks = Clocks::new(config.node, config.clock.clone(), state.now());
        let meter = Meter::default();
        let version = VersionNow::new(cluster_version);
        let observers = Observers {
            applied: applied_tx,
            listener,
            search: search.clone(),
            clocks: clocks.clone(),
            meter: meter.clone(),
            version: version.clone(),
            gate: gate.clone(),
        };
        let log_view = Log::new(log.clone(), codec.clone());
        let synced = log_view.synced();
        let installed = InstallMarker::new(&config.data);
        let (machine, writer) = StateMachine::start(
            state,
            codec.clone(),
            store.clone(),
            observers,
            synced,
            installed,
        )?;
        Ok(Self {
            log,
            log_view,
            reader,
            applied,
            store,
            search,
            clocks,
            meter,
            version,
            gate,
            machine,
            writer,
        })
    }

    /// Ends what was started, so that nothing has the files open any more, and returns the reason:
    /// the damage that was found meanwhile, or else `error`.
    pub(crate) async fn close(self, error: StartError) -> StartError {
        let Self {
            log,
            reader,
            machine,
            writer,
            ..
        } = self;
        let found = found(&log, &reader).map(StartError::Damaged);
        let found = found.or_else(|| disk_failure(&log, &reader).map(StartError::Disk));
        machine.stop();
        let joined = spawn_blocking(move || {
            log.close();
            writer.join()
        });
        if !matches!(joined.await, Ok(Ok(()))) {
            tracing::error!("a thread of the replica has panicked");
        }
        found.unwrap_or(error)
    }
}

/// Opens log and state, which must belong together.
fn open_pair(config: &Config) -> Result<(Arc<SegmentLog>, State), StartError> {
    let options = log::Options {
        sync: config.sync,
        syncer: config
            .sync_delay
            .clone()
            .map(|delay| Arc::new(SlowSync(delay)) as Arc<dyn log::Syncer>),
        ..log::Options::default()
    };
    let log = SegmentLog::open(&config.data.join("log"), options)?;
    let options = state::Options {
        versions: config.versions,
        witness: config.witness,
        ..state::Options::default()
    };
    let state = State::open(&config.data, options);
    let state = state.map_err(|source| StartError::State {
        source,
        log_has_all: log_has_all(&log),
    })?;
    InstallMarker::new(&config.data).tell(&log, state.applied().last)?;
    check_pair(&log, &state)?;
    Ok((Arc::new(log), state))
}

/// A disk that is slower than it is, as long as there is a delay.
struct SlowSync(Arc<dyn Fn() -> Duration + Send + Sync>);

impl fmt::Debug for SlowSync {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SlowSync")
    }
}

impl log::Syncer for SlowSync {
    #[expect(clippy::disallowed_methods, reason = "a slow disk keeps its thread")]
    fn sync(&self, file: &File) -> io::Result<()> {
        let delay = (self.0)();
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        file.sync_data()
    }
}

/// Starts the search, which reads the state.
fn start_search(config: &Config, log: &SegmentLog, reader: &Reader) -> Result<Search, StartError> {
    let started = Search::start(&config.data, reader.clone());
    started.map_err(|error| match found(log, reader) {
        Some(damage) => StartError::Damaged(damage),
        None => error.into(),
    })
}

/// Checks that log and state, each of which is sound, belong together.
pub(crate) fn check_pair(log: &SegmentLog, state: &State) -> Result<(), StartError> {
    let applied = state.applied().last.map_or(0, |last| last.index);
    if applied > 0 {
        log.verify_reaches(applied)?;
    }
    let purged = log.state().purged.map_or(0, |purged| purged.index);
    match applied < purged {
        true => Err(StartError::StateTooOld { applied, purged }),
        false => Ok(()),
    }
}
