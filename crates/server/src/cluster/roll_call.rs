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
//! member never does.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use conclave_replica::{Lane, Member, Members, PeerError, Role};
use conclave_wire::peer::{self, AnnounceVerdict};
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
        let takes = |answer: &peer::AnnounceResponse| !answer.takes_no_entries;
        let taking = answers
            .iter()
            .filter(|(answer, _)| answer.as_ref().is_ok_and(takes));
        *lock(&shared.roll.taking) = taking.map(|(_, other)| *other).collect();
        let mut round = Self::default();
        for (answer, other) in answers {
            match answer {
                Ok(answer) => round.take(node, &answer, other),
                Err(error) => round.misses(&format!("node {other}"), &error),
            }
        }
        let addresses = shared.roll.join.iter();
        let elsewhere: Vec<&String> = addresses
            .filter(|address| **address != shared.own.peer_address)
            .collect();
        // Members that have moved as well are reached at the addresses that the operator gave.
        if is_missing || others.is_empty() {
            round.ask_elsewhere(shared, &request, &elsewhere).await;
        }
        let members = shared.replica.status().members;
        let known = shared.members.keys().copied().collect();
        let asks = !others.is_empty() || !elsewhere.is_empty();
        round.is_enough = match shared.identity.joined {
            true if members.voters.is_empty() => round.confirms_empty(asks),
            _ => round.suffices(node, &members, &known),
        };
        round
    }

    /// Announces this node at these addresses, whatever node is there.
    async fn ask_elsewhere(
        &mut self,
        shared: &Arc<NodeContext>,
        request: &peer::AnnounceRequest,
        addresses: &[&String],
    ) {
        let node = shared.identity.node;
        let asked = addresses.iter().map(|address| {
            let mut request = request.clone();
            request.envelope = Some(shared.transport.envelope_for_any_node());
            let dial = shared.security.dial_any_node();
            async move {
                let answer = join_client::announce(address, &dial, request, LIMIT).await;
                (answer, *address)
            }
        });
        for (answer, address) in join_all(asked).await {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    self.misses(address, &error);
                    continue;
                }
            };
            let other = answer.node_id;
            if answer.verdict() == AnnounceVerdict::Recovered {
                self.take(node, &answer, other);
            } else if other != node {
                let place = Member {
                    peer_address: answer.peer_address.clone(),
                    client_address: answer.client_address.clone(),
                    witness: shared.replica.status().members.is_witness(other),
                    set_aside: false,
                };
                shared.has_moved(other, place);
                self.take(node, &answer, other);
            }
        }
    }

    /// Records that a member, or the node at an address, did not answer.
    fn misses(&mut self, asked: &str, error: &PeerError) {
        self.waits.get_or_insert(format!("{asked}: {error}"));
    }

    /// Records the answer of a member to this node.
    fn take(&mut self, node: u64, answer: &peer::AnnounceResponse, other: u64) {
        let why = answer.reason.clone();
        match answer.verdict() {
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
            Ok(()) => tracing::info!(
                node,
                peer_address = member.peer_address,
                client_address = member.client_address,
                "a member has moved"
            ),
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

    const NODE: u64 = 4;

    fn answer(verdict: AnnounceVerdict) -> peer::AnnounceResponse {
        peer::AnnounceResponse {
            verdict: verdict.into(),
            ..peer::AnnounceResponse::default()
        }
    }

    fn unreachable() -> PeerError {
        PeerError::Timeout(LIMIT)
    }

    #[test]
    fn an_empty_log_waits_until_a_member_accepts_it() {
        let mut round = Round::default();
        // The addresses of --join do not answer in time.
        for address in ["a:1", "b:1"] {
            round.misses(address, &unreachable());
        }
        assert!(!round.confirms_empty(true), "no member has accepted it");
        assert!(round.waits.as_ref().unwrap().starts_with("a:1: "));
        round.take(NODE, &answer(AnnounceVerdict::Later), 1);
        assert!(!round.confirms_empty(true));
        round.take(NODE, &answer(AnnounceVerdict::Accepted), 2);
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
                round.take(NODE, &answer(AnnounceVerdict::Accepted), *other);
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
