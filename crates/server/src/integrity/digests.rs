//! Compares this node's state at fixed places of the log with the state of other nodes.
//!
//! Two things are compared: the chain over all answers and events, every few entries; and digests
//! of rows after one entry, when a check of the cluster (`walk.rs`) has found a difference. The
//! first shows that something was decided differently, the second that written data has changed.
//!
//! Always true: a node judges itself alone. It diverges only if a majority of the voters has one
//! other state after the same entry; if there is no majority nothing is changed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use conclave_replica::Lane;
use conclave_wire::{Problem, v1};
use futures::future::join_all;
use tokio::time::sleep;

use crate::{
    base::deadline::Deadline,
    context::node_context::NodeContext,
    peer::digest_points::{Kind, Points},
    protocol::problems,
};

/// How often nodes are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(2);
/// How long a peer may take to answer.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// Result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// A majority has one other state after this entry.
    Diverged(u64),
    /// All voters have answered, and no majority has the same state.
    NoMajority(u64),
}

/// Compares a node's points with those of the voters, including its own if it is one. `voters`:
/// number of voters.
fn judge(own: &Points, of_voters: &[Points], voters: usize) -> Verdict {
    let majority = voters / 2 + 1;
    let mut verdict = Verdict::Fine;
    for (place, digest) in own {
        let mut counts: BTreeMap<&[u8; 32], usize> = BTreeMap::new();
        for told in of_voters.iter().filter_map(|points| points.get(place)) {
            *counts.entry(told).or_default() += 1;
        }
        let told: usize = counts.values().sum();
        match counts.iter().find(|(_, count)| **count >= majority) {
            Some((most, _)) if **most != *digest => return Verdict::Diverged(place.0),
            None if told >= voters && voters > 0 => verdict = Verdict::NoMajority(place.0),
            _ => {}
        }
    }
    verdict
}

impl NodeContext {
    /// Returns the digests of this node's state.
    pub(crate) async fn own_points(&self) -> Points {
        let mut points: Points = BTreeMap::new();
        match self.read(|reader| reader.chain_points()).await {
            Ok(chain) => {
                let chain = chain.into_iter();
                points.extend(chain.map(|point| ((point.index, Kind::Chain), point.chain)));
            }
            Err(problem) => tracing::debug!(%problem, "failed to read the chain of digests"),
        }
        points.extend(self.compared.rows());
        points
    }
}

impl NodeContext {
    /// Returns what this node counts and the digests of its state, for an operator.
    pub(crate) async fn state_digest(
        &self,
        deadline: Deadline,
        request: &v1::GetStateDigestRequest,
    ) -> Result<v1::GetStateDigestResponse, Problem> {
        let (index, left) = (request.min_applied_index, deadline.left());
        let reached = self.replica.wait_applied(index, left).await;
        reached.map_err(|error| problems::of_read(&error))?;
        let node_id = self.identity.node;
        if request.without_rows {
            let found = self.read(|reader| reader.counts()).await?;
            return Ok(v1::GetStateDigestResponse {
                node_id,
                applied_index: found.applied.map_or(0, |last| last.index),
                chain: found.chain.to_vec().into(),
                messages: found.messages,
                accounts: found.accounts,
                ..v1::GetStateDigestResponse::default()
            });
        }
        let _turn = self.digests.try_acquire().map_err(|_| Problem::Busy)?;
        // It holds the state of one moment while it reads: not for longer than the caller waits.
        let stopping = self.stopping.subscribe();
        let found = self.read(move |reader| {
            let mut go_on = || !deadline.left().is_zero() && !*stopping.borrow();
            Ok(reader.pin()?.digest(&mut go_on))
        });
        let found = found.await?.map_err(|error| {
            tracing::debug!(%error, "failed to compute the digest");
            Problem::Busy
        })?;
        Ok(v1::GetStateDigestResponse {
            node_id,
            applied_index: found.applied.map_or(0, |last| last.index),
            digest: found.digest.to_vec().into(),
            chain: found.chain.to_vec().into(),
            messages: found.messages,
            accounts: found.accounts,
        })
    }
}

/// Compares this node with the others, for as long as it runs; fences it if it diverges.
pub(crate) async fn compare(shared: Arc<NodeContext>) {
    let node = shared.identity.node;
    // What a witness has is like nothing else.
    if shared.identity.witness {
        return;
    }
    loop {
        sleep(COMPARE_EVERY).await;
        let voters = shared.replica.status().members.full_voters();
        let asked = shared.other_members().into_iter();
        let asked = asked.filter(|(other, _)| voters.contains(other));
        let transport = &shared.transport;
        let answers = join_all(asked.map(|(other, member)| async move {
            let peer = transport.grpc_peer(other, &member, Lane::Calls);
            peer.digests(ASK_LIMIT).await.ok()
        }));
        let mut of_voters: Vec<Points> = answers.await.into_iter().flatten().collect();
        let own = shared.own_points().await;
        if voters.contains(&node) {
            of_voters.push(own.clone());
        }
        match judge(&own, &of_voters, voters.len()) {
            Verdict::Fine => {
                shared.compared.set_differs_at(0);
            }
            Verdict::Diverged(log_index) => {
                let sentence = format!(
                    "a majority of the voters has another state than this node after entry \
                     {log_index}"
                );
                tracing::error!(
                    node,
                    log_index,
                    "the state of this node has diverged from the majority"
                );
                shared.replica.fence(&sentence);
                return;
            }
            Verdict::NoMajority(log_index) => {
                let before = shared.compared.set_differs_at(log_index);
                if before != log_index {
                    tracing::error!(
                        node,
                        log_index,
                        "the voters have different states, and no state has a majority: nothing is \
                         changed; conclave cluster check shows them"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(list: &[(u64, u8)]) -> Points {
        let point = |(at, byte): &(u64, u8)| ((*at, Kind::Chain), [*byte; 32]);
        list.iter().map(point).collect()
    }

    #[test]
    fn only_a_digest_that_differs_from_a_majority_has_diverged() {
        let (same, diverged) = (points(&[(64, 1), (128, 2)]), points(&[(64, 1), (128, 9)]));
        let all = [same.clone(), same.clone(), same.clone(), diverged.clone()];
        assert_eq!(judge(&same, &all, 5), Verdict::Fine);
        assert_eq!(judge(&diverged, &all, 5), Verdict::Diverged(128));
        // Three of seven are no majority, and not all have answered.
        assert_eq!(judge(&diverged, &all, 7), Verdict::Fine);
        // A learner is no voter, and is judged all the same.
        assert_eq!(judge(&diverged, &all[..3], 3), Verdict::Diverged(128));
    }

    #[test]
    fn without_equal_digests_of_a_majority_no_node_has_diverged() {
        let [a, b, c] = [1, 2, 3].map(|byte| points(&[(64, byte)]));
        let all = [a.clone(), a.clone(), b.clone(), b.clone(), c.clone()];
        for own in [&a, &b, &c] {
            assert_eq!(judge(own, &all, 5), Verdict::NoMajority(64));
            // The fifth voter may still decide it.
            assert_eq!(judge(own, &all[..4], 5), Verdict::Fine);
        }
    }

    #[test]
    fn nodes_at_different_indexes_are_compared_at_common_points() {
        let ahead = points(&[(128, 2), (192, 3)]);
        let behind = points(&[(64, 1), (128, 2)]);
        let all = [ahead.clone(), ahead.clone(), behind.clone()];
        assert_eq!(judge(&behind, &all, 3), Verdict::Fine);
        let strange = points(&[(64, 7)]);
        let all = [ahead.clone(), ahead, strange.clone()];
        assert_eq!(judge(&strange, &all, 3), Verdict::Fine);
    }
}
