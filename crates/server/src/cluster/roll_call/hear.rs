//! Answers the announcement of a node.
//!
//! Always true: a node's announcements are compared one at a time, and no node waits for those of
//! another; what one node can have written, to the disk and to the log, is bounded.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use conclave_replica::Member;
use conclave_wire::{
    address,
    peer::{self, AnnounceVerdict},
};
use tokio::net::TcpStream;

use crate::{
    cluster::upgrade::range_in,
    context::{node_context::NodeContext, roll_call_state::lock},
    identity::{
        incarnations::{Announced, KnownNode, Lineage},
        peers_file::MemberAddresses,
    },
    peer::join_client,
};

/// Maximum number of words of incarnations in one announcement.
const WORDS_MAX: usize = 64;
/// Maximum number of nodes that are remembered: members, and nodes that have just come or gone.
const KNOWN_MAX: usize = 128;
/// How long connecting to an address may take, and then the answer of the process there.
const CONNECT_LIMIT: Duration = Duration::from_millis(300);
const ASK_LIMIT: Duration = Duration::from_millis(600);

/// State of a process that was seen at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    /// The process has just answered.
    Runs,
    /// No process listens there, or another process does.
    Gone,
    /// There is no answer.
    Silent,
}

/// Reason why an announcement gets no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HearError {
    /// A part of the announcement is missing or makes no sense.
    #[error("{0}")]
    Malformed(&'static str),
    /// As many nodes are known as are remembered.
    #[error("too many nodes are known")]
    TooMany,
    /// The incarnation could not be written to the disk.
    #[error("failed to record an incarnation: {0}")]
    NotStored(#[from] io::Error),
}

impl NodeContext {
    /// Compares a node's announcement with what is known of the node.
    pub(crate) async fn hear(
        self: &Arc<Self>,
        node: u64,
        request: peer::AnnounceRequest,
    ) -> Result<peer::AnnounceResponse, HearError> {
        let said = announced_in(node, &request)?;
        let can = range_in(request.oldest_version, request.newest_version);
        let (verdict, reason) = match self.fits_the_cluster(can) {
            Ok(()) => self.judge(&said, request.takes_part).await?,
            Err(problem) => (AnnounceVerdict::Version, problem.to_string()),
        };
        let is_older = verdict == AnnounceVerdict::OlderData;
        match is_older {
            true => lock(&self.roll.refused).insert(node, reason.clone()),
            false if verdict == AnnounceVerdict::Accepted => lock(&self.roll.refused).remove(&node),
            false => None,
        };
        let is_refused = [AnnounceVerdict::RunsElsewhere, AnnounceVerdict::Version];
        if is_older || is_refused.contains(&verdict) {
            self.roll.tell_refusal(node, &reason);
        }
        Ok(peer::AnnounceResponse {
            verdict: verdict.into(),
            reason,
            node_id: self.identity.node,
            peer_address: self.own.peer_address.clone(),
            client_address: self.own.client_address.clone(),
            takes_no_entries: !self.takes_entries(),
        })
    }

    /// Returns the answer to a node from before a recovery by hand: it no longer belongs to this
    /// cluster.
    pub(crate) fn recovered_without(&self) -> peer::AnnounceResponse {
        let cluster = &self.identity.cluster_id;
        peer::AnnounceResponse {
            verdict: AnnounceVerdict::Recovered.into(),
            reason: format!("node {} belongs to cluster {cluster}", self.identity.node),
            node_id: self.identity.node,
            ..peer::AnnounceResponse::default()
        }
    }

    async fn judge(
        self: &Arc<Self>,
        said: &Announced,
        takes_part: bool,
    ) -> Result<(AnnounceVerdict, String), HearError> {
        let accepted = (AnnounceVerdict::Accepted, String::new());
        let later = |why: String| Ok((AnnounceVerdict::Later, why));
        let turn = self.roll.deciding.take(said.node);
        if self.is_known(said) {
            // This node may have been started again with other flags since then.
            if turn.is_some() {
                self.learn_place(said).await;
            }
            return Ok(accepted);
        }
        let Some(_turn) = turn else {
            let node = said.node;
            return later(format!("an announcement of node {node} is being compared"));
        };
        let acknowledged = self
            .replica
            .acknowledged_by(said.node)
            .filter(|_| !takes_part);
        let (lineage, known, has_ended) = {
            let incarnations = self.roll.incarnations();
            if incarnations.known(said.node).is_none() && incarnations.others() >= KNOWN_MAX {
                return Err(HearError::TooMany);
            }
            let has_ended = incarnations.has_ended(said.node, said.incarnation().word);
            (
                incarnations.lineage(said, acknowledged),
                incarnations.known(said.node).cloned(),
                has_ended,
            )
        };
        if let Some(known) = &known
            && known.incarnation != said.incarnation()
            && known.place.peer_address != said.place.peer_address
        {
            let address = &known.place.peer_address;
            match self.look_at(said.node, known).await {
                There::Runs => {
                    let why = format!("node {} runs at {address}", said.node);
                    return Ok((AnnounceVerdict::RunsElsewhere, why));
                }
                There::Silent if known.is_present() => {
                    return later(format!("node {} may still run at {address}", said.node));
                }
                There::Silent | There::Gone => {}
            }
        }
        if has_ended {
            let why = format!("node {} was started again elsewhere", said.node);
            return Ok((AnnounceVerdict::RunsElsewhere, why));
        }
        if let Lineage::Older(why) = lineage {
            return Ok((AnnounceVerdict::OlderData, why));
        }
        if !self.roll.news.admit(said.node) {
            let node = said.node;
            return later(format!(
                "node {node} was started or has moved too often just now"
            ));
        }
        let is_news = self.roll.incarnations().note(said);
        if is_news {
            self.roll.store().await?;
        }
        self.learn_place(said).await;
        Ok(accepted)
    }

    /// Returns whether this incarnation was accepted before, at its present addresses.
    fn is_known(&self, said: &Announced) -> bool {
        let mut incarnations = self.roll.incarnations();
        let known = incarnations.known(said.node);
        let is_known = known.is_some_and(|known| {
            known.incarnation == said.incarnation() && known.place == said.place
        });
        if is_known {
            incarnations.note(said);
        }
        is_known
    }

    /// Finds out whether the known incarnation of a node still runs at its known address.
    async fn look_at(&self, node: u64, known: &KnownNode) -> There {
        let address = &known.place.peer_address;
        match tokio::time::timeout(CONNECT_LIMIT, connect(address)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return There::Gone;
            }
            Ok(Err(_)) | Err(_) => return There::Silent,
            Ok(Ok(())) => {}
        }
        let dial = self.security.dial(node);
        let envelope = self.transport.envelope(node);
        match join_client::status(address, &dial, envelope, ASK_LIMIT).await {
            Ok(status) if status.incarnation_word == known.incarnation.word => There::Runs,
            Ok(_) => There::Gone,
            Err(_) => There::Silent,
        }
    }

    /// Records the addresses of a node, if they are not those that other nodes use.
    async fn learn_place(&self, said: &Announced) {
        let members = self.members();
        let Some(known) = members.get(&said.node) else {
            return;
        };
        let member = Member {
            peer_address: said.place.peer_address.clone(),
            client_address: said.place.client_address.clone(),
            // What a node keeps is settled when it joins.
            witness: known.witness,
            set_aside: false,
        };
        if known.is_at(&member) {
            return;
        }
        let same_peer = known.peer_address == member.peer_address;
        if same_peer && !is_elsewhere(&known.client_address, &member.client_address) {
            return;
        }
        let word = said.incarnation().word;
        if !same_peer && !lock(&self.roll.at_home).contains(&word) {
            // The log may write the address in another way, or name another address that leads to
            // it.
            let as_known = KnownNode {
                incarnation: said.incarnation(),
                place: MemberAddresses {
                    peer_address: known.peer_address.clone(),
                    client_address: known.client_address.clone(),
                },
                ..KnownNode::default()
            };
            if self.look_at(said.node, &as_known).await != There::Runs {
                self.has_moved(said.node, member);
                return;
            }
            let mut at_home = lock(&self.roll.at_home);
            if at_home.len() >= KNOWN_MAX {
                at_home.clear();
            }
            at_home.insert(word);
        }
        if same_peer {
            self.has_moved(said.node, member);
        }
    }

    /// Uses these addresses for a member from now on, unless another member lives there.
    pub(crate) fn has_moved(&self, node: u64, member: Member) {
        if self
            .members()
            .get(&node)
            .is_none_or(|known| known.is_at(&member))
        {
            return;
        }
        let is_news = |what: &str| {
            let told = format!("{what} {} {}", member.peer_address, member.client_address);
            self.roll.logged.should_log((node, told))
        };
        let in_log = self.replica.status().members.nodes;
        let own = (self.identity.node, self.own.peer_address.clone());
        let announced = |other: u64| match other == own.0 {
            true => Some(own.1.clone()),
            false => self.roll.announced_address(other),
        };
        if let Some(other) = lives_at(&in_log, announced, node, &member.peer_address) {
            if is_news("stays") {
                let peer_address = member.peer_address;
                tracing::warn!(
                    peer = node,
                    other,
                    peer_address,
                    "a peer announces the address of another member"
                );
            }
            return;
        }
        if !self.roll.moves.admit(node) {
            return;
        }
        self.transport.redirect(node, &member.peer_address);
        if is_news("moves") {
            tracing::info!(
                peer = node,
                peer_address = member.peer_address,
                client_address = member.client_address,
                "a peer has new addresses"
            );
        }
        lock(&self.roll.moved).insert(node, member);
    }
}

/// Returns the member other than `node` that lives at this address for peers: the log says so, and
/// the member itself has announced no other one. A member that took such an address for its own
/// could take the other's place, too.
fn lives_at(
    in_log: &BTreeMap<u64, Member>,
    announced: impl Fn(u64) -> Option<String>,
    node: u64,
    address: &str,
) -> Option<u64> {
    let mut there = in_log
        .iter()
        .filter(|(other, member)| **other != node && member.peer_address == address);
    let stays = |other: u64| announced(other).is_none_or(|own| own == address);
    there
        .find(|(other, _)| stays(**other))
        .map(|(other, _)| *other)
}

async fn connect(address: &str) -> io::Result<()> {
    TcpStream::connect(address).await.map(drop)
}

/// Returns whether two ways to write an address cannot mean the same place, because the port or the
/// IP address differs. A name may stand for any IP address.
fn is_elsewhere(known: &str, said: &str) -> bool {
    let (Ok(known), Ok(said)) = (known.parse::<SocketAddr>(), said.parse::<SocketAddr>()) else {
        let port = |address: &str| address.rsplit_once(':').map(|(_, port)| port.to_owned());
        return port(known) != port(said);
    };
    known != said
}

fn announced_in(node: u64, request: &peer::AnnounceRequest) -> Result<Announced, HearError> {
    if request.incarnation_words.is_empty() || request.incarnation_words.len() > WORDS_MAX {
        return Err(HearError::Malformed("incarnations"));
    }
    for address in [&request.peer_address, &request.client_address] {
        address::check(address).map_err(HearError::Malformed)?;
    }
    Ok(Announced {
        node,
        number: request.incarnation_number,
        words: request.incarnation_words.clone(),
        log_index_last: request.log_index_last,
        applied_index: request.applied_index,
        place: MemberAddresses {
            peer_address: request.peer_address.clone(),
            client_address: request.client_address.clone(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_differing_ip_or_port_is_another_location() {
        for (known, said, elsewhere) in [
            ("10.0.0.1:7400", "10.0.0.1:7400", false),
            ("10.0.0.1:7400", "10.0.0.2:7400", true),
            ("10.0.0.1:7400", "10.0.0.1:7500", true),
            ("chat.example:7400", "10.0.0.1:7400", false),
            ("chat.example:7400", "10.0.0.1:7500", true),
        ] {
            assert_eq!(is_elsewhere(known, said), elsewhere, "{known} {said}");
        }
    }

    #[test]
    fn no_member_takes_the_address_at_which_another_lives() {
        let member = |address: &str| Member {
            peer_address: address.to_owned(),
            ..Member::default()
        };
        let in_log = [(1, "a:1"), (4, "d:1"), (5, "e:1")];
        let in_log: BTreeMap<u64, Member> =
            in_log.map(|(node, address)| (node, member(address))).into();
        let at = |announced: &[(u64, &str)], node: u64, address: &str| {
            let announced: BTreeMap<u64, &str> = announced.iter().copied().collect();
            let own = |other: u64| announced.get(&other).map(|own| (*own).to_owned());
            lives_at(&in_log, own, node, address)
        };
        assert_eq!(at(&[], 4, "x:1"), None);
        assert_eq!(at(&[], 4, "d:1"), None, "its own");
        assert_eq!(at(&[], 4, "e:1"), Some(5));
        assert_eq!(at(&[(5, "e:1")], 4, "e:1"), Some(5));
        // Two members that exchange their addresses both say so.
        assert_eq!(at(&[(5, "d:1")], 4, "e:1"), None);
    }
}
