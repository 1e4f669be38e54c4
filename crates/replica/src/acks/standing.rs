//! How far the log of each voter is, as the leader knows it.
//!
//! A voter counts from the entry on that makes it one, and until the entry is committed that takes
//! its vote; while the membership changes, so do those of both sets.

use std::{collections::BTreeSet, time::Duration};

use openraft::{Instant as _, ServerState, metrics::RaftMetrics};

use crate::convert::TypeConfig;

/// Entries that a node may lack when it gets its vote back: it has them within a heartbeat or two.
const LAG_MAX: u64 = 1000;

/// Silence of a node after which it is away: several heartbeats.
const SILENCE_MAX: Duration = Duration::from_millis(500);

type Metrics = RaftMetrics<TypeConfig>;

/// Returns the voters of the newest membership and of the last committed one.
pub(crate) fn voters(metrics: &Metrics) -> BTreeSet<u64> {
    let newest = metrics.membership_config.voter_ids();
    newest
        .chain(metrics.committed_membership_config.voter_ids())
        .collect()
}

/// Returns the last entry that every other voter has on disk; `None` if this node does not lead.
pub(crate) fn through(metrics: &Metrics, own: u64) -> Option<u64> {
    if metrics.state != ServerState::Leader {
        return None;
    }
    let others = voters(metrics).into_iter().filter(|node| *node != own);
    // What is decided is on this node's own disk.
    Some(
        others
            .map(|node| matched(metrics, node))
            .min()
            .unwrap_or(u64::MAX),
    )
}

/// Returns the last entry that a node is known to have on disk, in the term of this leader.
pub(crate) fn matched(metrics: &Metrics, node: u64) -> u64 {
    let known = metrics.replication.as_ref().and_then(|of| of.get(&node));
    known.and_then(Option::as_ref).map_or(0, |id| id.index())
}

/// Returns whether a node answers, and lacks little.
pub(crate) fn is_close(metrics: &Metrics, node: u64) -> bool {
    let heard = metrics.heartbeat.as_ref().and_then(|of| of.get(&node));
    let heard = heard.and_then(Option::as_ref);
    let last = metrics.last_log_index.unwrap_or(0);
    heard.is_some_and(|at| at.elapsed() < SILENCE_MAX)
        && last.saturating_sub(matched(metrics, node)) <= LAG_MAX
}

/// Returns whether a member is set aside.
pub(crate) fn has_any_aside(metrics: &Metrics) -> bool {
    let membership = metrics.membership_config.membership();
    membership.nodes().any(|(_, member)| member.set_aside)
}
