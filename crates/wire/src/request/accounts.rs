//! Requests about one's own account and sessions.

use conclave_core::{AccountName, AccountOperation, Command, Operation, SessionId};

use super::{SessionRequest, command};
use crate::{Problem, v1};

/// Returns a command that changes the password of a session's account. The digest leaves both
/// passwords out: a fast hash of them must not be stored.
///
/// # Errors
/// [`Problem::Refused`] if the request carries no number.
pub fn change_password(
    session: SessionId,
    request: Option<v1::RequestId>,
    password_version: u64,
    password_hash: String,
) -> Result<Command, Problem> {
    let operation = Operation::Account(AccountOperation::ChangePassword {
        password_version,
        password_hash,
    });
    command(session, request, "change_password", &[], operation)
}

/// Returns a command that deletes a session's account. The digest leaves the password out.
///
/// # Errors
/// [`Problem::Refused`] if the request carries no number.
pub fn delete_account(
    session: SessionId,
    request: Option<v1::RequestId>,
    password_version: u64,
) -> Result<Command, Problem> {
    let operation = Operation::Account(AccountOperation::DeleteAccount { password_version });
    command(session, request, "delete_account", &[], operation)
}

impl SessionRequest for v1::CloseSessionRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        command(
            session,
            self.request,
            "close_session",
            &[],
            Operation::Account(AccountOperation::CloseSession),
        )
    }
}

impl SessionRequest for v1::EndSessionRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let number = self.session_id.to_le_bytes();
        let operation = Operation::Account(AccountOperation::EndSession {
            session: SessionId(self.session_id),
        });
        command(session, self.request, "end_session", &[&number], operation)
    }
}

impl SessionRequest for v1::SetDisplayNameRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let display_name = conclave_text::display_name(&self.display_name)?;
        let operation = Operation::Account(AccountOperation::SetDisplayName { display_name });
        command(
            session,
            self.request,
            "set_display_name",
            &[self.display_name.as_bytes()],
            operation,
        )
    }
}

impl SessionRequest for v1::SetBlockRequest {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let name = AccountName::new(self.name)?;
        let key = name.key();
        let operation = Operation::Account(AccountOperation::SetBlock {
            name,
            blocked: self.blocked,
        });
        command(
            session,
            self.request,
            "set_block",
            &[key.as_bytes(), &[u8::from(self.blocked)]],
            operation,
        )
    }
}
