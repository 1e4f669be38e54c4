//! Serves operators and administrators: the status of the cluster, the check of this node's state,
//! and who may use the cluster.
//!
//! Always true: the log decides an administrator's request, because it knows who is an
//! administrator; a code or a token is shown to its maker once and stored nowhere.

mod audit;
mod status;

use std::sync::Arc;

use conclave_core::{Accepted, AuditAct, SessionId};
use conclave_wire::{
    Problem,
    request::{self, TOKEN_BYTES, token_hash},
    v1::{self, admin_service_server::AdminService},
};
use tonic::Request;

use crate::{
    api::{
        account_limits,
        edge::{self, Answer},
    },
    auth::sessions::show_token,
    base::random,
    context::{
        access::{accepted, position_of},
        audit::ToNote,
        call::Call,
        node_context::NodeContext,
    },
    peer::membership::ChangeRequest,
};

pub(crate) struct Admin {
    pub(crate) shared: Arc<NodeContext>,
}

impl Admin {
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
        let shared = &self.shared;
        let by = &call.credential;
        let done = shared.change_members(&request, by, call.deadline).await;
        let changes = done.as_ref().is_ok_and(|done| done.changed) || done.is_err();
        if changes && !request.dry_run {
            let (target, detail) = request.for_audit();
            let act = ToNote {
                act: AuditAct::ChangeMembers,
                target: &target,
                detail: &detail,
                problem: done.as_ref().err(),
            };
            shared.note_act(by, act).await;
        }
        done
    }

    async fn check(
        &self,
        call: Call,
        request: v1::CheckClusterRequest,
    ) -> Result<v1::CheckClusterResponse, Problem> {
        self.shared.for_operators(&call, "CheckCluster").await?;
        let check = self.shared.check(request.check_id, true)?;
        if request.check_id == 0 {
            let act = ToNote {
                act: AuditAct::CheckCluster,
                target: "",
                detail: "",
                problem: None,
            };
            self.shared.note_act(&call.credential, act).await;
        }
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
        let changed = self.shared.log.change(&request.filter);
        if !request.filter.is_empty() {
            let act = ToNote {
                act: AuditAct::ChangeLogFilter,
                target: &format!("node {}", self.shared.identity.node),
                detail: &request.filter,
                problem: changed.as_ref().err(),
            };
            self.shared.note_act(&call.credential, act).await;
        }
        Ok(v1::ChangeLogFilterResponse { filter: changed? })
    }

    async fn transfer_leader(
        &self,
        call: Call,
        request: v1::TransferLeaderRequest,
    ) -> Result<v1::TransferLeaderResponse, Problem> {
        self.shared.for_operators(&call, "TransferLeader").await?;
        let (shared, by) = (&self.shared, &call.credential);
        let done = shared
            .transfer_leader(request.node_id, by, call.deadline)
            .await;
        let target = match (&done, request.node_id) {
            (Ok(leader), _) => format!("node {leader}"),
            (Err(_), 0) => String::new(),
            (Err(_), node) => format!("node {node}"),
        };
        let act = ToNote {
            act: AuditAct::TransferLeader,
            target: &target,
            detail: "",
            problem: done.as_ref().err(),
        };
        shared.note_act(by, act).await;
        Ok(v1::TransferLeaderResponse {
            leader_node_id: done?,
        })
    }
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

    async fn set_ack_policy(
        &self,
        request: Request<v1::SetAckPolicyRequest>,
    ) -> Answer<v1::SetAckPolicyResponse> {
        edge::answer(request, |call, request| {
            self.shared.set_ack_policy(call, request)
        })
        .await
    }

    async fn change_retention(
        &self,
        request: Request<v1::ChangeRetentionRequest>,
    ) -> Answer<v1::ChangeRetentionResponse> {
        edge::answer(request, |call, request| {
            self.shared.change_retention(call, request)
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

    async fn list_audit_entries(
        &self,
        request: Request<v1::ListAuditEntriesRequest>,
    ) -> Answer<v1::ListAuditEntriesResponse> {
        edge::answer(request, |call, request| self.audit_entries(call, request)).await
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Answer<v1::TransferLeaderResponse> {
        edge::answer(request, |call, request| self.transfer_leader(call, request)).await
    }
}
