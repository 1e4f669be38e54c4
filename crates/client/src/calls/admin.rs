//! Requests of administrators: roles, other accounts, accounts for programs, invites and limits.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::{InviteId, Position};
use conclave_wire::{request::TOKEN_BYTES, v1};

use crate::{CallError, Client, Freshness, random};

/// Bytes of an invite's code: 128 random bits.
const INVITE_CODE_BYTES: usize = 16;
/// Bytes of a generated password: 120 random bits, 20 characters.
const RESET_PASSWORD_BYTES: usize = 15;

impl Client {
    /// Makes an account an administrator's ([`v1::AccountRole::Admin`]), or a user's again.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED` if the caller is no administrator or the account is a bot's;
    /// `LAST_OF_ITS_KIND`, `NO_SUCH_ACCOUNT`.
    pub async fn set_account_role(
        &self,
        name: &str,
        role: v1::AccountRole,
    ) -> Result<Position, CallError> {
        let request = v1::SetAccountRoleRequest {
            request: None,
            name: name.to_owned(),
            role: role.into(),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Suspends an account, or reactivates it. None of its data is deleted.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED`, `NO_SUCH_ACCOUNT`, `ONESELF`.
    pub async fn set_suspended(&self, name: &str, suspended: bool) -> Result<Position, CallError> {
        let request = v1::SetSuspendedRequest {
            request: None,
            name: name.to_owned(),
            suspended,
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Ends all sessions of an account.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED`, `NO_SUCH_ACCOUNT`, `ONESELF`.
    pub async fn end_sessions(&self, name: &str) -> Result<Position, CallError> {
        let request = v1::EndSessionsRequest {
            request: None,
            name: name.to_owned(),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Gives an account a new password, generated here, and ends all its sessions. The password is
    /// a secret that is shown once.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED`, `NO_SUCH_ACCOUNT`, `ONESELF`.
    pub async fn reset_password(&self, name: &str) -> Result<String, CallError> {
        let new_password = URL_SAFE_NO_PAD.encode(random::bytes::<RESET_PASSWORD_BYTES>());
        let request = v1::ResetPasswordRequest {
            request: None,
            name: name.to_owned(),
            new_password: new_password.clone(),
        };
        self.call(request).await?;
        Ok(new_password)
    }

    /// Deletes another account, as if its owner had done it.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED`, `NO_SUCH_ACCOUNT`, `LAST_OF_ITS_KIND`.
    pub async fn remove_account(&self, name: &str) -> Result<Position, CallError> {
        let request = v1::RemoveAccountRequest {
            request: None,
            name: name.to_owned(),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Creates an account for a program. The token in the answer is its session's: a secret that
    /// is shown once and does not expire.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED`, `NAME_TAKEN`.
    pub async fn create_bot(&self, name: &str) -> Result<v1::CreateBotResponse, CallError> {
        let request = v1::CreateBotRequest {
            request: None,
            name: name.to_owned(),
            token: random::bytes::<TOKEN_BYTES>().to_vec().into(),
        };
        self.call(request).await
    }

    /// Makes an invite with which `uses` accounts can be created within `ttl`. Its code in the
    /// answer is a secret that is shown once.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED`, `INVITE_OUT_OF_RANGE`, `TOO_MANY`.
    pub async fn create_invite(
        &self,
        ttl: Duration,
        uses: u32,
    ) -> Result<v1::CreateInviteResponse, CallError> {
        let code = random::bytes::<INVITE_CODE_BYTES>();
        let request = v1::CreateInviteRequest {
            request: None,
            code: code.to_vec().into(),
            ttl_seconds: ttl.as_secs(),
            uses,
        };
        self.call(request).await
    }

    /// Returns entries of the audit log, the newest first: for administrators, and for operators.
    /// Ask again with `before_sequence` as the answer says until that is 0. The request's freshness
    /// is this one.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED`, `NOT_AN_OPERATOR`.
    pub async fn audit_entries(
        &self,
        request: v1::ListAuditEntriesRequest,
        freshness: Freshness,
    ) -> Result<v1::ListAuditEntriesResponse, CallError> {
        let read = Some(freshness.options());
        self.ask(v1::ListAuditEntriesRequest { read, ..request })
            .await
    }

    /// Lists the invites that are still valid.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED`.
    pub async fn invites(&self, freshness: Freshness) -> Result<Vec<v1::Invite>, CallError> {
        let read = Some(freshness.options());
        Ok(self.ask(v1::ListInvitesRequest { read }).await?.invites)
    }

    /// Revokes an invite. An invite that no longer exists is no error.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED`.
    pub async fn revoke_invite(&self, invite: InviteId) -> Result<Position, CallError> {
        let request = v1::RevokeInviteRequest {
            request: None,
            invite_id: invite.0,
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Returns the limits of what one account may do and keep.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED`.
    pub async fn account_limits(
        &self,
        freshness: Freshness,
    ) -> Result<Vec<v1::AccountLimit>, CallError> {
        let request = v1::GetAccountLimitsRequest {
            read: Some(freshness.options()),
        };
        Ok(self.ask(request).await?.limits)
    }

    /// Sets limits by their names: all of them, or none.
    ///
    /// # Errors
    /// [`CallError`]; `NOT_ALLOWED`, `ACCOUNT_LIMIT_INVALID`.
    pub async fn set_account_limits(
        &self,
        values: impl IntoIterator<Item = (String, u64)>,
    ) -> Result<Position, CallError> {
        let limits = values.into_iter().map(|(name, value)| v1::AccountLimit {
            name,
            value,
            default_value: 0,
        });
        let request = v1::SetAccountLimitsRequest {
            request: None,
            limits: limits.collect(),
        };
        Ok(Position(self.call(request).await?.position))
    }
}
