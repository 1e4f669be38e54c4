//! Accounts: creating, deleting, naming, blocking and listing them.

use conclave_core::{AccountId, Position, limits::PAGE_MAX};
use conclave_wire::v1;

use crate::{CallError, Client, Freshness, random};

/// Bytes of the random name of a request outside a session.
pub(crate) const REQUEST_ID_BYTES: usize = 16;

/// Permission by which a cluster lets the caller create an account.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Grant {
    /// The cluster is open to all, or the request comes from an administrator's session.
    #[default]
    Open,
    /// An invite: its code, as [`Client::create_invite`] returned it.
    Invite(String),
    /// The one-time setup token that the server prints while there is no administrator.
    Setup(String),
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Invite(_) => "Invite(…)",
            Self::Setup(_) => "Setup(…)",
        })
    }
}

impl Client {
    /// Creates an account in a cluster that is open; returns its number. Needs no session.
    ///
    /// # Errors
    /// As [`Client::create_account_with`].
    pub async fn create_account(&self, name: &str, password: &str) -> Result<AccountId, CallError> {
        self.create_account_with(name, password, Grant::Open).await
    }

    /// Creates an account; returns its number. Needs no session, but uses the session if there is
    /// one: an administrator may always create accounts.
    ///
    /// # Errors
    /// [`CallError`]; `REGISTRATION_CLOSED`, `INVITE_INVALID` or `SETUP_TOKEN_INVALID` if the grant
    /// is not valid. After [`CallError::Unknown`], log in to learn whether the account exists.
    pub async fn create_account_with(
        &self,
        name: &str,
        password: &str,
        grant: Grant,
    ) -> Result<AccountId, CallError> {
        use v1::create_account_request::Grant as Wire;
        let request = v1::CreateAccountRequest {
            request_id: random::bytes::<REQUEST_ID_BYTES>().to_vec().into(),
            name: name.to_owned(),
            password: password.to_owned(),
            grant: match grant {
                Grant::Open => None,
                Grant::Invite(code) => Some(Wire::InviteCode(code)),
                Grant::Setup(token) => Some(Wire::SetupToken(token)),
            },
        };
        Ok(AccountId(self.ask(request).await?.id))
    }

    /// Deletes the account of this session, and ends all its sessions.
    ///
    /// # Errors
    /// [`CallError`]; `WRONG_CREDENTIALS` if the password is wrong, `LAST_OF_ITS_KIND` for the last
    /// administrator among others.
    pub async fn delete_account(&self, password: &str) -> Result<(), CallError> {
        let request = v1::DeleteAccountRequest {
            request: None,
            password: password.to_owned(),
        };
        self.call(request).await?;
        Ok(())
    }

    /// Changes the password. All other sessions of the account end.
    ///
    /// # Errors
    /// [`CallError`]; `WRONG_CREDENTIALS` if `old` is not the password.
    pub async fn change_password(&self, old: &str, new: &str) -> Result<Position, CallError> {
        let request = v1::ChangePasswordRequest {
            request: None,
            old_password: old.to_owned(),
            new_password: new.to_owned(),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Sets the display name, which is shown beside the account's name; empty for none.
    ///
    /// # Errors
    /// [`CallError`]; `LINE_INVALID`, `NAME_ALIKE`.
    pub async fn set_display_name(&self, display_name: &str) -> Result<Position, CallError> {
        let request = v1::SetDisplayNameRequest {
            request: None,
            display_name: display_name.to_owned(),
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Blocks an account, or ends a block. A blocked account cannot write to the caller or invite
    /// it.
    ///
    /// # Errors
    /// [`CallError`]; `NO_SUCH_ACCOUNT`, `ONESELF` or `TOO_MANY`.
    pub async fn set_block(&self, name: &str, blocked: bool) -> Result<Position, CallError> {
        let request = v1::SetBlockRequest {
            request: None,
            name: name.to_owned(),
            blocked,
        };
        Ok(Position(self.call(request).await?.position))
    }

    /// Lists the accounts that the caller has blocked.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn blocks(&self, freshness: Freshness) -> Result<Vec<v1::Account>, CallError> {
        let read = Some(freshness.options());
        Ok(self.ask(v1::ListBlocksRequest { read }).await?.accounts)
    }

    /// Returns one page of the accounts whose names match: `*` is any run of characters, `?` any
    /// one. `page_token` is from the page before, empty for the first.
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

    /// Returns the first `count_max` accounts whose names match, fetched page by page.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_all_accounts(
        &self,
        pattern: &str,
        count_max: usize,
        freshness: Freshness,
    ) -> Result<Vec<v1::Account>, CallError> {
        all_pages(count_max, async |size, token| {
            let page = self.list_accounts(pattern, size, &token, freshness).await?;
            Ok((page.accounts, page.next_page_token))
        })
        .await
    }
}

/// Returns the first `count_max` items of a list, fetched page by page.
pub(crate) async fn all_pages<T>(
    count_max: usize,
    page: impl AsyncFn(u32, String) -> Result<(Vec<T>, String), CallError>,
) -> Result<Vec<T>, CallError> {
    let mut items = Vec::new();
    let mut token = String::new();
    while items.len() < count_max {
        let size = page_size(count_max - items.len());
        let (more, next) = page(size, token.clone()).await?;
        items.extend(more);
        if next.is_empty() || next == token {
            break;
        }
        token = next;
    }
    items.truncate(count_max);
    Ok(items)
}

/// Returns the size of the next page while `wanted` items are missing.
pub(crate) fn page_size(wanted: usize) -> u32 {
    u32::try_from(wanted.clamp(1, PAGE_MAX)).expect("a page is small")
}
