//! Rows of accounts, sessions, and the calls of administrators.

use conclave_wire::v1;

use super::{ACCOUNTS, ADMINS, ADMINS_AND_OPERATORS, ANY_CALLER, Expected, OK, OPERATORS, Row};
use crate::world::PASSWORD;

pub(super) fn rows() -> Vec<Row> {
    [of_accounts(), of_sessions(), of_admins()]
        .into_iter()
        .flatten()
        .collect()
}

fn of_accounts() -> Vec<Row> {
    const CLOSED: &str = "REGISTRATION_CLOSED";
    let closed = Expected {
        signed_out: CLOSED,
        stranger: CLOSED,
        passer_by: CLOSED,
        kicked: CLOSED,
        blocked: CLOSED,
        member: CLOSED,
        owner: CLOSED,
        admin: OK,
        operator: None,
    };
    vec![
        Row::new("AccountService/CreateAccount", closed, |f| {
            v1::CreateAccountRequest {
                name: f.fresh.clone(),
                password: PASSWORD.to_owned(),
                ..Default::default()
            }
        }),
        Row::new("AccountService/DeleteAccount", ACCOUNTS, |f| {
            v1::DeleteAccountRequest {
                request: f.request,
                password: PASSWORD.to_owned(),
            }
        })
        .alone(),
        Row::new("AccountService/ListAccounts", ACCOUNTS, |_| {
            v1::ListAccountsRequest::default()
        }),
        Row::new("AccountService/ChangePassword", ACCOUNTS, |f| {
            v1::ChangePasswordRequest {
                request: f.request,
                old_password: PASSWORD.to_owned(),
                new_password: "battery staple".to_owned(),
            }
        })
        .alone(),
        Row::new("AccountService/SetDisplayName", ACCOUNTS, |f| {
            v1::SetDisplayNameRequest {
                request: f.request,
                display_name: f.fresh.clone(),
            }
        }),
        Row::new("AccountService/SetBlock", ACCOUNTS, |f| {
            v1::SetBlockRequest {
                request: f.request,
                name: "root".to_owned(),
                blocked: true,
            }
        }),
        Row::new("AccountService/ListBlocks", ACCOUNTS, |_| {
            v1::ListBlocksRequest::default()
        }),
    ]
}

fn of_sessions() -> Vec<Row> {
    const NONE: &str = "NO_SUCH_SESSION";
    let owner_alone = Expected {
        stranger: NONE,
        passer_by: NONE,
        kicked: NONE,
        blocked: NONE,
        member: NONE,
        admin: NONE,
        ..ACCOUNTS
    };
    vec![
        Row::new("SessionService/OpenSession", ANY_CALLER, |_| {
            v1::OpenSessionRequest {
                name: "eric".to_owned(),
                password: PASSWORD.to_owned(),
                ..Default::default()
            }
        }),
        Row::new("SessionService/CloseSession", ACCOUNTS, |f| {
            v1::CloseSessionRequest { request: f.request }
        })
        .alone(),
        Row::new("SessionService/GetSession", ACCOUNTS, |_| {
            v1::GetSessionRequest::default()
        }),
        Row::new("SessionService/ListSessions", ACCOUNTS, |_| {
            v1::ListSessionsRequest::default()
        }),
        Row::new("SessionService/EndSession", owner_alone, |f| {
            v1::EndSessionRequest {
                request: f.request,
                session_id: f.session,
            }
        })
        .alone(),
    ]
}

fn of_admins() -> Vec<Row> {
    vec![
        Row::new("AdminService/GetClusterStatus", ANY_CALLER, |_| {
            v1::GetClusterStatusRequest {}
        }),
        Row::new("AdminService/GetStateDigest", OPERATORS, |_| {
            v1::GetStateDigestRequest::default()
        }),
        Row::new("AdminService/SetAccountRole", ADMINS, |f| {
            v1::SetAccountRoleRequest {
                request: f.request,
                name: "eric".to_owned(),
                role: v1::AccountRole::Admin.into(),
            }
        }),
        Row::new("AdminService/SetSuspended", ADMINS, |f| {
            v1::SetSuspendedRequest {
                request: f.request,
                name: "eric".to_owned(),
                suspended: true,
            }
        })
        .alone(),
        Row::new("AdminService/EndSessions", ADMINS, |f| {
            v1::EndSessionsRequest {
                request: f.request,
                name: "eric".to_owned(),
            }
        })
        .alone(),
        Row::new("AdminService/ResetPassword", ADMINS, |f| {
            v1::ResetPasswordRequest {
                request: f.request,
                name: "eric".to_owned(),
                new_password: "battery staple".to_owned(),
            }
        })
        .alone(),
        Row::new("AdminService/RemoveAccount", ADMINS, |f| {
            v1::RemoveAccountRequest {
                request: f.request,
                name: "eric".to_owned(),
            }
        })
        .alone(),
        Row::new("AdminService/CreateBot", ADMINS, |f| v1::CreateBotRequest {
            request: f.request,
            name: f.fresh.clone(),
            ..Default::default()
        }),
        Row::new("AdminService/CreateInvite", ADMINS, |f| {
            v1::CreateInviteRequest {
                request: f.request,
                ..Default::default()
            }
        }),
        Row::new("AdminService/ListInvites", ADMINS, |_| {
            v1::ListInvitesRequest::default()
        }),
        Row::new("AdminService/ChangeMembers", OPERATORS, |_| {
            v1::ChangeMembersRequest {
                change: Some(v1::change_members_request::Change::RemoveNodeId(9)),
                ..Default::default()
            }
        }),
        Row::new("AdminService/CreateJoinToken", OPERATORS, |_| {
            v1::CreateJoinTokenRequest::default()
        }),
        Row::new("AdminService/ListJoinTokens", OPERATORS, |_| {
            v1::ListJoinTokensRequest::default()
        }),
        Row::new("AdminService/RevokeJoinToken", OPERATORS, |_| {
            v1::RevokeJoinTokenRequest {
                token_id: "00000000".to_owned(),
                ..Default::default()
            }
        }),
        Row::new("AdminService/CreateOperator", OPERATORS, |f| {
            v1::CreateOperatorRequest {
                name: f.fresh.clone(),
                ..Default::default()
            }
        }),
        Row::new("AdminService/ListOperators", OPERATORS, |_| {
            v1::ListOperatorsRequest::default()
        }),
        Row::new("AdminService/RevokeOperator", OPERATORS, |f| {
            v1::RevokeOperatorRequest {
                name: f.fresh.clone(),
                ..Default::default()
            }
        }),
        Row::new("AdminService/RotateSecret", OPERATORS, |_| {
            v1::RotateSecretRequest {
                dry_run: true,
                ..Default::default()
            }
        }),
        Row::new("AdminService/CheckUpgrade", OPERATORS, |_| {
            v1::CheckUpgradeRequest {}
        }),
        Row::new("AdminService/FinalizeUpgrade", OPERATORS, |_| {
            v1::FinalizeUpgradeRequest::default()
        }),
        Row::new("AdminService/PreferLeader", OPERATORS, |_| {
            v1::PreferLeaderRequest {
                node_id: 1,
                ..Default::default()
            }
        }),
        Row::new("AdminService/SetAckPolicy", OPERATORS, |_| {
            v1::SetAckPolicyRequest {
                policy: v1::AckPolicy::Majority.into(),
                ..Default::default()
            }
        }),
        Row::new("AdminService/ChangeRetention", OPERATORS, |_| {
            v1::ChangeRetentionRequest {
                messages: Some(1_000_000),
                ..Default::default()
            }
        }),
        Row::new("AdminService/GetAccountLimits", ADMINS, |_| {
            v1::GetAccountLimitsRequest::default()
        }),
        Row::new("AdminService/SetAccountLimits", ADMINS, |f| {
            v1::SetAccountLimitsRequest {
                request: f.request,
                limits: vec![v1::AccountLimit {
                    name: "conversations".to_owned(),
                    value: 9000,
                    default_value: 0,
                }],
            }
        }),
        Row::new("AdminService/ChangeLogFilter", OPERATORS, |_| {
            v1::ChangeLogFilterRequest::default()
        }),
        Row::new("AdminService/CheckCluster", OPERATORS, |_| {
            v1::CheckClusterRequest::default()
        }),
        Row::new("BackupService/TakeBackup", OPERATORS, |_| {
            v1::TakeBackupRequest::default()
        }),
        Row::new("AdminService/TransferLeader", OPERATORS, |_| {
            v1::TransferLeaderRequest { node_id: 1 }
        }),
        Row::new("AdminService/DrainNode", OPERATORS, |_| {
            v1::DrainNodeRequest {
                undrain: true,
                ..Default::default()
            }
        }),
        Row::new(
            "AdminService/ListAuditEntries",
            ADMINS_AND_OPERATORS,
            |_| v1::ListAuditEntriesRequest::default(),
        ),
        Row::new("AdminService/RevokeInvite", ADMINS, |f| {
            v1::RevokeInviteRequest {
                request: f.request,
                invite_id: f.invite,
            }
        })
        .alone(),
    ]
}
