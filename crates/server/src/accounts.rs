//! Accounts, as clients see them. How an account is created is told in `creation`.

use std::sync::Arc;

use conclave_core::{Accepted, Command, NamePattern, OnceId, SessionId};
use conclave_replica::rows;
use conclave_wire::{
    Problem,
    request::{self, SessionRequest},
    v1::{self, account_service_server::AccountService},
};
use tonic::{Extensions, Request, Response, Status, metadata::MetadataMap};

use crate::{
    access::{Deadline, accepted, position_of},
    hash_queue::{Asker, Work},
    pages, random,
    sessions::log_in_first,
    shared::Shared,
    show,
    throttle::Keys,
};

/// Accounts on a page if the client does not say.
const PAGE_DEFAULT: usize = 100;

/// Serves accounts, and their sessions in a file of its own.
#[derive(Clone)]
pub(crate) struct Accounts {
    pub(crate) shared: Arc<Shared>,
}

/// The name of a request outside a session: the client's, or one that nobody repeats.
pub(crate) fn once_id(request_id: &[u8]) -> Result<OnceId, Problem> {
    match request::once_id(request_id)? {
        Some(id) => Ok(id),
        None => Ok(OnceId(random::bytes()?)),
    }
}

/// A request for another password, once the old one was verified.
struct Verified {
    request: Option<v1::RequestId>,
    password_version: u64,
    password_hash: String,
}

impl SessionRequest for Verified {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        let Self {
            request,
            password_version,
            password_hash,
        } = self;
        request::change_password(session, request, password_version, password_hash)
    }
}

impl Accounts {
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
        let after = pages::key_of(&request.page_token)?;
        let size = request::page_size(request.page_size, PAGE_DEFAULT);
        let read = move |reader: &rows::Reader, _: &rows::SessionRow| {
            reader.accounts(&pattern, after.as_deref(), size)
        };
        let page = self
            .shared
            .read_in_session(&metadata, request.read, read)
            .await?;
        Ok(v1::ListAccountsResponse {
            accounts: page.rows.into_iter().map(show::account).collect(),
            next_page_token: pages::token_of_key(page.next_after_key),
        })
    }

    async fn change_password(
        &self,
        request: Request<v1::ChangePasswordRequest>,
    ) -> Result<v1::ChangePasswordResponse, Problem> {
        self.shared.only_where_believed()?;
        let deadline = Deadline::of(request.metadata());
        let remote = request.remote_addr();
        let (metadata, _, request) = request.into_parts();
        request::check_password(&request.new_password)?;
        let number = request.request.as_ref().map_or(0, |asked| asked.number);
        let (row, session) = self.caller(&metadata).await?;
        let keys = Keys::of(&row.name.to_ascii_lowercase(), remote);
        let attempt = self.shared.gate.enter(keys)?;
        // Entered before it is read: see `Gate::enter`.
        self.shared.barrier(deadline).await?;
        let held = self.shared.read(move |reader| keys.held(reader)).await?;
        attempt.admit(&held, self.shared.log_time())?;

        let passwords = &self.shared.passwords;
        let asker = Asker {
            group: keys.account,
            account: keys.account,
        };
        let turn = passwords.turn(Work::Again, asker, deadline).await?;
        let verified = request::check_password(&request.old_password).is_ok()
            && passwords
                .verify(&turn, request.old_password, Some(row.password_hash))
                .await?;
        // Also for nothing: how long an answer takes must not tell whether a guess was right.
        let password_hash = passwords.hash(&turn, request.new_password).await?;
        drop(turn);
        if !verified && number > session.request_last {
            return Err(self.wrong_password(keys, deadline).await?);
        }
        let changed = Verified {
            request: request.request,
            // Once the first attempt has changed it, the old password is wrong; yet a retry is
            // told its first answer. No password has version 0, so nothing else can come of it.
            password_version: if verified { row.password_version } else { 0 },
            password_hash,
        };
        let changed = Request::from_parts(metadata, Extensions::default(), changed);
        match self.shared.done_in_session(changed).await {
            Ok(position) => Ok(v1::ChangePasswordResponse { position }),
            Err(refused @ Problem::Refused { .. }) if !verified => {
                match self.wrong_password(keys, deadline).await? {
                    Problem::Refused { .. } => Err(refused),
                    not_counted => Err(not_counted),
                }
            }
            Err(problem) => Err(problem),
        }
    }

    /// Counts a wrong password in a session. A retry of it counts again: what would name it is
    /// known to whoever has the database.
    async fn wrong_password(&self, keys: Keys, deadline: Deadline) -> Result<Problem, Problem> {
        let once = OnceId(random::bytes()?);
        Ok(self.shared.count_failure(once, keys, deadline).await)
    }

    /// Whose session the request carries.
    async fn caller(
        &self,
        metadata: &MetadataMap,
    ) -> Result<(rows::AccountRow, rows::SessionRow), Problem> {
        let read = |reader: &rows::Reader, session: &rows::SessionRow| {
            Ok((reader.account(session.account)?, session.clone()))
        };
        let (row, session) = self.shared.read_in_session(metadata, None, read).await?;
        let row = row.ok_or_else(|| log_in_first("the account was deleted"))?;
        Ok((row, session))
    }

    async fn blocks(
        &self,
        request: Request<v1::ListBlocksRequest>,
    ) -> Result<v1::ListBlocksResponse, Problem> {
        let (metadata, _, request) = request.into_parts();
        let read =
            |reader: &rows::Reader, session: &rows::SessionRow| reader.blocks(session.account);
        let blocked = self
            .shared
            .read_in_session(&metadata, request.read, read)
            .await?;
        Ok(v1::ListBlocksResponse {
            accounts: blocked.into_iter().map(show::account).collect(),
        })
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

    async fn change_password(
        &self,
        request: Request<v1::ChangePasswordRequest>,
    ) -> Result<Response<v1::ChangePasswordResponse>, Status> {
        self.shared
            .reply(Self::change_password(self, request).await)
    }

    async fn set_display_name(
        &self,
        request: Request<v1::SetDisplayNameRequest>,
    ) -> Result<Response<v1::SetDisplayNameResponse>, Status> {
        let done = self.shared.done_in_session(request).await;
        let response = done.map(|position| v1::SetDisplayNameResponse { position });
        self.shared.reply(response)
    }

    async fn set_block(
        &self,
        request: Request<v1::SetBlockRequest>,
    ) -> Result<Response<v1::SetBlockResponse>, Status> {
        let done = self.shared.done_in_session(request).await;
        let response = done.map(|position| v1::SetBlockResponse { position });
        self.shared.reply(response)
    }

    async fn list_blocks(
        &self,
        request: Request<v1::ListBlocksRequest>,
    ) -> Result<Response<v1::ListBlocksResponse>, Status> {
        self.shared.reply(self.blocks(request).await)
    }
}
