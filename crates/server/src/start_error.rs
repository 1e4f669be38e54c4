//! Why a node does not start, or does not come back by itself.
//!
//! Always true: what is told names no secret, and after an error nothing of the node is left
//! running.

use std::{io, time::Duration};

use conclave_replica::DiskFailure;
use conclave_wire::Problem;

use crate::{
    config::ConfigError, identity::node_identity::IdentityError, tls::security::SecurityError,
};

/// A node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {whom}")]
    Listen {
        /// The address.
        address: String,
        /// Clients or peers.
        whom: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The replica does not start.
    #[error(transparent)]
    Replica(#[from] conclave_replica::StartError),
    /// It is not known how to speak with others.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// Its data is damaged, and it cannot come back by itself. Nothing was changed.
    #[error("the data of this node is damaged ({why}), and {stuck}")]
    Damaged {
        /// What is damaged.
        why: String,
        /// Why it does not come back.
        #[source]
        stuck: Stuck,
    },
    /// The disk failed while the node started.
    #[error("the disk has failed: {0}")]
    Disk(DiskFailure),
    /// The node cannot be what its flags say.
    #[error("{0}")]
    Join(String),
    /// The cluster does not let it in.
    #[error("the cluster does not let this node in: {0}")]
    Refused(Box<Problem>),
    /// Something that should always work does not.
    #[error("the node cannot start: {0}")]
    System(String),
}

impl StartError {
    /// What the disk refuses, if that is what keeps the node from starting. Its data is as it was.
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

/// Why a node whose data is damaged does not come back by itself.
#[derive(Debug, thiserror::Error)]
pub enum Stuck {
    /// There is nobody to get the data from.
    #[error("no other node is known that has the data")]
    Alone,
    /// Without a secret a machine is not let in.
    #[error("the cluster has no secret with which a machine is let in")]
    NoSecret,
    /// The disk or the memory of this machine must be bad.
    #[error("it was repaired {times} times within an hour")]
    TooOften {
        /// How often.
        times: usize,
    },
    /// There was no majority.
    #[error("no majority of the others has let it in within {waited:?}")]
    NotLetIn {
        /// How long was waited.
        waited: Duration,
    },
    /// The others do not want it.
    #[error("the others do not let it in: {0}")]
    Refused(Box<Problem>),
}
