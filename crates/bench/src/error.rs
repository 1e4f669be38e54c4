//! Reasons for which a measurement or a demonstration has no result.

use std::{io, time::Duration};

use conclave_client::{BuildError, CallError};
use conclave_history::RecorderFull;
use conclave_local_cluster::ClusterError;

/// A measurement or a demonstration has no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The nodes do not start, or do not serve.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A node refused a call, or no node answered.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A client cannot be made.
    #[error(transparent)]
    Client(#[from] BuildError),
    /// This machine gives no files, threads or random bytes.
    #[error(transparent)]
    Machine(#[from] io::Error),
    /// No node knows a leader.
    #[error("no node knows a leader")]
    NoLeader,
    /// The caller has no credential of an operator of the measured nodes.
    #[error("only an operator can compare the nodes at the end")]
    NoOperator,
    /// This machine does not allow as many open files as the streams need.
    #[error("this system does not allow {wanted} open files")]
    OpenFiles {
        /// Number of files.
        wanted: u64,
    },
    /// Sending did not go on after the leader was killed.
    #[error("nothing was acknowledged for {} s", limit.as_secs())]
    Stalled {
        /// Time for which the measurement waited.
        limit: Duration,
    },
    /// It was stopped before its end.
    #[error("stopped before its end")]
    Stopped,
    /// A step took too long, or the nodes contradict each other.
    #[error("{0}")]
    Failed(String),
    /// The record of a demonstration is full.
    #[error(transparent)]
    RecordFull(#[from] RecorderFull),
    /// The nodes cannot be compared at the end of a demonstration.
    #[error("the nodes cannot be compared: {0}")]
    Unproven(#[source] Box<BenchError>),
}

/// Makes the error of a step that took too long, or of nodes that contradict each other.
pub(crate) fn failed(sentence: &str) -> BenchError {
    BenchError::Failed(sentence.to_owned())
}
