//! What a node remembers of calls that are for operators (`operators.rs`): which were refused, and
//! what callers who are neither operators nor administrators are told of the cluster.
//!
//! Always true: it decides nothing; a call that is refused is one line in the log for a while.

use std::net::IpAddr;

use conclave_wire::v1;
use tokio::{sync::Mutex, time::Instant};

use crate::told::Told;

/// What a node knows of callers that want to be operators.
#[derive(Default)]
pub(crate) struct Operators {
    /// Callers that were refused, so that the log says it once for each address and call.
    refused: Told<(Option<IpAddr>, &'static str)>,
    /// What those are told of the cluster who are neither operators nor administrators.
    pub(crate) public_status: Mutex<Option<(Instant, v1::GetClusterStatusResponse)>>,
}

impl Operators {
    /// Whether the log was not told of this for a while; now it is.
    pub(crate) fn is_news(&self, what: &'static str) -> bool {
        self.is_news_from(None, what)
    }

    /// The same for a caller at this address.
    pub(crate) fn is_news_from(&self, from: Option<IpAddr>, what: &'static str) -> bool {
        self.refused.is_news((from, what))
    }
}
