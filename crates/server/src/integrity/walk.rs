//! Compares the rows of all nodes in short steps, for a check of the cluster.
//!
//! The node that leads the check reads the next rows of a table, and asks the others for a digest
//! of theirs between the same two keys. Equal digests are equal rows, whatever was written in
//! between. If they differ, the rows were changed in between, or have diverged: then the same rows
//! are compared in pieces of a few, and the pieces that still differ exactly after one entry.
//!
//! Always true: each step is one short transaction, so no node keeps its write-ahead log from being
//! emptied; and only digests after one and the same entry say that rows have diverged.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use blake3::Hasher;
use conclave_replica::{Lane, Member, RowsAt};
use conclave_storage::state::{NextRange, RANGES_MAX, Reader, RowRange, range_tables};
use conclave_wire::{peer, v1};
use futures::future::join_all;
use tokio::time::sleep;

use crate::{
    context::{check_state::Check, node_context::NodeContext},
    integrity::rows::{range_out, rows_in},
};

/// How long a node may take for one step in all.
const STEP_LIMIT: Duration = Duration::from_secs(8);
/// Number of attempts to read rows that are not tied to one entry, and the pause between two.
const READ_ATTEMPTS: u32 = 3;
const READ_PAUSE: Duration = Duration::from_millis(500);
/// Number of attempts to agree on an entry.
const AGREE_ATTEMPTS: u32 = 6;
/// Pause between two looks at how fast the log grows.
const PACE: Duration = Duration::from_millis(250);
/// Number of these pauses by which an agreed entry lies ahead, and number of entries on top.
const AHEAD: u64 = 6;
const AHEAD_ENTRIES: u64 = 16;

/// A comparison of all rows, on the node that leads it.
pub(crate) struct Walk<'a> {
    shared: &'a Arc<NodeContext>,
    check: &'a Check,
    members: &'a BTreeMap<u64, Member>,
    /// The nodes that have answered so far, each with a digest of all rows that were compared.
    nodes: BTreeMap<u64, Hasher>,
    verdicts: BTreeMap<u64, v1::CheckVerdict>,
    /// Ranges in which nodes differ, or were changed while they were read.
    suspects: Vec<RowRange>,
}

impl<'a> Walk<'a> {
    /// Prepares the comparison of these nodes.
    pub(crate) fn new(
        shared: &'a Arc<NodeContext>,
        check: &'a Check,
        members: &'a BTreeMap<u64, Member>,
        nodes: impl Iterator<Item = u64>,
    ) -> Self {
        Self {
            shared,
            check,
            members,
            nodes: nodes.map(|node| (node, Hasher::new())).collect(),
            verdicts: BTreeMap::new(),
            suspects: Vec::new(),
        }
    }

    /// Compares all rows, and records the result of each node. Ends early, without a result, when
    /// this node stops or cannot read its own rows.
    pub(crate) async fn run(mut self) {
        let version = self.shared.replica.cluster_version();
        for table in 0..range_tables(version) {
            let mut last: Option<RowRange> = None;
            while !last.as_ref().is_some_and(RowRange::is_last) && !self.is_decided() {
                if self.shared.is_stopping() {
                    return;
                }
                let Some(next) = self.next(table, last.as_ref()).await else {
                    return;
                };
                if !self.step(&next).await {
                    return;
                }
                last = Some(next.range);
                self.check.pause().await;
            }
        }
        if self.settle(0).await {
            self.finish();
        }
    }

    async fn next(&self, table: usize, last: Option<&RowRange>) -> Option<NextRange> {
        for attempt in 1..=READ_ATTEMPTS {
            let last = last.cloned();
            let read = move |reader: &Reader| reader.next_range(table, last.as_ref());
            match self.shared.read_slowly(read).await {
                Ok(next) => return Some(next),
                Err(problem) => tracing::debug!(%problem, attempt, "failed to read rows"),
            }
            sleep(READ_PAUSE).await;
        }
        None
    }

    /// Compares the next range. Returns whether to go on.
    async fn step(&mut self, next: &NextRange) -> bool {
        self.check.at(next.found.index);
        let range = std::slice::from_ref(&next.range);
        let Some(differ) = self.compare(range, next.found.index).await else {
            return false;
        };
        if differ.is_empty() {
            return true;
        }
        let Some(differ) = self.compare(&next.pieces, next.found.index).await else {
            return false;
        };
        self.suspects.extend(differ);
        self.settle(RANGES_MAX).await
    }

    /// Compares rows that may be changed meanwhile. Returns the ranges that differ; `None` if this
    /// node cannot read its own.
    async fn compare(&mut self, ranges: &[RowRange], index: u64) -> Option<Vec<RowRange>> {
        let answers = self.ask_until_all_answer(ranges, index).await?;
        let mut differ = Vec::new();
        for (at, range) in ranges.iter().enumerate() {
            let told = answers.values().map(|digests| digests.get(at));
            match all_equal(told) {
                Some(digest) => {
                    for hasher in self.nodes.values_mut() {
                        hasher.update(digest);
                    }
                }
                None => differ.push(range.clone()),
            }
        }
        // What is divided next is not counted twice.
        Some(differ)
    }

    /// Asks all nodes; one that does not answer is compared no further.
    async fn ask_until_all_answer(
        &mut self,
        ranges: &[RowRange],
        index: u64,
    ) -> Option<BTreeMap<u64, Vec<[u8; 32]>>> {
        let mut known = BTreeMap::new();
        for attempt in 1..=READ_ATTEMPTS {
            let missing = self.nodes.keys().filter(|node| !known.contains_key(*node));
            let missing: Vec<u64> = missing.copied().collect();
            for (node, answer) in self.ask(&missing, ranges, index, false).await {
                if let Some(RowsAt::Read(found)) = answer {
                    known.insert(node, found.digests);
                }
            }
            if known.len() == self.nodes.len() {
                return Some(known);
            }
            if attempt < READ_ATTEMPTS {
                sleep(READ_PAUSE).await;
            }
        }
        self.leave_out(|node| !known.contains_key(&node)).await;
        let own = self.shared.identity.node;
        self.nodes.contains_key(&own).then_some(known)
    }

    async fn ask(
        &self,
        nodes: &[u64],
        ranges: &[RowRange],
        index: u64,
        exact: bool,
    ) -> Vec<(u64, Option<RowsAt>)> {
        let request = peer::DigestRowsRequest {
            envelope: None,
            ranges: ranges.iter().map(range_out).collect(),
            log_index: index,
            exact,
        };
        let asked = nodes.iter().map(|node| {
            let request = request.clone();
            async move {
                if *node == self.shared.identity.node {
                    let own = self.shared.rows_asked(ranges.to_vec(), index, exact);
                    return (*node, own.await.ok());
                }
                let transport = &self.shared.transport;
                let peer = transport.grpc_peer(*node, &self.members[node], Lane::Calls);
                let answer = peer.digest_rows(request, STEP_LIMIT).await.ok();
                (*node, answer.and_then(rows_in))
            }
        });
        join_all(asked).await
    }

    /// Compares what differs exactly after one entry, until fewer than `enough` ranges are left, or
    /// none. Returns whether to go on.
    async fn settle(&mut self, enough: usize) -> bool {
        let is_wanted = |walk: &Self| !walk.suspects.is_empty() && !walk.is_decided();
        while is_wanted(self) && self.suspects.len() >= enough {
            let mut attempt = 1;
            loop {
                if self.shared.is_stopping() {
                    return false;
                }
                match self.settle_some(attempt == AGREE_ATTEMPTS).await {
                    Some(0) => return false,
                    Some(settled) => {
                        self.suspects.drain(..settled);
                        break;
                    }
                    None => attempt += 1,
                }
            }
        }
        true
    }

    /// Compares the first suspects after one entry; returns how many are settled, or `None` if the
    /// nodes did not agree on an entry.
    async fn settle_some(&mut self, is_last: bool) -> Option<usize> {
        let earlier = self.shared.applied_anywhere().await;
        sleep(PACE).await;
        let now = self.shared.applied_anywhere().await;
        let index = agreed(earlier, now);
        let ranges: Vec<RowRange> = self.suspects.iter().take(RANGES_MAX).cloned().collect();
        let nodes: Vec<u64> = self.nodes.keys().copied().collect();
        let answers = self.ask(&nodes, &ranges, index, true).await;
        let is_passed = |answer: &Option<RowsAt>| matches!(answer, Some(RowsAt::Passed { .. }));
        let has_passed = answers.iter().any(|(_, answer)| is_passed(answer));
        let read = answers
            .into_iter()
            .filter_map(|(node, answer)| match answer {
                // Digests of another moment say nothing.
                Some(RowsAt::Read(found)) if found.index == index => Some((node, found.digests)),
                Some(RowsAt::Read(_) | RowsAt::Passed { .. }) | None => None,
            });
        let read: BTreeMap<u64, Vec<[u8; 32]>> = read.collect();
        let is_majority = read.len() > self.members.len() / 2;
        if (has_passed || !is_majority) && !is_last {
            return None;
        }
        self.leave_out(|node| !read.contains_key(&node)).await;
        if !self.nodes.contains_key(&self.shared.identity.node) {
            return Some(0);
        }
        self.check.at(index);
        // As far as every node has read.
        let settled = read.values().map(Vec::len).min().unwrap_or(0);
        for at in 0..settled {
            let digests = read.iter().map(|(node, digests)| (*node, digests[at]));
            self.judge(&digests.collect());
        }
        Some(settled)
    }

    /// Judges the nodes by their digests of the same rows after the same entry.
    fn judge(&mut self, digests: &BTreeMap<u64, [u8; 32]>) {
        for (node, digest) in digests {
            if let Some(hasher) = self.nodes.get_mut(node) {
                hasher.update(digest);
            }
        }
        let voters = self.shared.replica.status().members.full_voters();
        for (node, verdict) in differing(digests, &voters) {
            self.verdicts.entry(node).or_insert(verdict);
            // One difference is enough. This node goes on, because it knows the keys.
            if verdict == v1::CheckVerdict::Diverged && node != self.shared.identity.node {
                self.record(node, verdict);
                self.nodes.remove(&node);
            }
        }
    }

    /// Returns whether there is nothing more to find out.
    fn is_decided(&self) -> bool {
        let mut verdicts = self.verdicts.values();
        verdicts.any(|verdict| *verdict == v1::CheckVerdict::NoMajority)
    }

    /// Compares these nodes no further, and records why.
    async fn leave_out(&mut self, is_lost: impl Fn(u64) -> bool) {
        let lost: Vec<u64> = self.nodes.keys().copied().filter(|n| is_lost(*n)).collect();
        if lost.is_empty() {
            return;
        }
        let up = self.shared.answering_nodes().await;
        for node in lost {
            self.nodes.remove(&node);
            let verdict = match up.contains(&node) {
                true => v1::CheckVerdict::Behind,
                false => v1::CheckVerdict::Unreachable,
            };
            self.check.set(node, |told| told.set_verdict(verdict));
        }
    }

    /// Records the result of the nodes whose rows were compared to the end.
    fn finish(self) {
        let voters = self.shared.replica.status().members.full_voters();
        let compared = self
            .nodes
            .keys()
            .filter(|node| voters.contains(node))
            .count();
        let otherwise = match compared > voters.len() / 2 {
            true => v1::CheckVerdict::Same,
            false => v1::CheckVerdict::NoMajority,
        };
        for node in self.nodes.keys() {
            let verdict = self.verdicts.get(node).copied().unwrap_or(otherwise);
            self.record(*node, verdict);
        }
    }

    fn record(&self, node: u64, verdict: v1::CheckVerdict) {
        let hasher = self.nodes.get(&node);
        let digest = hasher.map(|hasher| hasher.finalize().as_bytes().to_vec());
        self.check.set(node, |told| {
            told.digest = digest.unwrap_or_default().into();
            told.set_verdict(verdict);
        });
    }
}

/// Returns the entry after which the nodes compare, of a log that has grown in one [`PACE`]. Other
/// nodes have said both numbers, so they may be any.
fn agreed(earlier: u64, now: u64) -> u64 {
    let ahead = match now.saturating_sub(earlier) {
        0 => 0,
        grown => grown.saturating_mul(AHEAD).saturating_add(AHEAD_ENTRIES),
    };
    now.saturating_add(ahead)
}

/// Returns the digest that all have; `None` if one has another one, or none.
fn all_equal<'d>(mut digests: impl Iterator<Item = Option<&'d [u8; 32]>>) -> Option<&'d [u8; 32]> {
    let first = digests.next()??;
    digests.all(|digest| digest == Some(first)).then_some(first)
}

/// Returns the verdicts of nodes that do not have the digest of a majority of the voters.
fn differing(
    digests: &BTreeMap<u64, [u8; 32]>,
    voters: &BTreeSet<u64>,
) -> Vec<(u64, v1::CheckVerdict)> {
    let mut counts: BTreeMap<&[u8; 32], usize> = BTreeMap::new();
    for (_, digest) in digests.iter().filter(|(node, _)| voters.contains(node)) {
        *counts.entry(digest).or_default() += 1;
    }
    let most = counts
        .into_iter()
        .find(|(_, count)| *count > voters.len() / 2);
    let differs = digests.iter().filter_map(|(node, digest)| match &most {
        None => Some((*node, v1::CheckVerdict::NoMajority)),
        Some((most, _)) if *most == digest => None,
        Some(_) => Some((*node, v1::CheckVerdict::Diverged)),
    });
    let all_same = all_equal(digests.values().map(Some)).is_some();
    match all_same {
        // Whether these nodes are a majority shows at the end.
        true => Vec::new(),
        false => differs.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::CheckVerdict::{Diverged, NoMajority};

    fn verdicts(bytes: &[u8], voters: u64) -> Vec<(u64, v1::CheckVerdict)> {
        let digests = (1..).zip(bytes).map(|(node, byte)| (node, [*byte; 32]));
        differing(&digests.collect(), &(1..=voters).collect())
    }

    #[test]
    fn rows_diverge_only_from_those_of_a_majority_of_voters() {
        assert_eq!(verdicts(&[1, 1, 1], 3), []);
        assert_eq!(verdicts(&[1, 1, 2], 3), [(3, Diverged)]);
        // A learner is no voter, and is judged all the same.
        assert_eq!(verdicts(&[1, 1, 2, 2], 3), [(3, Diverged), (4, Diverged)]);
        assert_eq!(verdicts(&[1, 2], 3), [(1, NoMajority), (2, NoMajority)]);
        assert_eq!(verdicts(&[1, 1], 5), []);
        let all = verdicts(&[1, 2, 3], 3);
        assert!(all.iter().all(|(_, verdict)| *verdict == NoMajority));
    }

    #[test]
    fn the_agreed_entry_lies_ahead_whatever_nodes_say() {
        assert_eq!(agreed(90, 90), 90);
        assert_eq!(agreed(90, 100), 100 + 10 * AHEAD + AHEAD_ENTRIES);
        assert_eq!(agreed(u64::MAX, 90), 90);
        assert_eq!(agreed(0, u64::MAX), u64::MAX);
        assert_eq!(agreed(1, u64::MAX / 2), u64::MAX);
    }

    #[test]
    fn a_missing_digest_is_a_difference() {
        let (a, b) = ([1; 32], [2; 32]);
        assert_eq!(all_equal([Some(&a), Some(&a)].into_iter()), Some(&a));
        assert_eq!(all_equal([Some(&a), Some(&b)].into_iter()), None);
        assert_eq!(all_equal([Some(&a), None].into_iter()), None);
        assert_eq!(all_equal([None, Some(&a)].into_iter()), None);
    }
}
