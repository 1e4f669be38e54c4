//! Opens what a replica needs beside the engine, and ends it again if the engine does not start.
//!
//! Always true: after a failed start no file is open any more, and damage that was found meanwhile
//! is the reason that is given.

use std::{sync::Arc, thread};

use conclave_storage::{
    log::{LogStore as _, SegmentLog},
    search::Search,
    state::{Reader, State},
};
use tokio::task::spawn_blocking;

use crate::{
    Config, StartError,
    apply::StateMachine,
    health::damage::{disk_failure, found},
};

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

/// Ends what was started, so that nothing has the files open any more, and returns the reason: the
/// damage that was found meanwhile, or else `error`.
pub(crate) async fn ended(
    error: StartError,
    (machine, writer): (StateMachine, thread::JoinHandle<()>),
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
