//! The requests about accounts: of oneself, and of an administrator.

use conclave_core::{
    AccountLimit, AccountOperation, AccountRole, AdminOperation, DisplayName, InviteId, Operation,
    SessionId, TokenHash,
};

use super::{Id, Made, Meant, SESSION, TOKEN, account, made};
use crate::{
    request::{change_password, create_bot, create_invite, delete_account, reset_password},
    v1,
};

pub(super) fn of_oneself(request: Id) -> Vec<Meant> {
    let block = |name: &str, blocked| {
        let asked = v1::SetBlockRequest {
            request,
            name: name.to_owned(),
            blocked,
        };
        let name = account(name);
        (
            made(asked),
            Operation::Account(AccountOperation::SetBlock { name, blocked }),
        )
    };
    let show = |display_name: &str| {
        let asked = v1::SetDisplayNameRequest {
            request,
            display_name: display_name.to_owned(),
        };
        let display_name = DisplayName::new(display_name).unwrap();
        (
            made(asked),
            Operation::Account(AccountOperation::SetDisplayName { display_name }),
        )
    };
    let end = |session_id| {
        let session = SessionId(session_id);
        let asked = v1::EndSessionRequest {
            request,
            session_id,
        };
        (
            made(asked),
            Operation::Account(AccountOperation::EndSession { session }),
        )
    };
    let password_hash = "$argon2id$x".to_owned();
    let change = Operation::Account(AccountOperation::ChangePassword {
        password_version: 2,
        password_hash: password_hash.clone(),
    });
    let changed = change_password(SESSION, request, 2, password_hash);
    let close = made(v1::CloseSessionRequest { request });
    let delete = delete_account(SESSION, request, 2);
    vec![
        block("bob", true),
        block("bob", false),
        block("eve", true),
        show("Bob B."),
        show(""),
        end(4),
        end(5),
        (changed, change),
        (close, Operation::Account(AccountOperation::CloseSession)),
        (
            delete,
            Operation::Account(AccountOperation::DeleteAccount {
                password_version: 2,
            }),
        ),
    ]
}

pub(in super::super) fn invite(request: Id, ttl_seconds: u64, uses: u32) -> Made {
    let asked = v1::CreateInviteRequest {
        request,
        ttl_seconds,
        uses,
        ..v1::CreateInviteRequest::default()
    };
    create_invite(SESSION, asked, TOKEN)
}

pub(super) fn of_admins(request: Id) -> Vec<Meant> {
    let role = |name: &str, role: v1::AccountRole, expected| {
        let asked = v1::SetAccountRoleRequest {
            request,
            name: name.to_owned(),
            role: role.into(),
        };
        let operation = Operation::Admin(AdminOperation::SetAccountRole {
            name: account(name),
            role: expected,
        });
        (made(asked), operation)
    };
    let remove = |name: &str| {
        let asked = v1::RemoveAccountRequest {
            request,
            name: name.to_owned(),
        };
        let name = account(name);
        (
            made(asked),
            Operation::Admin(AdminOperation::RemoveAccount { name }),
        )
    };
    let suspend = |name: &str, suspended| {
        let asked = v1::SetSuspendedRequest {
            request,
            name: name.to_owned(),
            suspended,
        };
        let name = account(name);
        (
            made(asked),
            Operation::Admin(AdminOperation::SetSuspended { name, suspended }),
        )
    };
    let end = |name: &str| {
        let asked = v1::EndSessionsRequest {
            request,
            name: name.to_owned(),
        };
        let name = account(name);
        (
            made(asked),
            Operation::Admin(AdminOperation::EndSessions { name }),
        )
    };
    let reset = |name: &str| {
        let password_hash = "$argon2id$x".to_owned();
        let operation = Operation::Admin(AdminOperation::ResetPassword {
            name: account(name),
            password_hash: password_hash.clone(),
        });
        (
            reset_password(SESSION, request, name, password_hash),
            operation,
        )
    };
    let bot = |name: &str, token| {
        let asked = v1::CreateBotRequest {
            request,
            name: name.to_owned(),
            ..v1::CreateBotRequest::default()
        };
        let name = account(name);
        (
            create_bot(SESSION, asked, token),
            Operation::Admin(AdminOperation::CreateBot { name, token }),
        )
    };
    let invited = |ttl_seconds, uses| {
        let operation = Operation::Admin(AdminOperation::CreateInvite {
            code: TOKEN,
            ttl_ms: ttl_seconds * 1000,
            uses,
        });
        (invite(request, ttl_seconds, uses), operation)
    };
    let revoke = |invite_id| {
        let invite = InviteId(invite_id);
        let asked = v1::RevokeInviteRequest { request, invite_id };
        (
            made(asked),
            Operation::Admin(AdminOperation::RevokeInvite { invite }),
        )
    };
    let limit = |name: &str, value| {
        let asked = v1::SetAccountLimitsRequest {
            request,
            limits: vec![v1::AccountLimit {
                name: name.to_owned(),
                value,
                default_value: 0,
            }],
        };
        let values = vec![(AccountLimit::named(name).unwrap(), value)];
        (
            made(asked),
            Operation::Admin(AdminOperation::SetAccountLimits { values }),
        )
    };
    vec![
        role("bob", v1::AccountRole::User, AccountRole::User),
        role("bob", v1::AccountRole::Admin, AccountRole::Admin),
        role("bob", v1::AccountRole::Bot, AccountRole::Bot),
        role("eve", v1::AccountRole::Admin, AccountRole::Admin),
        suspend("bob", true),
        suspend("bob", false),
        suspend("eve", true),
        end("bob"),
        end("eve"),
        reset("bob"),
        reset("eve"),
        remove("bob"),
        remove("eve"),
        bot("bob", TOKEN),
        bot("eve", TOKEN),
        bot("bob", TokenHash([2; 32])),
        invited(60, 2),
        invited(61, 2),
        invited(60, 3),
        revoke(4),
        revoke(5),
        limit("conversations", 7),
        limit("conversations", 8),
        limit("stored-bytes", 7),
    ]
}
