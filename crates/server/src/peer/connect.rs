//! Connects to the peer port of another machine, and tells what a failed call to it proves.
//!
//! Always true: a connection is made when it is first used, within a limit, and a connection whose
//! other end has disappeared ends within half a second.

use std::time::Duration;

use conclave_replica::PeerError;
use conclave_wire::Problem;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::tls::Dial;

/// How long a connection may take to be made: longer than a flood of callers can delay it. A
/// healthy machine answers far sooner.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Interval of keep-alive pings, and how long the answer may take: a machine that has disappeared
/// is noticed within half a second.
const KEEP_ALIVE_EVERY: Duration = Duration::from_millis(250);
const KEEP_ALIVE_LIMIT: Duration = Duration::from_millis(250);

/// Returns a connection to this address; `None` if the address is invalid.
pub(crate) fn connect_lazily(address: &str, dial: &Dial) -> Option<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_LIMIT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_LIMIT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024);
    Some(dial.channel(&endpoint))
}

/// Returns what a refused or broken call proves.
pub(crate) fn failure_of(status: &Status) -> PeerError {
    if let Some(problem) = Problem::from_status(status) {
        return PeerError::Failed(problem.to_string());
    }
    // A connection that broke may have carried the request: only a connection that was never made
    // proves that nothing was requested.
    let first = std::error::Error::source(status);
    let causes = std::iter::successors(first, |error| error.source());
    if causes
        .clone()
        .any(|cause| cause.is::<tonic::ConnectError>())
    {
        let last = causes.last().map(ToString::to_string);
        return PeerError::Unreachable(last.unwrap_or_else(|| status.message().to_owned()));
    }
    PeerError::Failed(status.message().to_owned())
}
