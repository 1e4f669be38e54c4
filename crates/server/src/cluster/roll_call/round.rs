//! One round of the roll call: announces this node to every other one, and weighs their answers.
//!
//! Always true: only a voter, or a node that has proven that it has the key of the authority, ends
//! this node or confirms it. Without an answer nothing is confirmed.

use std::{collections::BTreeSet, sync::Arc};

use conclave_replica::{Lane, Member, Members, NodeMembership, PeerError};
use conclave_wire::{
    address,
    peer::{self, AnnounceVerdict},
};
use futures::future::join_all;
use tokio::time::Instant;

use super::LIMIT;
use crate::{
    context::{
        node_context::NodeContext,
        roll_call_state::{Ended, lock},
    },
    peer::join_client,
};

/// What the answer of a node counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// The answer confirms or ends this node: of a voter, as far as this node's log knows, or of a
    /// node that has proven that it has the key of the authority. This node's log may be old.
    Decides,
    /// The answer shows at most why this node waits.
    Informs,
}

/// Result of asking every member once.
#[derive(Default)]
pub(super) struct Round {
    pub(super) accepted: BTreeSet<u64>,
    /// Whether the members that accepted, and this node, are enough for a majority.
    pub(super) is_enough: bool,
    pub(super) older: Option<String>,
    pub(super) ended: Option<Ended>,
    pub(super) waits: Option<String>,
}

impl Round {
    pub(super) async fn hold(shared: &Arc<NodeContext>) -> Self {
        let node = shared.identity.node;
        let others = shared.other_members();
        let request = shared.announcement();
        let asked = others.iter().map(|(other, member)| {
            let peer = shared.transport.grpc_peer(*other, member, Lane::Calls);
            let request = request.clone();
            async move { (peer.announce(request, LIMIT).await, *other) }
        });
        let answers = join_all(asked).await;
        let is_missing = answers.iter().any(|(answer, _)| answer.is_err());
        let answering = answers.iter().filter(|(answer, _)| answer.is_ok());
        *lock(&shared.roll.answering) = answering.map(|(_, other)| *other).collect();
        let takes = |answer: &peer::AnnounceResponse| !answer.takes_no_entries;
        let taking = answers
            .iter()
            .filter(|(answer, _)| answer.as_ref().is_ok_and(takes));
        *lock(&shared.roll.taking) = taking.map(|(_, other)| *other).collect();
        let mut round = Self::default();
        let mut answered = BTreeSet::new();
        for (answer, other) in answers {
            match answer {
                Ok(answer) => {
                    answered.insert(other);
                    round.take(node, &answer, other, shared.weight_of(other));
                }
                Err(error) => round.misses(format!("node {other}: {error}")),
            }
        }
        // Members that have moved as well are reached at the addresses that the operator gave.
        let addresses = shared.roll.join.iter();
        let elsewhere: Vec<&String> = addresses
            .filter(|address| **address != shared.own.peer_address)
            .collect();
        if is_missing || others.is_empty() {
            let asking = round.ask_elsewhere(shared, &request, &elsewhere, &answered);
            asking.await;
        }
        let members = shared.replica.status().members;
        let asks = !others.is_empty() || !elsewhere.is_empty();
        round.is_enough = match shared.identity.joined {
            true if members.voters.is_empty() => round.confirms_empty(asks),
            _ => {
                let known = shared.members.keys().copied().collect();
                round.suffices(node, &members, &known)
            }
        };
        round
    }

    /// Asks the nodes at these addresses, except those that have `answered`.
    async fn ask_elsewhere(
        &mut self,
        shared: &Arc<NodeContext>,
        request: &peer::AnnounceRequest,
        addresses: &[&String],
        answered: &BTreeSet<u64>,
    ) {
        let addresses = addresses.iter();
        let asked = addresses.map(|address| shared.announce_at(address, request.clone(), answered));
        for result in join_all(asked).await {
            match result {
                Ok(None) => {}
                Ok(Some((other, answer, weight))) => {
                    let said = [&answer.peer_address, &answer.client_address];
                    if said.iter().all(|said| address::check(said).is_ok()) {
                        let place = Member {
                            peer_address: answer.peer_address.clone(),
                            client_address: answer.client_address.clone(),
                            witness: shared.replica.status().members.is_witness(other),
                            set_aside: false,
                        };
                        shared.has_moved(other, place);
                    }
                    self.take(shared.identity.node, &answer, other, weight);
                }
                Err(why) => self.misses(why),
            }
        }
    }

    /// Records why there is no answer.
    fn misses(&mut self, why: String) {
        self.waits.get_or_insert(why);
    }

    /// Records the answer of `other` to this `node`.
    fn take(&mut self, node: u64, answer: &peer::AnnounceResponse, other: u64, weight: Weight) {
        let why = answer.reason.clone();
        match answer.verdict() {
            verdict if weight == Weight::Informs => {
                if verdict != AnnounceVerdict::Accepted {
                    let why = format!("node {other} does not confirm it, and has no vote");
                    self.waits.get_or_insert(why);
                }
            }
            AnnounceVerdict::Accepted => {
                self.accepted.insert(other);
            }
            AnnounceVerdict::OlderData => self.older = Some(why),
            AnnounceVerdict::RunsElsewhere => {
                self.ended = Some(Ended {
                    why: format!("another process with the number {node} runs: {why}"),
                    hint: "a data directory belongs to one node: stop one of the two. Another \
                           machine joins with a token and an empty directory: conclave token \
                           create",
                });
            }
            AnnounceVerdict::Recovered => {
                self.ended = Some(Ended {
                    why: format!("the cluster was recovered without this node: {why}"),
                    hint: "what this node has may contradict the cluster: keep its directory \
                           aside, and let the machine join with an empty one: conclave token \
                           create",
                });
            }
            AnnounceVerdict::Version => {
                self.ended = Some(Ended {
                    why,
                    hint: "nothing was changed: install the release that the other nodes run \
                           (conclave cluster status), and start this node again",
                });
            }
            AnnounceVerdict::Later | AnnounceVerdict::Unspecified => {
                self.waits = Some(format!("node {other}: {why}"));
            }
        }
    }

    /// Returns whether a node that joined, and has an empty log, may take part. `asks`: whether it
    /// knows the address of any other node. No answer confirms nothing: the node may have lost a
    /// log in which it had voted.
    fn confirms_empty(&self, asks: bool) -> bool {
        !self.accepted.is_empty() || !asks
    }

    /// Returns whether this node may take part. `known`: the members that its flags name, for an
    /// empty log.
    fn suffices(&self, node: u64, members: &Members, known: &BTreeSet<u64>) -> bool {
        let with_own = |set: &BTreeSet<u64>| {
            let confirmed = set
                .iter()
                .filter(|voter| **voter == node || self.accepted.contains(*voter));
            confirmed.count() > set.len() / 2
        };
        match &members.voters[..] {
            [] => with_own(known),
            sets if members.all_voters().contains(&node) => sets.iter().all(with_own),
            _ => !self.accepted.is_empty(),
        }
    }
}

impl NodeContext {
    /// Returns what the answer of a node counts for that has proven its number.
    fn weight_of(&self, node: u64) -> Weight {
        match self.replica.membership_of(node) {
            NodeMembership::Voter => Weight::Decides,
            // With an empty log, only members that a voter or the flags have named are known.
            _ if self.replica.status().members.voters.is_empty() => Weight::Decides,
            NodeMembership::Learner | NodeMembership::Unknown => Weight::Informs,
        }
    }

    /// Announces this node at an address where another node may be, and returns that node's number,
    /// its answer and what the answer counts for; `None` if the node has `answered` before, or is
    /// this one.
    ///
    /// Every certificate of the cluster is enough for the first answer, which therefore is only a
    /// hint at which node is there. The node is asked again as the one that it claims to be. Both
    /// take [`LIMIT`] at most.
    async fn announce_at(
        &self,
        address: &str,
        mut request: peer::AnnounceRequest,
        answered: &BTreeSet<u64>,
    ) -> Result<Option<(u64, peer::AnnounceResponse, Weight)>, String> {
        let failed = |error: PeerError| format!("{address}: {error}");
        let began = Instant::now();
        request.envelope = Some(self.transport.envelope_for_any_node());
        let dial = self.security.dial_any_node();
        let hint = join_client::announce(address, &dial, request.clone(), LIMIT).await;
        let hint = hint.map_err(failed)?;
        let other = hint.node_id;
        let is_own = other == self.identity.node;
        // Another process with this number may have recovered the cluster.
        let is_recovered =
            |answer: &peer::AnnounceResponse| answer.verdict() == AnnounceVerdict::Recovered;
        if answered.contains(&other) || is_own && !is_recovered(&hint) {
            return Ok(None);
        }
        let is_member = self.replica.membership_of(other) != NodeMembership::Unknown;
        let (dial, weight) = match is_member && !is_own {
            true => (self.security.dial(other), self.weight_of(other)),
            false => (self.security.dial_any_key_holder(), Weight::Decides),
        };
        request.envelope = Some(self.transport.envelope(other));
        let left = LIMIT.saturating_sub(began.elapsed());
        let answer = join_client::announce(address, &dial, request, left).await;
        let answer = answer.map_err(failed)?;
        Ok((!is_own || is_recovered(&answer)).then_some((other, answer, weight)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERDICTS: [AnnounceVerdict; 7] = [
        AnnounceVerdict::Unspecified,
        AnnounceVerdict::Accepted,
        AnnounceVerdict::OlderData,
        AnnounceVerdict::RunsElsewhere,
        AnnounceVerdict::Later,
        AnnounceVerdict::Recovered,
        AnnounceVerdict::Version,
    ];

    fn taken(verdict: AnnounceVerdict, weight: Weight) -> Round {
        let mut round = Round::default();
        let answer = peer::AnnounceResponse {
            verdict: verdict.into(),
            reason: "so it says".to_owned(),
            // The number is that of the connection, whatever the answer says.
            node_id: 2,
            ..peer::AnnounceResponse::default()
        };
        round.take(1, &answer, 4, weight);
        round
    }

    #[test]
    fn an_answer_without_a_vote_ends_and_confirms_nothing() {
        for verdict in VERDICTS {
            let round = taken(verdict, Weight::Informs);
            assert!(round.ended.is_none(), "{verdict:?}");
            assert!(round.older.is_none(), "{verdict:?}");
            assert!(round.accepted.is_empty(), "{verdict:?}");
            let waits = verdict != AnnounceVerdict::Accepted;
            assert_eq!(round.waits.is_some(), waits, "{verdict:?}");
        }
    }

    #[test]
    fn an_answer_of_a_voter_ends_fences_or_confirms() {
        for verdict in VERDICTS {
            let round = taken(verdict, Weight::Decides);
            let ends = [
                AnnounceVerdict::RunsElsewhere,
                AnnounceVerdict::Recovered,
                AnnounceVerdict::Version,
            ];
            assert_eq!(
                round.ended.is_some(),
                ends.contains(&verdict),
                "{verdict:?}"
            );
            let older = verdict == AnnounceVerdict::OlderData;
            assert_eq!(round.older.is_some(), older, "{verdict:?}");
            let accepts = verdict == AnnounceVerdict::Accepted;
            assert_eq!(round.accepted.contains(&4), accepts, "{verdict:?}");
            assert!(!round.accepted.contains(&2), "{verdict:?}");
        }
    }

    const NODE: u64 = 4;

    fn answer(verdict: AnnounceVerdict) -> peer::AnnounceResponse {
        peer::AnnounceResponse {
            verdict: verdict.into(),
            ..peer::AnnounceResponse::default()
        }
    }

    #[test]
    fn an_empty_log_waits_until_a_member_accepts_it() {
        let mut round = Round::default();
        // The addresses of --join do not answer in time.
        for address in ["a:1", "b:1"] {
            round.misses(format!("{address}: no answer"));
        }
        assert!(!round.confirms_empty(true), "no member has accepted it");
        assert!(round.waits.as_ref().unwrap().starts_with("a:1: "));
        round.take(NODE, &answer(AnnounceVerdict::Later), 1, Weight::Decides);
        assert!(!round.confirms_empty(true));
        round.take(NODE, &answer(AnnounceVerdict::Accepted), 2, Weight::Decides);
        assert!(round.confirms_empty(true));
        // A node that knows no other is reached by the leader alone.
        assert!(Round::default().confirms_empty(false));
    }

    #[test]
    fn a_voter_needs_a_majority_of_each_set_with_itself() {
        let set = |nodes: &[u64]| nodes.iter().copied().collect::<BTreeSet<u64>>();
        let accepted = |nodes: &[u64], voters: &[&[u64]], known: &[u64]| {
            let mut round = Round::default();
            for other in nodes {
                round.take(
                    NODE,
                    &answer(AnnounceVerdict::Accepted),
                    *other,
                    Weight::Decides,
                );
            }
            let members = Members {
                voters: voters.iter().map(|nodes| set(nodes)).collect(),
                ..Members::default()
            };
            round.suffices(NODE, &members, &set(known))
        };
        assert!(accepted(&[1], &[&[1, 2, 4]], &[]));
        assert!(!accepted(&[], &[&[1, 2, 4]], &[]));
        assert!(!accepted(&[1], &[&[1, 2, 4], &[4, 5, 6]], &[]));
        assert!(accepted(&[1, 5], &[&[1, 2, 4], &[4, 5, 6]], &[]));
        // A learner needs one member, and an empty log what the flags name.
        assert!(accepted(&[1], &[&[1, 2, 3]], &[]) && !accepted(&[], &[&[1, 2, 3]], &[]));
        assert!(accepted(&[1], &[], &[1, 2, 4]) && !accepted(&[], &[], &[1, 2, 4]));
    }
}
