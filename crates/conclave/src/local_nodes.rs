//! What the commands share that start nodes on this machine: `up`, `demo` and `bench`.
//!
//! Finds this program, waits for the signals that end a command, and puts failures into words.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use conclave_bench::BenchError;
use conclave_local_cluster::ClusterError;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    errors::{
        CommandError, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_PERMISSION, EXIT_UNAVAILABLE, EXIT_USAGE,
        OPERATOR_HINT,
    },
    files::draft::Draft,
};

/// Returns the path of this program, which the nodes run.
///
/// # Errors
/// If the system does not know it.
pub(crate) fn this_program() -> Result<PathBuf, CommandError> {
    std::env::current_exe().map_err(|source| {
        words(ClusterError::File {
            path: "the program itself".into(),
            source,
        })
    })
}

/// Begins to watch for Ctrl-C and SIGTERM.
///
/// # Errors
/// If the system does not allow it.
pub(crate) fn signals() -> io::Result<[Signal; 2]> {
    Ok([
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    ])
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn interrupted(signals: &mut [Signal; 2]) {
    let [interrupt, terminate] = signals;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Puts the failure of a local cluster into words.
pub(crate) fn words(error: ClusterError) -> CommandError {
    let hint = match &error {
        ClusterError::Ended { reason, .. } if reason.contains("in use") => {
            "stop what uses it, or choose other ports with --base-port"
        }
        ClusterError::Ended { .. } | ClusterError::Silent { .. } => "see node.log in its directory",
        ClusterError::NotReady { .. } => "see node.log in the directories of the nodes",
        ClusterError::Process { .. } => "check that this program may be run and signalled",
        ClusterError::File { .. } => "check that the directory exists and may be written",
        ClusterError::Relays(_) => "try it again: another process took one of its ports",
        ClusterError::NoPorts { .. } => "stop programs that listen on ports 10000 to 32000",
        ClusterError::Client(_) => "choose other ports with --base-port",
    };
    CommandError::new(EXIT_UNAVAILABLE, error.to_string(), hint)
}

/// A page with figures that replaces the one of an earlier run when it is whole.
pub(crate) struct Page<'a> {
    draft: Draft,
    path: &'a Path,
}

impl<'a> Page<'a> {
    /// Begins the page at a path that the user has named, before there are figures.
    ///
    /// # Errors
    /// If it cannot be written there.
    pub(crate) fn begin(path: &'a Path) -> Result<Self, CommandError> {
        // As readable as the user's other files.
        let draft = Draft::begin(path, 0o666).map_err(|error| not_written(path, &error))?;
        Ok(Self { draft, path })
    }

    /// Writes the page.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub(crate) fn write(self, text: &str) -> Result<(), CommandError> {
        let written = self.draft.file().write_all(text.as_bytes());
        let written = written.and_then(|()| self.draft.replace());
        written.map_err(|error| not_written(self.path, &error))
    }
}

/// Says that the page cannot be written.
fn not_written(path: &Path, error: &io::Error) -> CommandError {
    let sentence = format!("--report: {} cannot be written: {error}", path.display());
    CommandError::new(
        EXIT_USAGE,
        sentence,
        "name a file in a directory that exists",
    )
}

/// Hint for a measurement that other work on the machine may have spoiled.
pub(crate) const MEASURE_AGAIN: &str = "run it again on an idle machine";

/// Puts the failure of a measurement or a demonstration into words.
pub(crate) fn without_result(error: BenchError) -> anyhow::Error {
    let sentence = error.to_string();
    let (exit, hint) = match error {
        BenchError::Cluster(error) => return words(error).into(),
        BenchError::Call(error) => return error.into(),
        BenchError::Client(error) => return error.into(),
        BenchError::Machine(error) => return error.into(),
        BenchError::RecordFull(error) => return error.into(),
        BenchError::NoLeader => (EXIT_UNAVAILABLE, "look at it with: conclave cluster status"),
        BenchError::NoOperator => (EXIT_PERMISSION, OPERATOR_HINT),
        BenchError::OpenFiles { .. } => (
            EXIT_UNAVAILABLE,
            "ask for fewer subscribers, or raise the limit: ulimit -Hn",
        ),
        BenchError::Stalled { .. } => (
            EXIT_FAILED,
            "this is a defect of Conclave: please report it",
        ),
        BenchError::Stopped => (EXIT_INTERRUPTED, "leave it alone for its --seconds"),
        BenchError::Failed(_) => (EXIT_FAILED, MEASURE_AGAIN),
        BenchError::Unproven(_) => (
            EXIT_UNAVAILABLE,
            "run it again with --keep and see the node.log files",
        ),
    };
    CommandError::new(exit, sentence, hint).into()
}
