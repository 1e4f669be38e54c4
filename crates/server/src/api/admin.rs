//! Serves operators and administrators: the status of the cluster, the check of this node's state,
//! and who may use the cluster.
//!
//! Always true: the log decides an administrator's request, because it knows who is an
//! administrator; a code or a token is shown to its maker once and stored nowhere.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use conclave_core::{Accepted, Command, SessionId, TokenHash};
use conclave_wire::{
    Problem, peer,
    request::{self, SessionRequest, TOKEN_BYTES, token_hash},
    v1::{self, admin_service_server::AdminService},
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::{
    api::account_limits,
    auth::sessions::show_token,
    base::{deadline::Deadline, random},
    connections::Places,
    context::{
        access::{accepted, position_of},
        shared::Shared,
    },
    peer::on_behalf::OnBehalf,
    protocol::problems,
};

/// Maximum age of the cluster status that unknown callers get.
const PUBLIC_STATUS_AGE_MAX: Duration = Duration::from_secs(1);

pub(crate) struct Admin {
    pub(crate) shared: Arc<Shared>,
}

/// Request for a bot, with the hash of its token.
struct WithToken(v1::CreateBotRequest, TokenHash);

impl SessionRequest for WithToken {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        request::create_bot(session, self.0, self.1)
    }
}

impl Admin {
    async fn status(&self) -> v1::GetClusterStatusResponse {
        let replica = self.shared.replica.status();
        let statuses = self.shared.statuses().await;
        let up: BTreeSet<u64> = statuses
            .iter()
            // A refused node never takes part, so it cannot replace a failed one.
            .filter(|(node, _, status)| {
                status.is_some() && self.shared.roll.refusal(*node).is_none()
            })
            .map(|(id, ..)| *id)
            .collect();
        let nodes = statuses.into_iter().map(|(node, member, status)| {
            let known = v1::NodeStatus {
                node_id: node,
                client_address: member.client_address,
                peer_address: member.peer_address,
                refusal: self.shared.roll.refusal(node).unwrap_or_default(),
                ..v1::NodeStatus::default()
            };
            status.map_or(known.clone(), |status| reachable(known, status))
        });
        let margins: Vec<Margin> = replica
            .members
            .voters
            .iter()
            .map(|voters| Margin::of(voters, &up))
            .collect();
        let voters = replica.members.all_voters();
        // A node that is about to get a vote cannot replace a failed voter yet.
        let spare = match replica.members_settled {
            true => margins.iter().map(|margin| margin.spare).min().unwrap_or(0),
            false => 0,
        };
        v1::GetClusterStatusResponse {
            cluster_id: self.shared.identity.cluster_id.clone(),
            node_id: self.shared.identity.node,
            leader_id: replica.leader.unwrap_or(0),
            nodes: nodes.collect(),
            voters: count(voters.len()),
            voters_reachable: count(voters.intersection(&up).count()),
            tolerates_failures: spare,
            preferred_leader_id: self.shared.preferred_leader().map_or(0, |node| node.0),
            quorum: !margins.is_empty() && margins.iter().all(|margin| margin.quorum),
            partial: false,
            client_port: Some(port_status(&self.shared.client_places)),
            peer_port: Some(port_status(&self.shared.peer_places)),
        }
    }

    /// Returns what any caller may know: whether the cluster serves, and which node leads. However
    /// many callers ask, this node asks the others only once in a while; the leader is the one that
    /// this node knows now.
    async fn public_status(&self) -> v1::GetClusterStatusResponse {
        let mut kept = self.shared.operators.public_status.lock().await;
        if let Some((at, status)) = &*kept
            && at.elapsed() < PUBLIC_STATUS_AGE_MAX
        {
            return v1::GetClusterStatusResponse {
                leader_id: self.shared.replica.status().leader.unwrap_or(0),
                ..status.clone()
            };
        }
        let mut status = self.status().await;
        status.partial = true;
        for node in &mut status.nodes {
            *node = v1::NodeStatus {
                node_id: node.node_id,
                reachable: node.reachable,
                role: node.role,
                term: node.term,
                ..v1::NodeStatus::default()
            };
        }
        *kept = Some((Instant::now(), status.clone()));
        status
    }

    async fn digest(
        &self,
        request: Request<v1::GetStateDigestRequest>,
    ) -> Result<v1::GetStateDigestResponse, Problem> {
        self.shared
            .for_operators_here(&request, "GetStateDigest")
            .await?;
        let deadline = Deadline::of(request.metadata());
        let index = request.into_inner().min_applied_index;
        let reached = self
            .shared
            .replica
            .wait_applied(index, deadline.left())
            .await;
        reached.map_err(|error| problems::of_read(&error))?;
        let _turn = self
            .shared
            .digests
            .try_acquire()
            .map_err(|_| Problem::Busy)?;
        let found = self.shared.read(|reader| reader.digest()).await?;
        Ok(v1::GetStateDigestResponse {
            node_id: self.shared.identity.node,
            applied_index: found.applied.map_or(0, |last| last.index),
            digest: found.digest.to_vec().into(),
            chain: found.chain.to_vec().into(),
            messages: found.messages,
            accounts: found.accounts,
        })
    }
}

impl Admin {
    async fn remove_account(
        &self,
        request: Request<v1::RemoveAccountRequest>,
    ) -> Result<v1::RemoveAccountResponse, Problem> {
        let outcome = self.shared.propose_in_session(request).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::AccountDeleted => Some(v1::RemoveAccountResponse {
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    async fn create_bot(
        &self,
        request: Request<v1::CreateBotRequest>,
    ) -> Result<v1::CreateBotResponse, Problem> {
        let token = match request::chosen_token(&request.get_ref().token)? {
            Some(token) => token,
            None => random::bytes::<TOKEN_BYTES>()?,
        };
        let hash = token_hash(&token);
        let request = request.map(|request| WithToken(request, hash));
        let outcome = self.shared.propose_in_session(request).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::BotCreated { account, session } => {
                self.shared.sessions.keep(hash, *session, *account);
                Some(v1::CreateBotResponse {
                    id: account.0,
                    token: show_token(&token),
                    position: position_of(&outcome),
                })
            }
            _ => None,
        })
    }
}

impl Admin {
    async fn change_members(
        &self,
        request: Request<v1::ChangeMembersRequest>,
    ) -> Result<v1::ChangeMembersResponse, Problem> {
        let deadline = Deadline::of(request.metadata());
        self.shared.for_operators(&request, "ChangeMembers").await?;
        let for_whom = OnBehalf::of(request.metadata());
        let request = request.into_inner();
        self.shared
            .change_members(request, &for_whom, deadline)
            .await
    }

    async fn check(
        &self,
        request: Request<v1::CheckClusterRequest>,
    ) -> Result<v1::CheckClusterResponse, Problem> {
        self.shared.for_operators(&request, "CheckCluster").await?;
        let check = self.shared.check(request.get_ref().check_id)?;
        Ok(check.progress())
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<v1::TransferLeaderResponse, Problem> {
        let deadline = Deadline::of(request.metadata());
        self.shared
            .for_operators(&request, "TransferLeader")
            .await?;
        let leader = self
            .shared
            .transfer_leader(
                request.get_ref().node_id,
                &OnBehalf::of(request.metadata()),
                deadline,
            )
            .await?;
        Ok(v1::TransferLeaderResponse {
            leader_node_id: leader,
        })
    }
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
            spare: count(reachable.saturating_sub(majority)),
        }
    }
}

fn reachable(known: v1::NodeStatus, status: peer::GetNodeStatusResponse) -> v1::NodeStatus {
    v1::NodeStatus {
        reachable: true,
        role: i32::try_from(status.role).unwrap_or(0),
        term: status.term,
        log_index_last: status.log_index_last,
        commit_index: status.commit_index,
        applied_index: status.applied_index,
        version: status.version,
        uptime_ms: status.uptime_ms,
        durable: status.durable,
        leader_id: status.leader_id,
        differs_at_index: status.differs_at_index,
        clock_skew_ms: status.clock_skew_ms,
        clock_is_off: status.clock_is_off,
        waits: status.waits,
        unreached: status.unreached,
        transfers: status.transfers,
        free_bytes: status.free_bytes,
        low_space: status.low_space,
        refuses_growth: status.refuses_growth,
        ..known
    }
}

fn port_status(places: &Places) -> v1::PortStatus {
    let counts = places.counts();
    let closed = counts.cut.into_iter().map(|(reason, count)| {
        let reason = reason.to_owned();
        v1::ClosedConnections { reason, count }
    });
    v1::PortStatus {
        connections: counts.open,
        connections_max: counts.open_max,
        strangers: counts.strangers,
        strangers_max: counts.strangers_max,
        taken: counts.taken,
        held_bytes: counts.held_bytes,
        held_bytes_max: counts.held_bytes_max,
        closed: closed.collect(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn get_cluster_status(
        &self,
        request: Request<v1::GetClusterStatusRequest>,
    ) -> Result<Response<v1::GetClusterStatusResponse>, Status> {
        let status = match self.shared.may_see_all(request.metadata()).await {
            Ok(true) => self.status().await,
            // A node that cannot read its database answers with what any caller may know.
            Ok(false) | Err(_) => self.public_status().await,
        };
        self.shared.reply(Ok(status))
    }

    async fn get_state_digest(
        &self,
        request: Request<v1::GetStateDigestRequest>,
    ) -> Result<Response<v1::GetStateDigestResponse>, Status> {
        self.shared.reply(self.digest(request).await)
    }

    async fn set_account_role(
        &self,
        request: Request<v1::SetAccountRoleRequest>,
    ) -> Result<Response<v1::SetAccountRoleResponse>, Status> {
        let done = self.shared.done_in_session(request).await;
        let response = done.map(|position| v1::SetAccountRoleResponse { position });
        self.shared.reply(response)
    }

    async fn set_suspended(
        &self,
        request: Request<v1::SetSuspendedRequest>,
    ) -> Result<Response<v1::SetSuspendedResponse>, Status> {
        let done = self.shared.done_in_session(request).await;
        let response = done.map(|position| v1::SetSuspendedResponse { position });
        self.shared.reply(response)
    }

    async fn end_sessions(
        &self,
        request: Request<v1::EndSessionsRequest>,
    ) -> Result<Response<v1::EndSessionsResponse>, Status> {
        let done = self.shared.done_in_session(request).await;
        let response = done.map(|position| v1::EndSessionsResponse { position });
        self.shared.reply(response)
    }

    async fn reset_password(
        &self,
        request: Request<v1::ResetPasswordRequest>,
    ) -> Result<Response<v1::ResetPasswordResponse>, Status> {
        self.shared.reply(self.give_password(request).await)
    }

    async fn remove_account(
        &self,
        request: Request<v1::RemoveAccountRequest>,
    ) -> Result<Response<v1::RemoveAccountResponse>, Status> {
        self.shared.reply(Self::remove_account(self, request).await)
    }

    async fn create_bot(
        &self,
        request: Request<v1::CreateBotRequest>,
    ) -> Result<Response<v1::CreateBotResponse>, Status> {
        self.shared.reply(Self::create_bot(self, request).await)
    }

    async fn create_invite(
        &self,
        request: Request<v1::CreateInviteRequest>,
    ) -> Result<Response<v1::CreateInviteResponse>, Status> {
        self.shared.reply(self.invite(request).await)
    }

    async fn list_invites(
        &self,
        request: Request<v1::ListInvitesRequest>,
    ) -> Result<Response<v1::ListInvitesResponse>, Status> {
        self.shared.reply(self.invites(request).await)
    }

    async fn revoke_invite(
        &self,
        request: Request<v1::RevokeInviteRequest>,
    ) -> Result<Response<v1::RevokeInviteResponse>, Status> {
        let done = self.shared.done_in_session(request).await;
        let response = done.map(|position| v1::RevokeInviteResponse { position });
        self.shared.reply(response)
    }

    async fn change_members(
        &self,
        request: Request<v1::ChangeMembersRequest>,
    ) -> Result<Response<v1::ChangeMembersResponse>, Status> {
        self.shared.reply(Self::change_members(self, request).await)
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        let result = self.shared.create_join_token(request).await;
        self.shared.reply(result)
    }

    async fn list_join_tokens(
        &self,
        request: Request<v1::ListJoinTokensRequest>,
    ) -> Result<Response<v1::ListJoinTokensResponse>, Status> {
        let result = self.shared.list_join_tokens(request).await;
        self.shared.reply(result)
    }

    async fn revoke_join_token(
        &self,
        request: Request<v1::RevokeJoinTokenRequest>,
    ) -> Result<Response<v1::RevokeJoinTokenResponse>, Status> {
        let result = self.shared.revoke_join_token(request).await;
        self.shared.reply(result)
    }

    async fn create_operator(
        &self,
        request: Request<v1::CreateOperatorRequest>,
    ) -> Result<Response<v1::CreateOperatorResponse>, Status> {
        let result = self.shared.create_operator(request).await;
        self.shared.reply(result)
    }

    async fn list_operators(
        &self,
        request: Request<v1::ListOperatorsRequest>,
    ) -> Result<Response<v1::ListOperatorsResponse>, Status> {
        let result = self.shared.list_operators(request).await;
        self.shared.reply(result)
    }

    async fn revoke_operator(
        &self,
        request: Request<v1::RevokeOperatorRequest>,
    ) -> Result<Response<v1::RevokeOperatorResponse>, Status> {
        let result = self.shared.revoke_operator(request).await;
        self.shared.reply(result)
    }

    async fn rotate_secret(
        &self,
        request: Request<v1::RotateSecretRequest>,
    ) -> Result<Response<v1::RotateSecretResponse>, Status> {
        let result = self.shared.rotate_secret(request).await;
        self.shared.reply(result)
    }

    async fn prefer_leader(
        &self,
        request: Request<v1::PreferLeaderRequest>,
    ) -> Result<Response<v1::PreferLeaderResponse>, Status> {
        let result = self.shared.prefer_leader(request).await;
        self.shared.reply(result)
    }

    async fn get_account_limits(
        &self,
        request: Request<v1::GetAccountLimitsRequest>,
    ) -> Result<Response<v1::GetAccountLimitsResponse>, Status> {
        let result = account_limits::get(&self.shared, request).await;
        self.shared.reply(result)
    }

    async fn set_account_limits(
        &self,
        request: Request<v1::SetAccountLimitsRequest>,
    ) -> Result<Response<v1::SetAccountLimitsResponse>, Status> {
        let result = account_limits::set(&self.shared, request).await;
        self.shared.reply(result)
    }

    async fn check_cluster(
        &self,
        request: Request<v1::CheckClusterRequest>,
    ) -> Result<Response<v1::CheckClusterResponse>, Status> {
        self.shared.reply(self.check(request).await)
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        self.shared
            .reply(Self::transfer_leader(self, request).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_is_what_may_still_fail() {
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
