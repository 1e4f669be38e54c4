//! Runs the roll call: every node announces itself to the other nodes, when it starts and every
//! second afterwards, and takes part only after enough of them have confirmed what it says.
//!
//! A node announces which incarnation of which data directory it is, how far its log reaches, and
//! its addresses. The others compare that with what they know (`incarnations.rs`): a node with data
//! older than what it has acknowledged is refused, and is repaired like one with damaged data; a
//! second process with the number of a running node is refused, and stops; a node that has moved is
//! reached at its new addresses, which the leader commits.
//!
//! Always true: a node that has not been confirmed by enough members for a majority gives no vote
//! and acknowledges nothing (`conclave_replica::Replica::admit`). A node that was refused by any
//! voter never does. The answer of a member without a vote ends no node and confirms none: its
//! machine may be hostile.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use conclave_replica::{Lane, Member, NodeMembership, PeerError, Role};
use conclave_wire::{
    address,
    peer::{self, AnnounceVerdict},
};
use futures::future::join_all;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    context::{
        node_context::NodeContext,
        roll_call_state::{Ended, lock},
    },
    identity::incarnations::WRITE_EVERY,
    peer::join_client,
};

pub(crate) mod hear;

/// How often a node announces itself before it takes part, and after that.
const AGAIN: Duration = Duration::from_millis(150);
const EVERY: Duration = Duration::from_secs(1);
/// How long a member may take to answer, because it may have to ask at another address first.
const LIMIT: Duration = Duration::from_millis(1500);
/// How long the log may take to commit the new addresses of a member.
const MOVE_LIMIT: Duration = Duration::from_secs(2);
/// Time without contact from the leader after which a follower is not healthy: dozens of
/// heartbeats.
pub(crate) const CONTACT_MAX: Duration = Duration::from_secs(3);
/// How long the leader may take to confirm that it leads, if it does not reach this node.
const CONFIRM_LIMIT: Duration = Duration::from_millis(500);

/// Announces this node for as long as it runs. Ends when the node must stop, with the reason.
pub(crate) async fn run(shared: Arc<NodeContext>, ended: watch::Sender<Option<Ended>>) {
    let mut written_at = Instant::now();
    let (mut told, mut are_two) = (None, false);
    loop {
        let round = Round::hold(&shared).await;
        if let Some(why) = round.older.filter(|_| !shared.is_stopping()) {
            shared.replica.fence(&format!(
                "its data is older than what it acknowledged: {why}"
            ));
            return;
        }
        if let Some(end) = round.ended {
            tracing::error!(reason = %end.why, "this node must stop");
            ended.send_replace(Some(end));
            return;
        }
        if shared.replica.is_admitted() {
            commit_moves(&shared).await;
            look_for_contact(&shared).await;
            let voters = shared.replica.status().members.all_voters().len();
            if voters == 2 && !std::mem::replace(&mut are_two, true) {
                tracing::warn!("two voters tolerate no failure: add a third");
            }
            are_two = voters == 2;
        } else if round.is_enough {
            if let Err(error) = shared.replica.admit().await {
                tracing::error!(%error, "failed to take part");
            } else {
                tracing::info!(confirmed_by = ?round.accepted, "this node takes part");
            }
            continue;
        } else {
            let waits = round
                .waits
                .unwrap_or_else(|| "too few members answer".to_owned());
            if told.as_ref() != Some(&waits) {
                tracing::info!(reason = %waits, "waiting for members to confirm this node's data");
                told = Some(waits);
            }
        }
        if written_at.elapsed() >= WRITE_EVERY {
            written_at = Instant::now();
            let members = shared.replica.status().members.nodes;
            shared
                .roll
                .incarnations()
                .keep_only(|node| members.is_empty() || members.contains_key(&node));
            if let Err(error) = shared.roll.store().await {
                tracing::warn!(%error, "failed to store what is known of the other nodes");
            }
        }
        sleep(if shared.replica.is_admitted() {
            EVERY
        } else {
            AGAIN
        })
        .await;
    }
}

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
struct Round {
    accepted: BTreeSet<u64>,
    /// Whether the members that accepted, and this node, are enough for a majority.
    is_enough: bool,
    older: Option<String>,
    ended: Option<Ended>,
    waits: Option<String>,
}

impl Round {
    async fn hold(shared: &Arc<NodeContext>) -> Self {
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
        let mut round = Self::default();
        let mut answered = BTreeSet::new();
        for (answer, other) in answers {
            if answer.is_ok() {
                answered.insert(other);
            }
            round.take(node, answer, other, shared.weight_of(other));
        }
        // Members that have moved as well are reached at the addresses that the operator gave.
        if (is_missing || others.is_empty()) && !shared.roll.join.is_empty() {
            round.ask_elsewhere(shared, &request, &answered).await;
        }
        round.is_enough = round.suffices(shared, !others.is_empty());
        round
    }

    /// Asks the nodes at the addresses that the operator gave, except those that have `answered`.
    async fn ask_elsewhere(
        &mut self,
        shared: &Arc<NodeContext>,
        request: &peer::AnnounceRequest,
        answered: &BTreeSet<u64>,
    ) {
        let addresses = shared.roll.join.iter();
        let elsewhere = addresses.filter(|address| **address != shared.own.peer_address);
        let asked = elsewhere.map(|address| shared.announce_at(address, request.clone(), answered));
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
                    self.take(shared.identity.node, Ok(answer), other, weight);
                }
                Err(why) => {
                    self.waits.get_or_insert(why);
                }
            }
        }
    }

    /// Records the answer of `other` to this `node`.
    fn take(
        &mut self,
        node: u64,
        answer: Result<peer::AnnounceResponse, PeerError>,
        other: u64,
        weight: Weight,
    ) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.waits.get_or_insert(format!("node {other}: {error}"));
                return;
            }
        };
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

    /// Returns whether this node may take part.
    fn suffices(&self, shared: &NodeContext, are_others: bool) -> bool {
        let node = shared.identity.node;
        let members = shared.replica.status().members;
        let with_own = |set: &BTreeSet<u64>| {
            let confirmed = set
                .iter()
                .filter(|voter| **voter == node || self.accepted.contains(*voter));
            confirmed.count() > set.len() / 2
        };
        match &members.voters[..] {
            // The log is still empty.
            [] if shared.identity.joined => {
                !self.accepted.is_empty() || !(are_others || self.waits.is_some())
            }
            [] => with_own(&shared.members.keys().copied().collect()),
            sets if members.all_voters().contains(&node) => sets.iter().all(with_own),
            _ => !self.accepted.is_empty(),
        }
    }
}

/// Commits the new addresses of members that have moved, if this node leads.
async fn commit_moves(shared: &NodeContext) {
    let status = shared.replica.status();
    if status.role != Role::Leader {
        return;
    }
    for (node, member) in shared.roll.moved() {
        let known = status.members.nodes.get(&node);
        if known.is_none_or(|known| known.is_at(&member)) {
            continue;
        }
        match shared
            .replica
            .move_member(node, member.clone(), MOVE_LIMIT)
            .await
        {
            Ok(()) => {
                let told = format!("is at {} {}", member.peer_address, member.client_address);
                if shared.roll.logged.should_log((node, told)) {
                    tracing::info!(
                        node,
                        peer_address = member.peer_address,
                        client_address = member.client_address,
                        "a member has moved"
                    );
                }
            }
            Err(error) => tracing::debug!(%error, node, "failed to record a member's addresses"),
        }
    }
}

/// Finds out whether there is a leader that does not reach this node.
async fn look_for_contact(shared: &NodeContext) {
    let is_near = shared.has_contact() || shared.started.elapsed() < CONTACT_MAX;
    // The leader's answer shows that this node reaches the leader, but not the reverse.
    let is_led = !is_near && {
        use conclave_replica::ReadError;
        let confirmed = shared.replica.read_barrier(CONFIRM_LIMIT).await;
        matches!(confirmed, Ok(_) | Err(ReadError::Behind { .. }))
    };
    let is_news = shared.roll.unreached.send_if_modified(|unreached| {
        let is_news = *unreached != is_led;
        *unreached = is_led;
        is_news
    });
    match (is_news, is_led) {
        (false, _) => {}
        (true, true) => tracing::error!(
            peer_address = shared.own.peer_address,
            "the leader does not reach this node, which gets no entries: check its address"
        ),
        (true, false) => tracing::info!("the leader reaches this node again"),
    }
}

impl NodeContext {
    /// Returns the announcement of this node.
    fn announcement(&self) -> peer::AnnounceRequest {
        let status = self.replica.status();
        let incarnations = self.roll.incarnations();
        peer::AnnounceRequest {
            envelope: None,
            incarnation_number: incarnations.own().number,
            incarnation_words: incarnations.words(),
            log_index_last: status.log_index_last,
            applied_index: status.applied_index,
            peer_address: self.own.peer_address.clone(),
            client_address: self.own.client_address.clone(),
            takes_part: self.replica.is_admitted(),
            oldest_version: self.replica.versions().oldest.0,
            newest_version: self.replica.versions().newest.0,
        }
    }

    /// Returns what the answer of a node counts for that has proven its number.
    fn weight_of(&self, node: u64) -> Weight {
        match self.replica.membership_of(node) {
            NodeMembership::Voter => Weight::Decides,
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

    /// Returns whether this node leads, or its leader has reached it lately.
    pub(crate) fn has_contact(&self) -> bool {
        let leads = *self.replica.leader().borrow() == Some(self.identity.node);
        let contact = self.replica.contact();
        leads || contact.is_some_and(|ago| ago < CONTACT_MAX)
    }

    /// Returns whether this node takes part and its leader reaches it.
    pub(crate) fn is_healthy(&self) -> bool {
        self.replica.is_admitted() && self.has_contact()
    }

    /// Returns whether calls are worth sending here: the node takes part, knows a leader, is no
    /// witness and is not leaving its clients.
    pub(crate) fn is_serving(&self) -> bool {
        let is_led = self.replica.leader().borrow().is_some();
        let is_alive = self.replica.status().role != Role::Stopped && !self.is_draining();
        is_led && is_alive && !self.identity.witness && self.is_healthy()
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
        round.take(1, Ok(answer), 4, weight);
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
}
