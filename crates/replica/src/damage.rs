//! Damage: bytes on this node's disk that are not what was written there.
//!
//! It is not a full disk, a directory in use, or a newer format, nor a disk that does not read,
//! write or sync: of those another copy of the data would not help. What the disk refuses is told
//! as a [`DiskFailure`], and never as damage.

use std::{sync::Arc, thread, time::Duration};

use conclave_storage::{
    DiskFailure,
    log::{LogStore as _, SegmentLog},
    search::Search,
    state::{Reader, State},
};
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::task::spawn_blocking;

use crate::{Config, Replica, StartError, apply::Machine};

/// How long a replica that has stopped looks for the cause in its database.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// How often is looked whether a promise was broken.
const FAILED_POLL: Duration = Duration::from_millis(100);

/// What is damaged, and how that shows. A node must not vote with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The log, in which the votes are.
    Log(String),
    /// The database.
    State {
        /// How that shows.
        why: String,
        /// Whether the log is sound and still has every entry since the first, so that the
        /// database can be made again from it.
        log_has_all: bool,
    },
    /// The state is another one than that of a majority after the same entry.
    Odd(String),
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(why) | Self::State { why, .. } | Self::Odd(why) => f.write_str(why),
        }
    }
}

impl StartError {
    /// The damage that keeps the replica from starting, if that is why.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        match self {
            Self::Log(error) if error.is_damage() => Some(Damage::Log(error.to_string())),
            Self::State {
                source,
                log_has_all,
            } if source.is_damage() => {
                let cause = std::error::Error::source(source);
                let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
                Some(Damage::State {
                    why: format!("{source}{cause}"),
                    log_has_all: *log_has_all,
                })
            }
            Self::Damaged(damage) => Some(damage.clone()),
            Self::StateTooOld { .. } => Some(Damage::State {
                why: self.to_string(),
                log_has_all: false,
            }),
            _ => None,
        }
    }

    /// What the disk refuses, if that is what keeps the replica from starting.
    #[must_use]
    pub fn disk_failure(&self) -> Option<DiskFailure> {
        match self.damage() {
            Some(_) => None,
            None => DiskFailure::in_causes(self),
        }
    }
}

impl Replica {
    /// What the disk has refused since the start, if anything. [`Replica::failed`] ends then: the
    /// node must stop, and must leave its data as it is.
    #[must_use]
    pub fn disk_failure(&self) -> Option<DiskFailure> {
        disk_failure(&self.inner.log, &self.inner.reader)
    }

    /// Ends when a promise is broken, with the reason: the process must stop. Never ends on a
    /// replica that is well or was stopped in order.
    pub async fn failed(&self) -> String {
        // Not by waiting for a change: the metrics change with every entry.
        let metrics = self.inner.raft.metrics();
        loop {
            tokio::time::sleep(FAILED_POLL).await;
            let damage = self.damage().map(|damage| damage.to_string());
            if let Some(failure) = self.disk_failure().filter(|_| damage.is_none()) {
                tracing::error!(error = %failure, "the disk has failed");
                return failure.why;
            }
            if let Some(why) = damage.or_else(|| self.inner.reader.failure()) {
                tracing::error!(error = %why, "a promise is broken");
                return why;
            }
            let broken = match &metrics.borrow_watched().running_state {
                Err(openraft::errors::Fatal::Stopped) | Ok(()) => None,
                Err(fatal) => Some((first_cause(fatal), fatal.to_string())),
            };
            if let Some((why, in_full)) = broken {
                if let Some(failure) = self.disk_failure() {
                    tracing::error!(error = %failure, "the disk has failed");
                    return failure.why;
                }
                tracing::error!(error = %in_full, "a promise is broken");
                self.look_for_damage().await;
                return why;
            }
        }
    }

    /// Has the database checked, because whatever has failed may have failed for its damage.
    async fn look_for_damage(&self) {
        if self.damage().is_some() || self.inner.reader.failure().is_some() {
            return;
        }
        let reader = self.inner.reader.clone();
        let looking = spawn_blocking(move || reader.pin().map(|pinned| pinned.check_file()));
        match tokio::time::timeout(LOOK_LIMIT, looking).await {
            Ok(Ok(Ok(Err(error)))) => tracing::error!(%error, "the database was looked at"),
            Ok(_) => {}
            Err(_) => tracing::warn!("the database was not looked at to its end"),
        }
    }
}

/// The innermost cause of an error, which is what an operator can do something about.
fn first_cause(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}

/// What was found to be damaged since log and state were opened.
pub(crate) fn found(log: &SegmentLog, reader: &Reader) -> Option<Damage> {
    let of_state = || {
        let why = reader.damage()?;
        let log_has_all = log_has_all(log);
        Some(Damage::State { why, log_has_all })
    };
    log.damage().map(Damage::Log).or_else(of_state)
}

/// What the disk has refused since log and state were opened.
pub(crate) fn disk_failure(log: &SegmentLog, reader: &Reader) -> Option<DiskFailure> {
    log.disk_failure().or_else(|| reader.disk_failure())
}

/// Starts the search, which reads the state.
pub(crate) fn start_search(
    config: &Config,
    log: &SegmentLog,
    reader: &Reader,
) -> Result<Search, StartError> {
    let started = Search::start(&config.data, reader.clone());
    started.map_err(|error| match found(log, reader) {
        Some(damage) => StartError::Damaged(damage),
        None => error.into(),
    })
}

/// Ends what was started, so that nothing has the files open any more, and gives the reason: the
/// damage that was found meanwhile, or else `error`.
pub(crate) async fn ended(
    error: StartError,
    (machine, writer): (Machine, thread::JoinHandle<()>),
    log: Arc<SegmentLog>,
    reader: &Reader,
) -> StartError {
    let found = found(&log, reader).map(StartError::Damaged);
    let found = found.or_else(|| disk_failure(&log, reader).map(StartError::Disk));
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

/// Whether the log, which is sound, still has every entry since the first.
pub(crate) fn log_has_all(log: &SegmentLog) -> bool {
    // The first entry of a cluster has the index 0.
    let first = log.read(0..1, usize::MAX);
    log.state().purged.is_none() && first.is_ok_and(|entries| !entries.is_empty())
}

/// Whether log and state, each of which is sound, belong together.
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
