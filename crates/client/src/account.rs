//! Accounts and sessions.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::{AccountId, Position, SessionId, Timestamp, limits::PAGE_MAX};
use conclave_wire::{request::TOKEN_BYTES, v1};

use crate::{CallError, Client, Freshness, random};

/// Bytes of the random name of a request outside a session.
const REQUEST_ID_BYTES: usize = 16;

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The session's token: a secret. See [`Client::with_token`].
    pub token: String,
    /// The session.
    pub session: SessionId,
    /// Whose it is.
    pub account: v1::Account,
    /// When it ends unless it is used.
    pub expires_at: Timestamp,
    /// Where in the log this is known.
    pub position: Position,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({}, session {})", self.account.name, self.session)
    }
}

impl Client {
    /// Creates an account; gives its number. Needs no session.
    ///
    /// # Errors
    /// [`CallError`]. After [`CallError::Unknown`], log in to learn whether it exists.
    pub async fn create_account(&self, name: &str, password: &str) -> Result<AccountId, CallError> {
        let request = v1::CreateAccountRequest {
            request_id: random::bytes::<REQUEST_ID_BYTES>().to_vec().into(),
            name: name.to_owned(),
            password: password.to_owned(),
        };
        Ok(AccountId(self.ask(request).await?.id))
    }

    /// Deletes the account of this session, and ends all its sessions.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_account(&self) -> Result<(), CallError> {
        self.change(v1::DeleteAccountRequest::default()).await?;
        Ok(())
    }

    /// One page of the accounts whose names match: `*` is any run of characters, `?` any one.
    /// `page_token` is from the page before, empty for the first.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_accounts(
        &self,
        pattern: &str,
        page_size: u32,
        page_token: &str,
        freshness: Freshness,
    ) -> Result<v1::ListAccountsResponse, CallError> {
        let request = v1::ListAccountsRequest {
            pattern: pattern.to_owned(),
            page_size,
            page_token: page_token.to_owned(),
            read: Some(freshness.options()),
        };
        self.ask(request).await
    }

    /// The first `count_max` accounts whose names match, page by page.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_all_accounts(
        &self,
        pattern: &str,
        count_max: usize,
        freshness: Freshness,
    ) -> Result<Vec<v1::Account>, CallError> {
        let mut accounts = Vec::new();
        let mut token = String::new();
        while accounts.len() < count_max {
            let size = page_size(count_max - accounts.len());
            let page = self.list_accounts(pattern, size, &token, freshness).await?;
            accounts.extend(page.accounts);
            if page.next_page_token.is_empty() || page.next_page_token == token {
                break;
            }
            token = page.next_page_token;
        }
        accounts.truncate(count_max);
        Ok(accounts)
    }

    /// Logs in: opens a session. Use its token with [`Client::with_token`].
    ///
    /// The token is chosen here, so that a retry opens no second session.
    ///
    /// # Errors
    /// [`CallError`]; `WRONG_CREDENTIALS` if there is no such account or the password is another.
    pub async fn login(&self, name: &str, password: &str) -> Result<Login, CallError> {
        let token = random::bytes::<TOKEN_BYTES>();
        let request = v1::OpenSessionRequest {
            request_id: random::bytes::<REQUEST_ID_BYTES>().to_vec().into(),
            name: name.to_owned(),
            password: password.to_owned(),
            token: token.to_vec().into(),
        };
        let opened = self.ask(request).await?;
        Ok(Login {
            token: URL_SAFE_NO_PAD.encode(token),
            session: SessionId(opened.session_id),
            account: opened.account.unwrap_or_default(),
            expires_at: Timestamp(opened.expires_at_ms),
            position: Position(opened.position),
        })
    }

    /// Logs out: ends this session and no other. One that has ended already is no error.
    ///
    /// # Errors
    /// [`CallError`], but never [`CallError::SessionExpired`].
    pub async fn logout(&self) -> Result<(), CallError> {
        match self.change(v1::CloseSessionRequest::default()).await {
            Ok(_) | Err(CallError::SessionExpired { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tells whose session this is.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn session(&self, freshness: Freshness) -> Result<v1::GetSessionResponse, CallError> {
        let read = Some(freshness.options());
        self.ask(v1::GetSessionRequest { read }).await
    }
}

/// The size of the next page when so many items are still wanted.
pub(crate) fn page_size(wanted: usize) -> u32 {
    u32::try_from(wanted.clamp(1, PAGE_MAX)).expect("a page is small")
}
