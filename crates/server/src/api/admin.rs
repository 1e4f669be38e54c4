//! Serves operators and administrators: the status of the cluster, the check of this node's state,
//! and who may use the cluster.
//!
//! Always true: the log decides an administrator's request, because it knows who is an
//! administrator; a code or a token is shown to its maker once and stored nowhere.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use conclave_core::{Accepted, SessionId};
use conclave_wire::{
    Problem, peer,
    request::{self, TOKEN_BYTES, token_hash},
    v1::{self, admin_service_server::AdminService},
};
use tokio::time::Instant;
use tonic::Request;

use crate::{
    api::{
        account_limits,
        edge::{self, Answer},
    },
    auth::sessions::show_token,
    base::random,
    cluster::membership::Margin,
    connections::ConnectionSlots,
    context::{
        access::{accepted, position_of},
        call::Call,
        node_context::NodeContext,
    },
    peer::membership::ChangeRequest,
};

/// Maximum age of the cluster status that unknown callers get.
const PUBLIC_STATUS_AGE_MAX: Duration = Duration::from_secs(1);

pub(crate) struct Admin {
    pub(crate) shared: Arc<NodeContext>,
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
            cluster_version: self.shared.replica.cluster_version().0,
            client_port: Some(port_status(&self.shared.client_slots)),
            peer_port: Some(port_status(&self.shared.peer_slots)),
        }
    }

    /// Returns the status of the cluster, as much of it as the caller may know.
    async fn status_for(&self, call: Call) -> Result<v1::GetClusterStatusResponse, Problem> {
        Ok(match self.shared.may_see_all(&call).await {
            Ok(true) => self.status().await,
            // A node that cannot read its database answers with what any caller may know.
            Ok(false) | Err(_) => self.public_status().await,
        })
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
        status.cluster_version = 0;
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
        call: Call,
        request: v1::GetStateDigestRequest,
    ) -> Result<v1::GetStateDigestResponse, Problem> {
        self.shared
            .for_operators_here(&call, "GetStateDigest")
            .await?;
        self.shared.state_digest(call.deadline, &request).await
    }
}

impl Admin {
    async fn remove_account(
        &self,
        call: Call,
        request: v1::RemoveAccountRequest,
    ) -> Result<v1::RemoveAccountResponse, Problem> {
        let outcome = self.shared.propose_in_session(&call, request).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::AccountDeleted => Some(v1::RemoveAccountResponse {
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    async fn create_bot(
        &self,
        call: Call,
        request: v1::CreateBotRequest,
    ) -> Result<v1::CreateBotResponse, Problem> {
        let token = match request::chosen_token(&request.token)? {
            Some(token) => token,
            None => random::bytes::<TOKEN_BYTES>()?,
        };
        let hash = token_hash(&token);
        let command = |session: SessionId| request::create_bot(session, request, hash);
        let outcome = self.shared.propose_in_session(&call, command).await?;
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
        call: Call,
        request: v1::ChangeMembersRequest,
    ) -> Result<v1::ChangeMembersResponse, Problem> {
        self.shared.for_operators(&call, "ChangeMembers").await?;
        let request = ChangeRequest::from_wire(request)?;
        self.shared
            .change_members(&request, &call.credential, call.deadline)
            .await
    }

    async fn check(
        &self,
        call: Call,
        request: v1::CheckClusterRequest,
    ) -> Result<v1::CheckClusterResponse, Problem> {
        self.shared.for_operators(&call, "CheckCluster").await?;
        let check = self.shared.check(request.check_id, true)?;
        Ok(check.progress())
    }

    /// Without a quorum, too: a node without one is looked at with more lines.
    async fn change_log(
        &self,
        call: Call,
        request: v1::ChangeLogFilterRequest,
    ) -> Result<v1::ChangeLogFilterResponse, Problem> {
        let name = "ChangeLogFilter";
        self.shared.for_operators_here(&call, name).await?;
        let filter = self.shared.log.change(&request.filter)?;
        Ok(v1::ChangeLogFilterResponse { filter })
    }

    async fn transfer_leader(
        &self,
        call: Call,
        request: v1::TransferLeaderRequest,
    ) -> Result<v1::TransferLeaderResponse, Problem> {
        self.shared.for_operators(&call, "TransferLeader").await?;
        let leader = self
            .shared
            .transfer_leader(request.node_id, &call.credential, call.deadline)
            .await?;
        Ok(v1::TransferLeaderResponse {
            leader_node_id: leader,
        })
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
        commands_decided: status.commands_decided,
        commit_latency: status.commit_latency,
        events: status.events,
        oldest_version: status.oldest_version,
        newest_version: status.newest_version,
        draining: status.draining,
        last_backup_at_ms: status.last_backup_at_ms,
        last_backup_index: status.last_backup_index,
        ..known
    }
}

fn port_status(places: &ConnectionSlots) -> v1::PortStatus {
    let counts = places.counts();
    let closed = counts.cut.into_iter().map(|(reason, count)| {
        let reason = reason.to_owned();
        v1::ClosedConnections { reason, count }
    });
    v1::PortStatus {
        connections: counts.open,
        connections_max: counts.open_max,
        unauthenticated: counts.unauthenticated,
        unauthenticated_max: counts.unauthenticated_max,
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
    ) -> Answer<v1::GetClusterStatusResponse> {
        edge::answer(request, |call, _| self.status_for(call)).await
    }

    async fn get_state_digest(
        &self,
        request: Request<v1::GetStateDigestRequest>,
    ) -> Answer<v1::GetStateDigestResponse> {
        edge::answer(request, |call, request| self.digest(call, request)).await
    }

    async fn set_account_role(
        &self,
        request: Request<v1::SetAccountRoleRequest>,
    ) -> Answer<v1::SetAccountRoleResponse> {
        let tell = |position| v1::SetAccountRoleResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn set_suspended(
        &self,
        request: Request<v1::SetSuspendedRequest>,
    ) -> Answer<v1::SetSuspendedResponse> {
        let tell = |position| v1::SetSuspendedResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn end_sessions(
        &self,
        request: Request<v1::EndSessionsRequest>,
    ) -> Answer<v1::EndSessionsResponse> {
        let tell = |position| v1::EndSessionsResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn reset_password(
        &self,
        request: Request<v1::ResetPasswordRequest>,
    ) -> Answer<v1::ResetPasswordResponse> {
        edge::answer(request, |call, request| self.give_password(call, request)).await
    }

    async fn remove_account(
        &self,
        request: Request<v1::RemoveAccountRequest>,
    ) -> Answer<v1::RemoveAccountResponse> {
        edge::answer(request, |call, request| self.remove_account(call, request)).await
    }

    async fn create_bot(
        &self,
        request: Request<v1::CreateBotRequest>,
    ) -> Answer<v1::CreateBotResponse> {
        edge::answer(request, |call, request| self.create_bot(call, request)).await
    }

    async fn create_invite(
        &self,
        request: Request<v1::CreateInviteRequest>,
    ) -> Answer<v1::CreateInviteResponse> {
        edge::answer(request, |call, request| self.invite(call, request)).await
    }

    async fn list_invites(
        &self,
        request: Request<v1::ListInvitesRequest>,
    ) -> Answer<v1::ListInvitesResponse> {
        edge::answer(request, |call, request| self.invites(call, request)).await
    }

    async fn revoke_invite(
        &self,
        request: Request<v1::RevokeInviteRequest>,
    ) -> Answer<v1::RevokeInviteResponse> {
        let tell = |position| v1::RevokeInviteResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn change_members(
        &self,
        request: Request<v1::ChangeMembersRequest>,
    ) -> Answer<v1::ChangeMembersResponse> {
        edge::answer(request, |call, request| self.change_members(call, request)).await
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Answer<v1::CreateJoinTokenResponse> {
        edge::answer(request, |call, request| {
            self.shared.create_join_token(call, request)
        })
        .await
    }

    async fn list_join_tokens(
        &self,
        request: Request<v1::ListJoinTokensRequest>,
    ) -> Answer<v1::ListJoinTokensResponse> {
        edge::answer(request, |call, request| {
            self.shared.list_join_tokens(call, request)
        })
        .await
    }

    async fn revoke_join_token(
        &self,
        request: Request<v1::RevokeJoinTokenRequest>,
    ) -> Answer<v1::RevokeJoinTokenResponse> {
        edge::answer(request, |call, request| {
            self.shared.revoke_join_token(call, request)
        })
        .await
    }

    async fn create_operator(
        &self,
        request: Request<v1::CreateOperatorRequest>,
    ) -> Answer<v1::CreateOperatorResponse> {
        edge::answer(request, |call, request| {
            self.shared.create_operator(call, request)
        })
        .await
    }

    async fn list_operators(
        &self,
        request: Request<v1::ListOperatorsRequest>,
    ) -> Answer<v1::ListOperatorsResponse> {
        edge::answer(request, |call, request| {
            self.shared.list_operators(call, request)
        })
        .await
    }

    async fn revoke_operator(
        &self,
        request: Request<v1::RevokeOperatorRequest>,
    ) -> Answer<v1::RevokeOperatorResponse> {
        edge::answer(request, |call, request| {
            self.shared.revoke_operator(call, request)
        })
        .await
    }

    async fn rotate_secret(
        &self,
        request: Request<v1::RotateSecretRequest>,
    ) -> Answer<v1::RotateSecretResponse> {
        edge::answer(request, |call, request| {
            self.shared.rotate_secret(call, request)
        })
        .await
    }

    async fn check_upgrade(
        &self,
        request: Request<v1::CheckUpgradeRequest>,
    ) -> Answer<v1::CheckUpgradeResponse> {
        edge::answer(request, |call, request| {
            self.shared.check_upgrade(call, request)
        })
        .await
    }

    async fn finalize_upgrade(
        &self,
        request: Request<v1::FinalizeUpgradeRequest>,
    ) -> Answer<v1::FinalizeUpgradeResponse> {
        edge::answer(request, |call, request| {
            self.shared.finalize_upgrade(call, request)
        })
        .await
    }

    async fn change_log_filter(
        &self,
        request: Request<v1::ChangeLogFilterRequest>,
    ) -> Answer<v1::ChangeLogFilterResponse> {
        edge::answer(request, |call, request| self.change_log(call, request)).await
    }

    async fn prefer_leader(
        &self,
        request: Request<v1::PreferLeaderRequest>,
    ) -> Answer<v1::PreferLeaderResponse> {
        edge::answer(request, |call, request| {
            self.shared.prefer_leader(call, request)
        })
        .await
    }

    async fn get_account_limits(
        &self,
        request: Request<v1::GetAccountLimitsRequest>,
    ) -> Answer<v1::GetAccountLimitsResponse> {
        edge::answer(request, |call, request| {
            account_limits::get(&self.shared, call, request)
        })
        .await
    }

    async fn set_account_limits(
        &self,
        request: Request<v1::SetAccountLimitsRequest>,
    ) -> Answer<v1::SetAccountLimitsResponse> {
        edge::answer(request, |call, request| {
            account_limits::set(&self.shared, call, request)
        })
        .await
    }

    async fn check_cluster(
        &self,
        request: Request<v1::CheckClusterRequest>,
    ) -> Answer<v1::CheckClusterResponse> {
        edge::answer(request, |call, request| self.check(call, request)).await
    }

    async fn drain_node(
        &self,
        request: Request<v1::DrainNodeRequest>,
    ) -> Answer<v1::DrainNodeResponse> {
        edge::answer(request, |call, request| {
            self.shared.drain_node(call, request)
        })
        .await
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Answer<v1::TransferLeaderResponse> {
        edge::answer(request, |call, request| self.transfer_leader(call, request)).await
    }
}
