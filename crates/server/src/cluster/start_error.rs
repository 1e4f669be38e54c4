//! Errors with which a node does not start, or does not come back by itself.
//!
//! Always true: no message names a secret, and after an error nothing of the node is left running.

use std::{io, time::Duration};

use conclave_storage::DiskFailure;
use conclave_wire::Problem;

use crate::{
    config::sources::ConfigError, identity::node_identity::IdentityError,
    tls::security::SecurityError,
};

/// A node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The node cannot listen on an address.
    #[error("cannot listen on {address} for {callers}")]
    Listen {
        /// The address.
        address: String,
        /// Callers of the port: clients or peers.
        callers: &'static str,
        /// Cause of the failure.
        #[source]
        source: io::Error,
    },
    /// The replica does not start.
    #[error(transparent)]
    Replica(#[from] conclave_replica::StartError),
    /// The security of connections cannot be set up.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The node's data is damaged, and the node cannot come back by itself. Nothing was changed.
    #[error("the data of this node is damaged ({why}), and {stuck}")]
    Damaged {
        /// Description of the damage.
        why: String,
        /// Reason why the node does not come back.
        #[source]
        stuck: Stuck,
    },
    /// The disk failed while the node started.
    #[error("the disk has failed: {0}")]
    Disk(DiskFailure),
    /// The node cannot be the one that its flags name.
    #[error("{0}")]
    Join(String),
    /// The cluster does not admit the node.
    #[error("the cluster refuses this node: {0}")]
    Refused(Box<Problem>),
    /// A system call that should always succeed has failed.
    #[error("the node cannot start: {0}")]
    System(String),
}

impl StartError {
    /// Returns what the disk refuses, if that keeps the node from starting. Its data is as it was.
    #[must_use]
    pub fn disk_failure(&self) -> Option<DiskFailure> {
        match self {
            Self::Replica(error) => error.disk_failure(),
            Self::Identity(error) => DiskFailure::in_causes(error),
            Self::Disk(failure) => Some(failure.clone()),
            _ => None,
        }
    }
}

/// Reason why a node whose data is damaged does not come back by itself.
#[derive(Debug, thiserror::Error)]
pub enum Stuck {
    /// There is no other node from which the data could come.
    #[error("no other node with the data is known")]
    Alone,
    /// A machine without a secret is not admitted.
    #[error("the cluster has no secret that lets a machine join")]
    NoSecret,
    /// The disk or the memory of this machine must be bad.
    #[error("it was repaired {times} times within an hour")]
    TooOften {
        /// Number of repairs.
        times: usize,
    },
    /// There was no majority.
    #[error("no majority of the others accepted its request to join within {waited:?}")]
    NotAdmitted {
        /// How long the node has waited.
        waited: Duration,
    },
    /// The other nodes refuse to admit it.
    #[error("the others refuse its request to join: {0}")]
    Refused(Box<Problem>),
}
