//! Formats for `cluster status` which nodes are catching up: by a snapshot, or by the log.

use std::{collections::BTreeMap, time::Duration};

use conclave_client::v1;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::progress::{Progress, at_rate, left, per_second};

/// A node with fewer entries than this still to apply is not catching up: under load every node
/// is some behind.
const BEHIND_MIN: u64 = 1000;

/// A snapshot on its way from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transfer {
    from: u64,
    to: u64,
    progress: Progress,
}

/// Returns every transfer once: the receiver's figure counts, if it reports one.
pub(super) fn transfers(status: &v1::GetClusterStatusResponse) -> Vec<Transfer> {
    let mut found: BTreeMap<(u64, u64), Transfer> = BTreeMap::new();
    for node in status.nodes.iter().filter(|node| node.reachable) {
        for transfer in &node.transfers {
            let progress = Progress {
                done: transfer.bytes_done,
                total: transfer.bytes_total,
                before: transfer.bytes_before,
                elapsed: Duration::from_millis(transfer.elapsed_ms),
            };
            let (own, peer) = (node.node_id, transfer.peer_node_id);
            let received = transfer.direction() == v1::TransferDirection::In;
            let (from, to) = if received { (peer, own) } else { (own, peer) };
            let told = Transfer { from, to, progress };
            let known = found.entry((from, to)).or_insert(told);
            if received {
                *known = told;
            }
        }
    }
    found.into_values().collect()
}

impl Transfer {
    /// Formats the transfer for people.
    pub(super) fn line(&self) -> String {
        let Self { from, to, progress } = self;
        format!("snapshot {from} → {to}  {}", progress.line())
    }

    /// Formats the transfer for programs.
    pub(super) fn json(&self) -> Value {
        let progress = &self.progress;
        json!({
            "from": self.from,
            "to": self.to,
            "bytes_done": progress.done,
            "bytes_total": progress.total,
            "bytes_before": progress.before,
            "elapsed_ms": u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX),
            "bytes_per_second": progress.bytes_per_second(),
            "remaining_s": progress.remaining().map(|left| left.as_secs()),
        })
    }
}

/// The position of every node at the last look, from which follows how fast it catches up.
#[derive(Debug, Default)]
pub(super) struct Pace {
    applied: BTreeMap<u64, (u64, Instant)>,
}

impl Pace {
    /// Returns one line for each node that still lacks much of the log.
    pub(super) fn lines(
        &mut self,
        status: &v1::GetClusterStatusResponse,
        commit: u64,
        now: Instant,
    ) -> Vec<String> {
        let before = std::mem::take(&mut self.applied);
        let mut lines = Vec::new();
        for node in status.nodes.iter().filter(|node| node.reachable) {
            let (id, applied) = (node.node_id, node.applied_index);
            self.applied.insert(id, (applied, now));
            let behind = commit.saturating_sub(applied);
            if behind < BEHIND_MIN {
                continue;
            }
            let rate = before.get(&id).and_then(|(then, at)| {
                per_second(applied.saturating_sub(*then), now.duration_since(*at))
            });
            let rest = match rate {
                Some(rate) => format!("  {rate}/s  {}", left(at_rate(behind, rate))),
                None => String::new(),
            };
            lines.push(format!("node {id} is {behind} entries behind{rest}"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moving(direction: v1::TransferDirection, peer: u64, done: u64) -> v1::SnapshotTransfer {
        v1::SnapshotTransfer {
            direction: direction.into(),
            peer_node_id: peer,
            bytes_done: done,
            bytes_total: 1000,
            bytes_before: 100,
            elapsed_ms: 1000,
        }
    }

    fn node(id: u64, transfers: Vec<v1::SnapshotTransfer>) -> v1::NodeStatus {
        v1::NodeStatus {
            node_id: id,
            reachable: true,
            transfers,
            ..Default::default()
        }
    }

    #[test]
    fn a_transfer_is_shown_once_with_the_receivers_progress() {
        use v1::TransferDirection::{In, Out};
        let out = vec![moving(Out, 4, 600), moving(Out, 5, 300)];
        let status = v1::GetClusterStatusResponse {
            nodes: vec![node(1, out), node(4, vec![moving(In, 1, 500)])],
            ..Default::default()
        };
        let found = transfers(&status);
        let seen: Vec<_> = found
            .iter()
            .map(|transfer| (transfer.from, transfer.to, transfer.progress.done))
            .collect();
        assert_eq!(seen, [(1, 4, 500), (1, 5, 300)]);
        assert!(found[0].line().starts_with("snapshot 1 → 4  "));
        let json = found[0].json();
        assert_eq!(json["bytes_before"], 100);
        assert_eq!(json["bytes_per_second"], 400);
        assert_eq!(json["remaining_s"], 2);
    }

    #[tokio::test]
    async fn a_lagging_node_is_shown_with_its_rate_and_time_left() {
        let mut pace = Pace::default();
        let now = Instant::now();
        let at = |applied| v1::GetClusterStatusResponse {
            nodes: vec![v1::NodeStatus {
                applied_index: applied,
                ..node(4, Vec::new())
            }],
            ..Default::default()
        };
        let first = pace.lines(&at(1000), 10_000, now);
        assert_eq!(first, ["node 4 is 9000 entries behind"]);
        let second = pace.lines(&at(3000), 10_000, now + Duration::from_secs(1));
        assert_eq!(second, ["node 4 is 7000 entries behind  2000/s  4 s left"]);
        assert!(pace.lines(&at(9500), 10_000, now).is_empty());
    }
}
