//! Kills the leader while messages are sent, and starts it again.

use std::time::Duration;

use conclave_local_cluster::LocalCluster;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::{options::Happening, tally::Tally};
use crate::error::BenchError;

/// Longest time until the cluster names its leader.
const LEADER_LIMIT: Duration = Duration::from_secs(10);
/// Time for which the killed node stays dead: longer than any election.
const DEAD_FOR: Duration = Duration::from_secs(3);

/// A killed leader.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Killed {
    /// Number of the node.
    pub(super) node: u64,
    /// Seconds since the beginning of the measurement.
    pub(super) at_s: f64,
    /// Longest time without an acknowledgement from then to the end of the measurement.
    pub(super) gap_ms: u64,
    /// Seconds since the beginning of the measurement when it was started again.
    pub(super) restarted_at_s: f64,
}

/// Kills the leader `after` the measurement has begun, and starts it again. The gap is filled in
/// by the caller, at the end of the measurement.
pub(super) async fn kill_leader(
    cluster: &LocalCluster,
    tally: &Tally,
    (began, after): (Instant, Duration),
    tell: &dyn Fn(Happening),
) -> Result<Killed, BenchError> {
    sleep_until(began + after).await;
    let node = cluster.wait_for_leader(LEADER_LIMIT).await?;
    tally.watch_gap();
    let at_s = began.elapsed().as_secs_f64();
    cluster.kill(node).await?;
    tell(Happening::Killed { node });
    sleep(DEAD_FOR).await;
    tell(Happening::Restarting { node });
    let restarted_at_s = began.elapsed().as_secs_f64();
    cluster.start_node(node).await?;
    Ok(Killed {
        node,
        at_s,
        gap_ms: 0,
        restarted_at_s,
    })
}
