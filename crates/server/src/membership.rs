//! Changes of the membership as operators ask for them, on whichever node.
//!
//! Always true: only the leader changes anything; a change that would leave no majority of the
//! voters that answer now is refused unless it is forced. Who asks again after a lost answer finds
//! that nothing is left to do.

use std::{collections::BTreeSet, time::Duration};

use conclave_core::Accepted;
use conclave_replica::{Change, Lane, Member, Members};
use conclave_wire::{
    Problem,
    request::{self, token_hash},
    v1,
};
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};
use tonic::Request;

use crate::{
    access::{Deadline, accepted, position_of},
    admin::Margin,
    admission::no_secret,
    config::checked_address,
    join_token::JoinToken,
    operators::join_token_id,
    problems::{self, millis},
    random,
    shared::Shared,
    tls::Security,
};

/// What was asked, on its way.
type Asked<'a, T> = BoxFuture<'a, Result<T, Problem>>;

/// Pause before the leader is asked again.
const PAUSE: Duration = Duration::from_millis(50);

impl Shared {
    /// Makes a token with which one machine can join.
    pub(crate) async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<v1::CreateJoinTokenResponse, Problem> {
        let cluster = self.secret.as_ref().ok_or_else(no_secret)?;
        let secret = match request::chosen_token(&request.get_ref().secret)? {
            Some(secret) => secret,
            None => random::bytes()?,
        };
        let token = JoinToken {
            authority: cluster.authority_fingerprint(),
            secret,
        };
        let hash = token_hash(&secret);
        let outcome = self.make_join_token(&request, hash).await?;
        let members = self.members().into_values();
        let peer_addresses = members.map(|member| member.peer_address).collect();
        accepted(&outcome, |accepted| match accepted {
            Accepted::JoinTokenCreated { expires_at } => Some(v1::CreateJoinTokenResponse {
                token: token.to_text(),
                expires_at_ms: expires_at.0,
                peer_addresses,
                plain: matches!(self.security, Security::Plain),
                token_id: join_token_id(&hash),
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    /// Changes the membership, here or at the leader.
    pub(crate) async fn change_members(
        &self,
        request: v1::ChangeMembersRequest,
        deadline: Deadline,
    ) -> Result<v1::ChangeMembersResponse, Problem> {
        change_in(&request)?;
        self.at_leader(deadline, |shared, leader, left| {
            let request = request.clone();
            Box::pin(async move {
                match leader {
                    None => shared.change_members_here(request, left).await,
                    Some((node, member)) => {
                        let peer = shared.transport.grpc_peer(node, &member, Lane::Calls);
                        peer.change_members(request, left).await
                    }
                }
            })
        })
        .await
    }

    /// Hands leadership over, from here or from wherever it is.
    pub(crate) async fn transfer_leader(
        &self,
        to: u64,
        deadline: Deadline,
    ) -> Result<u64, Problem> {
        self.at_leader(deadline, |shared, leader, left| {
            Box::pin(async move {
                match leader {
                    None => shared.transfer_leader_here(to, left).await,
                    Some((node, member)) => {
                        let peer = shared.transport.grpc_peer(node, &member, Lane::Calls);
                        peer.hand_over(to, left).await
                    }
                }
            })
        })
        .await
    }

    /// Asks whoever leads, until it answers or there is no time left. `None`: this node.
    async fn at_leader<T>(
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
                Some(Err(problem @ (Problem::Refused { .. } | Problem::Broken { .. }))) => {
                    return Err(problem);
                }
                // No leader, another leader, another change: asking again is safe.
                Some(Err(_)) | None => sleep(PAUSE.min(left)).await,
            }
        }
    }

    /// Changes the membership if this node leads.
    pub(crate) async fn change_members_here(
        &self,
        request: v1::ChangeMembersRequest,
        limit: Duration,
    ) -> Result<v1::ChangeMembersResponse, Problem> {
        let change = change_in(&request)?;
        let of_change = |error| problems::of_change(&error);
        let preview = self.replica.preview_change(&change, limit).await;
        let (before, after) = preview.map_err(of_change)?;
        let up = self.voters_up().await;
        let changed = after.is_some();
        let mut after = after.unwrap_or_else(|| before.clone());
        let loses_quorum = margin(&before, &up).quorum && !margin(&after, &up).quorum;
        if changed && loses_quorum && !request.force {
            let sentence = "too few of the voters that would be left answer now";
            return Err(problems::refused("WOULD_LOSE_QUORUM", sentence));
        }
        if changed && !request.dry_run {
            tracing::info!(?change, "the membership changes");
            let done = self.replica.change_members(&change, limit).await;
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

    /// Hands leadership over if this node leads; gives who leads then.
    pub(crate) async fn transfer_leader_here(
        &self,
        to: u64,
        limit: Duration,
    ) -> Result<u64, Problem> {
        let to = (to != 0).then_some(to);
        let done = self.replica.transfer_leader(to, limit).await;
        done.map_err(|error| problems::of_change(&error))
    }

    /// Members that answer now, voters or not: a learner may become one.
    async fn voters_up(&self) -> BTreeSet<u64> {
        let statuses = self.statuses().await.into_iter();
        let up = statuses.filter(|(_, _, status)| status.is_some());
        up.map(|(node, ..)| node).collect()
    }
}

fn margin(members: &Members, up: &BTreeSet<u64>) -> Margin {
    Margin::of(&members.all_voters(), up)
}

fn change_in(request: &v1::ChangeMembersRequest) -> Result<Change, Problem> {
    use v1::change_members_request::Change as Asked;
    match request.change.clone() {
        Some(Asked::Add(node)) => {
            for address in [&node.peer_address, &node.client_address] {
                let invalid = |why| problems::refused("ADDRESS_INVALID", why);
                checked_address(address).map_err(invalid)?;
            }
            let member = Member {
                peer_address: node.peer_address,
                client_address: node.client_address,
            };
            Ok(Change::Add {
                node: node.node_id,
                member,
                replaces: (node.replaces_node_id != 0).then_some(node.replaces_node_id),
            })
        }
        Some(Asked::PromoteNodeId(node)) => Ok(Change::Promote(node)),
        Some(Asked::DemoteNodeId(node)) => Ok(Change::Demote(node)),
        Some(Asked::RemoveNodeId(node)) => Ok(Change::Remove(node)),
        Some(Asked::Replace(replace)) => Ok(Change::Replace {
            old: replace.old_node_id,
            new: replace.new_node_id,
        }),
        None => Err(problems::refused(
            "CHANGE_MISSING",
            "the request says nothing that shall change",
        )),
    }
}
