//! What a node remembers of calls that are for operators (`operators.rs`): the refused calls, and
//! the status of the cluster that callers get who are neither operators nor administrators.
//!
//! Always true: this file decides nothing; repeated refusals of a call are logged as one line in a
//! while.

use std::net::IpAddr;

use conclave_wire::v1;
use tokio::{sync::Mutex, time::Instant};

use crate::base::log_once::LogOnce;

/// What a node remembers of callers that ask for operator calls.
#[derive(Default)]
pub(crate) struct Operators {
    /// Callers that were refused, so that the log names each address and call only once.
    refused: LogOnce<(Option<IpAddr>, &'static str)>,
    /// Cluster status for callers that are neither operators nor administrators, and when it was
    /// made.
    pub(crate) public_status: Mutex<Option<(Instant, v1::GetClusterStatusResponse)>>,
}

impl Operators {
    /// Returns whether the log has not shown this for a while, and records that it does so now.
    pub(crate) fn should_log(&self, what: &'static str) -> bool {
        self.should_log_from(None, what)
    }

    /// Returns the same for a caller at this address.
    pub(crate) fn should_log_from(&self, from: Option<IpAddr>, what: &'static str) -> bool {
        self.refused.should_log((from, what))
    }
}
