//! Changes the membership at the request of operators, on any node.
//!
//! Always true: only the leader changes anything; a change that would leave no majority of the
//! voters that answer now is refused unless it is forced. A caller that asks again after a lost
//! answer finds that nothing is left to do.

use std::{collections::BTreeSet, time::Duration};

use conclave_core::{Accepted, ClusterVersion, JoinTokenId, VersionRange};
use conclave_replica::{Change, Lane, Member, Members, NodeMembership};
use conclave_wire::{
    Problem, Reason, peer,
    request::{self, token_hash},
    v1,
};
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};

use crate::{
    auth::credential::Credential,
    base::{deadline::Deadline, random},
    context::{
        access::{accepted, position_of},
        call::Call,
        node_context::{NodeContext, StatusOf},
    },
    identity::join_token::JoinToken,
    peer::membership::ChangeRequest,
    protocol::problems::{self, millis},
    tls::PeerNames,
};

/// Request on its way to the leader.
type Asked<'a, T> = BoxFuture<'a, Result<T, Problem>>;

/// Pause before the leader is asked again.
const PAUSE: Duration = Duration::from_millis(50);

impl NodeContext {
    /// Makes a token with which one machine can join.
    pub(crate) async fn create_join_token(
        &self,
        call: Call,
        request: v1::CreateJoinTokenRequest,
    ) -> Result<v1::CreateJoinTokenResponse, Problem> {
        let secret = match request::chosen_token(&request.secret)? {
            Some(secret) => secret,
            None => random::bytes()?,
        };
        let hash = token_hash(&secret);
        let outcome = self.make_join_token(&call, &request, hash).await?;
        // A token names the authority that the machine will meet. The end of a rotation revokes the
        // tokens from before it, so that this one is of now.
        self.follow_rotation().await?;
        let token = JoinToken {
            authority: self.security.tls.authority_id().0,
            secret,
        };
        // A machine presents its token to voters alone.
        let members = self.members().into_iter();
        let voters =
            members.filter(|(node, _)| self.replica.membership_of(*node) == NodeMembership::Voter);
        let peer_addresses = voters.map(|(_, member)| member.peer_address).collect();
        accepted(&outcome, |accepted| match accepted {
            Accepted::JoinTokenCreated { expires_at } => Some(v1::CreateJoinTokenResponse {
                token: token.to_text(),
                expires_at_ms: expires_at.0,
                peer_addresses,
                plain: self.security.plain_clients,
                token_id: JoinTokenId::of(&hash).to_string(),
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    /// Returns the message for a node of another cluster: most often the lists that the two were
    /// started with write the same hosts differently.
    pub(crate) fn other_cluster(&self) -> String {
        let cluster = &self.identity.cluster_id;
        let member = |(node, member): (&u64, &Member)| format!("{node}={}", member.peer_address);
        let members: Vec<String> = self.members.iter().map(member).collect();
        format!(
            "this node belongs to cluster {cluster}, which it knows as {}: nodes that make a \
             cluster with --members need the same list, letter by letter",
            members.join(",")
        )
    }

    /// Changes the membership, here or at the leader.
    pub(crate) async fn change_members(
        &self,
        request: &ChangeRequest,
        credential: &Credential,
        deadline: Deadline,
    ) -> Result<v1::ChangeMembersResponse, Problem> {
        self.at_leader(deadline, |shared, leader, left| {
            let (request, credential) = (request.clone(), credential.clone());
            Box::pin(async move {
                match leader {
                    None => shared.change_members_here(&request, left).await,
                    Some((node, member)) => {
                        let peer = shared.transport.grpc_peer(node, &member, Lane::Calls);
                        peer.change_members(&request, &credential, left).await
                    }
                }
            })
        })
        .await
    }

    /// Transfers leadership, from this node or through the leader.
    pub(crate) async fn transfer_leader(
        &self,
        to: u64,
        credential: &Credential,
        deadline: Deadline,
    ) -> Result<u64, Problem> {
        self.at_leader(deadline, |shared, leader, left| {
            let credential = credential.clone();
            Box::pin(async move {
                match leader {
                    None => shared.transfer_leader_here(to, left).await,
                    Some((node, member)) => {
                        let peer = shared.transport.grpc_peer(node, &member, Lane::Calls);
                        peer.transfer_leader(to, &credential, left).await
                    }
                }
            })
        })
        .await
    }

    /// Calls the leader until it answers or the deadline has passed. `ask` gets `None` if this node
    /// leads.
    pub(crate) async fn at_leader<T>(
        &self,
        deadline: Deadline,
        ask: impl for<'a> Fn(&'a Self, Option<(u64, Member)>, Duration) -> Asked<'a, T>,
    ) -> Result<T, Problem> {
        let began = Instant::now();
        loop {
            let left = deadline.left();
            let leader = *self.replica.leader().borrow();
            let outcome = match leader {
                _ if left.is_zero() => {
                    let waited_ms = millis(began.elapsed());
                    return Err(Problem::OutcomeUnknown { waited_ms });
                }
                None => None,
                Some(node) if node == self.identity.node => Some(ask(self, None, left).await),
                Some(node) => match self.replica.member(node) {
                    Some(member) => Some(ask(self, Some((node, member)), left).await),
                    None => None,
                },
            };
            match outcome {
                Some(Ok(done)) => return Ok(done),
                Some(Err(
                    problem @ (Problem::Refused { .. }
                    | Problem::Broken { .. }
                    | Problem::SessionExpired { .. }),
                )) => return Err(problem),
                // There is no leader, another leader or another change: asking again is safe.
                Some(Err(_)) | None => sleep(PAUSE.min(left)).await,
            }
        }
    }

    /// Changes the membership if this node leads.
    pub(crate) async fn change_members_here(
        &self,
        request: &ChangeRequest,
        limit: Duration,
    ) -> Result<v1::ChangeMembersResponse, Problem> {
        let change = &request.change;
        // A machine that is added while the secret is rotated must be prepared, too.
        let _adding = match change {
            Change::Add { .. } => Some(self.rotation.adding.lock().await),
            _ => None,
        };
        if let (Change::Add { .. }, Some(newest)) = (change, request.newest) {
            let oldest = ClusterVersion::FIRST;
            self.fits_the_cluster(VersionRange { oldest, newest })?;
        }
        let of_change = |error| problems::of_change(&error);
        let preview = self.replica.preview_change(change, limit).await;
        let (before, after) = preview.map_err(of_change)?;
        let statuses = self.statuses().await;
        let mut up = self.taking_entries(&statuses);
        // A learner votes only once it has caught up, which proves more than its status does now.
        if let Change::Promote(new) | Change::Replace { new, .. } = change
            && statuses
                .iter()
                .any(|(node, _, told)| node == new && told.is_some())
        {
            up.insert(*new);
        }
        let changed = after.is_some();
        if let Some(after) = &after {
            gains_no_gap(change, after, &statuses)?;
        }
        if let Some(after) = after.as_ref().filter(|_| !request.force) {
            keeps_the_key(after, &statuses)?;
        }
        let mut after = after.unwrap_or_else(|| before.clone());
        let loses_quorum = margin(&before, &up).quorum && !margin(&after, &up).quorum;
        if changed && loses_quorum && !request.force {
            let sentence = "too few of the remaining voters answer and take entries now";
            return Err(Problem::refused(Reason::WouldLoseQuorum, sentence));
        }
        if changed && !request.dry_run {
            tracing::info!(?change, "changing the membership");
            let done = self.replica.change_members(change, limit).await;
            after = done.map_err(of_change)?;
        }
        let voters = after.all_voters();
        let learners = after.nodes.keys().filter(|node| !voters.contains(node));
        Ok(v1::ChangeMembersResponse {
            learner_node_ids: learners.copied().collect(),
            tolerated_before: margin(&before, &up).spare,
            tolerated_after: margin(&after, &up).spare,
            voter_node_ids: voters.into_iter().collect(),
            changed,
        })
    }

    /// Returns the members that can take the place of one that fails, voters or not, because a
    /// learner may become a voter: they answer, take entries, and are not refused.
    pub(crate) fn taking_entries(&self, statuses: &[StatusOf]) -> BTreeSet<u64> {
        let taking = statuses.iter().filter(|(node, _, status)| {
            takes_entries(status.as_ref()) && self.roll.refusal(*node).is_none()
        });
        taking.map(|(node, ..)| *node).collect()
    }

    /// Returns whether a node asks for the place that it was admitted for, and for nothing else.
    pub(crate) fn is_own_place(&self, names: PeerNames, change: &Change) -> bool {
        let node = names.node;
        let may_vote = names.may_vote;
        match *change {
            Change::Promote(promoted) => promoted == node && may_vote,
            Change::Replace { old, new } if new == node => {
                // What a node announces of itself gives it no other's place.
                let members = self.replica.status().members.nodes;
                let address = |node| members.get(&node).map(|known: &Member| &known.peer_address);
                let is_its = old == names.takes || address(old) == address(node);
                is_its && (may_vote || self.replica.membership_of(old) != NodeMembership::Voter)
            }
            _ => false,
        }
    }

    /// Transfers leadership if this node leads; returns the new leader.
    pub(crate) async fn transfer_leader_here(
        &self,
        to: u64,
        limit: Duration,
    ) -> Result<u64, Problem> {
        let to = (to != 0).then_some(to);
        let done = self.replica.transfer_leader(to, limit).await;
        done.map_err(|error| problems::of_change(&error))
    }
}

/// Refuses a membership in which no voter that answers has the key of the authority: no machine
/// could join any more, and no certificate could be renewed.
fn keeps_the_key(after: &Members, statuses: &[StatusOf]) -> Result<(), Problem> {
    let voters = after.all_voters();
    let has_key = |(node, _, status): &StatusOf| {
        voters.contains(node) && status.as_ref().is_some_and(|told| told.has_authority_key)
    };
    if statuses.iter().any(has_key) {
        return Ok(());
    }
    let sentence = "no remaining voter has the key of the cluster's authority yet";
    Err(Problem::refused(Reason::WouldLoseAuthority, sentence))
}

/// Refuses a vote to a witness that lacks in its log what a full member has not applied: after two
/// failures no node might have it. A full member that does not answer has nothing, as far as is
/// known.
fn gains_no_gap(change: &Change, after: &Members, statuses: &[StatusOf]) -> Result<(), Problem> {
    let (Change::Promote(voter) | Change::Replace { new: voter, .. }) = change else {
        return Ok(());
    };
    if !after.is_witness(*voter) {
        return Ok(());
    }
    let told = |node: u64| {
        let mut all = statuses.iter();
        all.find(|(other, ..)| *other == node)?.2.as_ref()
    };
    let lacks = told(*voter).map_or(u64::MAX, |witness| witness.purged_index);
    let mut full = after.nodes.iter().filter(|(_, member)| !member.witness);
    let behind = full.find(|(node, _)| {
        let applied = told(**node).map_or(0, |full| full.applied_index);
        applied < lacks
    });
    match behind {
        None => Ok(()),
        Some((node, _)) => {
            let sentence = format!("node {node} may lack entries that the witness has not either");
            Err(Problem::refused(Reason::LearnerBehind, sentence))
        }
    }
}

/// Returns whether a member that reports this counts for acknowledgements.
fn takes_entries(status: Option<&peer::GetNodeStatusResponse>) -> bool {
    status.is_some_and(|told| !told.takes_no_entries)
}

/// How far one set of voters is from losing its majority.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Margin {
    pub(crate) quorum: bool,
    pub(crate) spare: u32,
}

impl Margin {
    pub(crate) fn of(voters: &BTreeSet<u64>, up: &BTreeSet<u64>) -> Self {
        let reachable = voters.intersection(up).count();
        let majority = voters.len() / 2 + 1;
        Self {
            quorum: reachable >= majority,
            spare: u32::try_from(reachable.saturating_sub(majority)).unwrap_or(u32::MAX),
        }
    }
}

fn margin(members: &Members, up: &BTreeSet<u64>) -> Margin {
    Margin::of(&members.all_voters(), up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_that_answers_but_takes_no_entries_is_no_spare() {
        let told = |takes_no_entries| peer::GetNodeStatusResponse {
            takes_no_entries,
            ..Default::default()
        };
        let answers = [
            (1, Some(told(false))),
            (2, Some(told(false))),
            (3, Some(told(true))),
        ];
        let taking = |answers: &[(u64, Option<peer::GetNodeStatusResponse>)]| {
            let taking = answers
                .iter()
                .filter(|(_, told)| takes_entries(told.as_ref()));
            taking.map(|(node, _)| *node).collect::<BTreeSet<u64>>()
        };
        let voters = BTreeSet::from([1, 2, 3]);
        let with_full = Margin::of(&voters, &taking(&answers));
        assert_eq!((with_full.quorum, with_full.spare), (true, 0));
        // Without one of the other two, nothing would be acknowledged any more.
        assert!(!Margin::of(&BTreeSet::from([1, 3]), &taking(&answers)).quorum);
        assert!(!takes_entries(None), "one that is silent takes nothing");
    }

    #[test]
    fn a_witness_votes_only_if_full_members_have_what_its_log_lacks() {
        let member = |witness| Member {
            witness,
            ..Member::default()
        };
        let nodes = [(1, false), (2, false), (3, true), (4, false)];
        let members = Members {
            nodes: nodes.map(|(node, witness)| (node, member(witness))).into(),
            ..Members::default()
        };
        let status = |node: u64, applied_index: u64, purged_index: u64| {
            let told = peer::GetNodeStatusResponse {
                applied_index,
                purged_index,
                ..peer::GetNodeStatusResponse::default()
            };
            (node, member(false), Some(told))
        };
        let judged = |change: Change, of: [u64; 3], lacks: u64| {
            let statuses = [
                status(1, of[0], 0),
                status(2, of[1], 0),
                status(3, 90, lacks),
                status(4, of[2], 70),
            ];
            gains_no_gap(&change, &members, &statuses).is_ok()
        };
        assert!(judged(Change::Promote(3), [90, 60, 50], 50));
        assert!(!judged(Change::Promote(3), [90, 60, 49], 50));
        assert!(!judged(
            Change::Replace { old: 9, new: 3 },
            [90, 40, 90],
            50
        ));
        assert!(judged(Change::Promote(4), [90, 0, 90], 50), "not a witness");
        assert!(judged(Change::Remove(3), [0; 3], 50));
        let silent = [status(1, 90, 0), (2, member(false), None), status(3, 90, 1)];
        assert!(gains_no_gap(&Change::Promote(3), &members, &silent).is_err());
    }

    #[test]
    fn the_margin_counts_the_failures_still_tolerated() {
        let margin = |voters: u64, up: u64| {
            let voters: BTreeSet<u64> = (1..=voters).collect();
            Margin::of(&voters, &(1..=up).collect())
        };
        assert_eq!(
            margin(5, 5),
            Margin {
                quorum: true,
                spare: 2
            }
        );
        assert_eq!(
            margin(5, 3),
            Margin {
                quorum: true,
                spare: 0
            }
        );
        assert_eq!(
            margin(5, 2),
            Margin {
                quorum: false,
                spare: 0
            }
        );
        assert_eq!(
            margin(3, 3),
            Margin {
                quorum: true,
                spare: 1
            }
        );
        assert_eq!(
            margin(1, 1),
            Margin {
                quorum: true,
                spare: 0
            }
        );
    }
}
