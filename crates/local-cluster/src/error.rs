//! The reasons why a local cluster cannot do what the caller asked for.
//!
//! Always true: the error of a process names its node, and that of a wait names its limit.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use conclave_client::BuildError;

/// A local cluster cannot do what the caller asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A process cannot be started, stopped or waited for.
    #[error("node {node}: cannot {act} its process: {source}")]
    Process {
        /// Number of the node.
        node: u64,
        /// What was tried.
        act: &'static str,
        /// Reason of the system.
        source: io::Error,
    },
    /// A file or directory cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Reason of the system.
        source: io::Error,
    },
    /// A node ended before it listened.
    #[error("node {node} exited during its start: {reason}")]
    Ended {
        /// Number of the node.
        node: u64,
        /// The error that the node has printed.
        reason: String,
    },
    /// A node did not listen in time.
    #[error("node {node} did not listen within {} s", limit.as_secs())]
    Silent {
        /// Number of the node.
        node: u64,
        /// Time that the node had.
        limit: Duration,
    },
    /// The cluster did not serve in time.
    #[error("the cluster was not ready within {} s: {last}", limit.as_secs())]
    NotReady {
        /// Time that the cluster had.
        limit: Duration,
        /// What was missing at the last look.
        last: String,
    },
    /// The relays between the nodes cannot be opened.
    #[error("the relays between the nodes cannot listen: {0}")]
    Relays(#[source] io::Error),
    /// No ports are left for a throw-away cluster.
    #[error("no {nodes} pairs of free ports were found")]
    NoPorts {
        /// Number of nodes that need ports.
        nodes: u64,
    },
    /// An address of the cluster is invalid.
    #[error(transparent)]
    Client(#[from] BuildError),
}

/// Says which node's process the system has refused to `act` on.
pub(crate) fn process(node: u64, act: &'static str) -> impl FnOnce(io::Error) -> ClusterError {
    move |source| ClusterError::Process { node, act, source }
}

/// Says which file the system has refused.
pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.to_owned();
    move |source| ClusterError::File { path, source }
}
