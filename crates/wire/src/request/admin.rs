//! Requests of administrators.

use conclave_core::{
    AccountLimit, AccountName, AccountRole, AdminOperation, Command, InviteId, Operation,
    Rejection, SessionId, TokenHash, allowance::limit_table::ACCOUNT_LIMITS,
};

use super::{SessionRequest, command};
use crate::{Problem, Reason, v1};

/// How long an invite can be used if its maker does not say, in milliseconds.
const INVITE_MS_DEFAULT: u64 = 7 * 24 * 60 * 60 * 1000;
/// The shortest life of an invite that a client may ask for, in seconds.
const INVITE_SECONDS_MIN: u64 = 60;

/// Returns a command that creates an account for a program, with the hash of its token.
///
/// # Errors
/// [`Problem::Refused`] if the name is none or the request carries no number.
pub fn create_bot(
    session: SessionId,
    request: v1::CreateBotRequest,
    token: TokenHash,
) -> Result<Command, Problem> {
    let name = AccountName::new(request.name)?;
    let key = name.key();
    let parts = [key.as_bytes(), &token.0];
    let operation = Operation::Admin(AdminOperation::CreateBot { name, token });
    command(session, request.request, "create_bot", &parts, operation)
}

/// Returns a command that creates an invite, with the hash of its code.
///
/// # Errors
/// [`Problem::Refused`] if a bound is broken or the request carries no number.
pub fn create_invite(
    session: SessionId,
    request: v1::CreateInviteRequest,
    code: TokenHash,
) -> Result<Command, Problem> {
    let ttl_ms = match request.ttl_seconds {
        0 => INVITE_MS_DEFAULT,
        1..INVITE_SECONDS_MIN => {
            return Err(Rejection::InviteOutOfRange.into());
        }
        seconds => seconds.saturating_mul(1000),
    };
    let uses = request.uses.max(1);
    let in_range = ttl_ms <= conclave_core::limits::INVITE_MS_MAX
        && uses <= conclave_core::limits::INVITE_USES_MAX;
    if !in_range {
        return Err(Rejection::InviteOutOfRange.into());
    }
    let numbers = [ttl_ms, u64::from(uses)].map(u64::to_le_bytes);
    let parts = [&code.0[..], &numbers[0], &numbers[1]];
    let operation = Operation::Admin(AdminOperation::CreateInvite { code, ttl_ms, uses });
    command(session, request.request, "create_invite", &parts, operation)
}

impl SessionRequest for v1::SetAccountLimitsRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        match self.limits.len() {
            0 => return Err(Rejection::ListEmpty.into()),
            1..=ACCOUNT_LIMITS => {}
            _ => return Err(Rejection::ListTooLong.into()),
        }
        let mut values = Vec::with_capacity(self.limits.len());
        let mut said = Vec::with_capacity(self.limits.len() * 16);
        for asked in &self.limits {
            let limit = AccountLimit::named(&asked.name).ok_or_else(|| {
                let number = u64::MAX;
                Problem::from(Rejection::AccountLimitInvalid { number })
            })?;
            limit.check(asked.value)?;
            values.push((limit, asked.value));
            said.extend(limit.number().to_le_bytes());
            said.extend(asked.value.to_le_bytes());
        }
        let operation = Operation::Admin(AdminOperation::SetAccountLimits { values });
        command(
            session,
            self.request,
            "set_account_limits",
            &[&said],
            operation,
        )
    }
}

impl SessionRequest for v1::RevokeInviteRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let number = self.invite_id.to_le_bytes();
        let operation = Operation::Admin(AdminOperation::RevokeInvite {
            invite: InviteId(self.invite_id),
        });
        command(
            session,
            self.request,
            "revoke_invite",
            &[&number],
            operation,
        )
    }
}

/// Returns a command that sets another password of an account. The digest leaves the password out:
/// a client that sends another one with the same number gets the first answer.
///
/// # Errors
/// [`Problem::Refused`] if the name is none or the request carries no number.
pub fn reset_password(
    session: SessionId,
    request: Option<v1::RequestId>,
    name: &str,
    password_hash: String,
) -> Result<Command, Problem> {
    let name = AccountName::new(name)?;
    let key = name.key();
    let operation = Operation::Admin(AdminOperation::ResetPassword {
        name,
        password_hash,
    });
    let parts = [key.as_bytes()];
    command(session, request, "reset_password", &parts, operation)
}

impl SessionRequest for v1::SetSuspendedRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let name = AccountName::new(self.name)?;
        let key = name.key();
        let operation = Operation::Admin(AdminOperation::SetSuspended {
            name,
            suspended: self.suspended,
        });
        let parts = [key.as_bytes(), &[u8::from(self.suspended)]];
        command(session, self.request, "set_suspended", &parts, operation)
    }
}

impl SessionRequest for v1::EndSessionsRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let name = AccountName::new(self.name)?;
        let key = name.key();
        let operation = Operation::Admin(AdminOperation::EndSessions { name });
        let parts = [key.as_bytes()];
        command(session, self.request, "end_sessions", &parts, operation)
    }
}

impl SessionRequest for v1::RemoveAccountRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let name = AccountName::new(self.name)?;
        let key = name.key();
        let operation = Operation::Admin(AdminOperation::RemoveAccount { name });
        command(
            session,
            self.request,
            "remove_account",
            &[key.as_bytes()],
            operation,
        )
    }
}

impl SessionRequest for v1::SetAccountRoleRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let role = match self.role() {
            v1::AccountRole::User => AccountRole::User,
            v1::AccountRole::Admin => AccountRole::Admin,
            v1::AccountRole::Bot => AccountRole::Bot,
            v1::AccountRole::Unspecified => {
                return Err(Problem::refused(
                    Reason::RoleMissing,
                    "the request names no role",
                ));
            }
        };
        let name = AccountName::new(self.name)?;
        let key = name.key();
        let operation = Operation::Admin(AdminOperation::SetAccountRole { name, role });
        command(
            session,
            self.request,
            "set_account_role",
            &[key.as_bytes(), &[role as u8]],
            operation,
        )
    }
}
