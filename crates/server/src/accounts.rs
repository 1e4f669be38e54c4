//! Accounts and sessions, as clients see them.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::{Accepted, AccountName, NamePattern, OnceId, Rejection};
use conclave_replica::rows;
use conclave_wire::{
    Problem,
    request::{self, TOKEN_BYTES},
    v1::{self, account_service_server::AccountService, session_service_server::SessionService},
};
use tonic::{Request, Response, Status};

use crate::{
    access::{Deadline, accepted, position_of},
    node::Shared,
    sessions::{log_in_first, show_token},
};

/// Accounts on a page if the client does not say.
const PAGE_DEFAULT: usize = 100;

#[derive(Clone)]
pub(crate) struct Accounts {
    pub(crate) shared: Arc<Shared>,
}

fn account(row: rows::AccountRow) -> v1::Account {
    v1::Account {
        id: row.id.0,
        name: row.name,
        created_at_ms: row.created_at.0,
    }
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    let broken = |_| Problem::Broken {
        sentence: "the system gives no randomness".to_owned(),
    };
    getrandom::fill(&mut bytes).map_err(broken)?;
    Ok(bytes)
}

impl Accounts {
    async fn create(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<v1::CreateAccountResponse, Problem> {
        self.shared.door()?;
        let deadline = Deadline::of(request.metadata());
        let request = request.into_inner();
        let name = AccountName::new(request.name)?;
        request::check_password(&request.password)?;
        let once = match request::once_id(&request.request_id)? {
            Some(id) => id,
            None => OnceId(random()?),
        };
        let hash = self.shared.passwords.hash(request.password).await?;
        let command = request::create_account(once, name, hash);
        let outcome = self.shared.propose(command, deadline).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::AccountCreated { account } => {
                let position = position_of(&outcome);
                Some(v1::CreateAccountResponse {
                    id: account.0,
                    position,
                })
            }
            _ => None,
        })
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteAccountRequest>,
    ) -> Result<v1::DeleteAccountResponse, Problem> {
        let outcome = self.shared.propose_in_session(request).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::AccountDeleted => Some(v1::DeleteAccountResponse {
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    async fn list(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<v1::ListAccountsResponse, Problem> {
        let (metadata, _, request) = request.into_parts();
        let pattern = NamePattern::new(&request.pattern)?;
        let after = page_key(&request.page_token)?;
        let size = request::page_size(request.page_size, PAGE_DEFAULT);
        let read = move |reader: &rows::Reader, _: &rows::SessionRow| {
            reader.accounts(&pattern, after.as_deref(), size)
        };
        let page = self
            .shared
            .read_in_session(&metadata, request.read, read)
            .await?;
        Ok(v1::ListAccountsResponse {
            accounts: page.rows.into_iter().map(account).collect(),
            next_page_token: page
                .next_after_key
                .map_or_else(String::new, |key| URL_SAFE_NO_PAD.encode(key)),
        })
    }

    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<v1::OpenSessionResponse, Problem> {
        self.shared.door()?;
        let deadline = Deadline::of(request.metadata());
        let request = request.into_inner();
        let token = match request::chosen_token(&request.token)? {
            Some(token) => token,
            None => random::<TOKEN_BYTES>()?,
        };
        let once = match request::once_id(&request.request_id)? {
            Some(id) => id,
            None => OnceId(random()?),
        };
        // A name or password that nobody can have is told like one that nobody has.
        let key = AccountName::new(request.name).map(|name| name.key());
        let key = key.map_err(|_| Rejection::WrongCredentials)?;
        request::check_password(&request.password).map_err(|_| Rejection::WrongCredentials)?;
        self.shared.barrier(deadline).await?;
        let found = self
            .shared
            .read(move |reader| reader.account_by_key(&key))
            .await?;
        let hash = found.as_ref().map(|row| row.password_hash.clone());
        let verified = self.shared.passwords.verify(request.password, hash).await?;
        let Some(row) = found.filter(|_| verified) else {
            return Err(Rejection::WrongCredentials.into());
        };
        let hash = request::token_hash(&token);
        let command = request::open_session(once, row.id, row.password_version, hash);
        let outcome = self.shared.propose(command, deadline).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::SessionOpened {
                session,
                expires_at,
                ..
            } => {
                self.shared.sessions.keep(hash, *session);
                Some(v1::OpenSessionResponse {
                    token: show_token(&token),
                    session_id: session.0,
                    account: Some(account(row)),
                    expires_at_ms: expires_at.0,
                    position: position_of(&outcome),
                })
            }
            _ => None,
        })
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<v1::CloseSessionResponse, Problem> {
        let outcome = self.shared.propose_in_session(request).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::SessionClosed => Some(v1::CloseSessionResponse {
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<v1::GetSessionResponse, Problem> {
        let (metadata, _, request) = request.into_parts();
        let read = |reader: &rows::Reader, session: &rows::SessionRow| {
            Ok((reader.account(session.account)?, session.clone()))
        };
        let (row, session) = self
            .shared
            .read_in_session(&metadata, request.read, read)
            .await?;
        let row = row.ok_or_else(|| log_in_first("the account was deleted"))?;
        Ok(v1::GetSessionResponse {
            session_id: session.id.0,
            account: Some(account(row)),
            opened_at_ms: session.opened_at.0,
            expires_at_ms: session.expires_at.0,
            request_number_last: session.request_last,
        })
    }
}

fn page_key(token: &str) -> Result<Option<String>, Problem> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    key.map(Some).ok_or_else(bad_page_token)
}

/// A page token that no node has given.
pub(crate) fn bad_page_token() -> Problem {
    Problem::Refused {
        reason: "PAGE_TOKEN_INVALID".to_owned(),
        sentence: "the page token is none that a node has given".to_owned(),
        request_last: None,
    }
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::CreateAccountResponse>, Status> {
        self.shared.reply(self.create(request).await)
    }

    async fn delete_account(
        &self,
        request: Request<v1::DeleteAccountRequest>,
    ) -> Result<Response<v1::DeleteAccountResponse>, Status> {
        self.shared.reply(self.delete(request).await)
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        self.shared.reply(self.list(request).await)
    }
}

#[tonic::async_trait]
impl SessionService for Accounts {
    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        self.shared.reply(Self::open_session(self, request).await)
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        self.shared.reply(Self::close_session(self, request).await)
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        self.shared.reply(Self::get_session(self, request).await)
    }
}
