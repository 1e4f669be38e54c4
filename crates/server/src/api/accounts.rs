//! Serves accounts to clients. `creation` creates them.

use std::sync::Arc;

use conclave_core::{
    Accepted, AccountRole, Command, NamePattern, OnceId, Rejection, SessionId, name,
};
use conclave_storage::state as rows;
use conclave_text::Password;
use conclave_wire::{
    Problem,
    request::{self, SessionRequest},
    v1::{self, account_service_server::AccountService},
};
use tonic::{Extensions, Request, Response, Status, metadata::MetadataMap};

use crate::{
    base::random,
    context::{
        access::{accepted, position_of},
        shared::Shared,
    },
    protocol::{pages, show},
};

/// Number of accounts on a page if the client sets none.
const PAGE_DEFAULT: usize = 100;

/// Serves accounts, and their sessions in a file of its own.
#[derive(Clone)]
pub(crate) struct Accounts {
    pub(crate) shared: Arc<Shared>,
}

/// Returns the name of a request outside a session: the client's request id, or a random one if the
/// client does not repeat the request.
pub(crate) fn once_id(request_id: &[u8]) -> Result<OnceId, Problem> {
    match request::once_id(request_id)? {
        Some(id) => Ok(id),
        None => Ok(OnceId(random::bytes()?)),
    }
}

/// Request for another password, after the old one was verified.
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

/// Request to delete an account, after its password was verified.
struct Delete {
    request: Option<v1::RequestId>,
    password_version: u64,
}

impl SessionRequest for Delete {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        request::delete_account(session, self.request, self.password_version)
    }
}

impl Accounts {
    async fn delete(
        &self,
        request: Request<v1::DeleteAccountRequest>,
    ) -> Result<v1::DeleteAccountResponse, Problem> {
        let remote = request.remote_addr();
        let (metadata, _, request) = request.into_parts();
        let number = request.request.as_ref().map_or(0, |asked| asked.number);
        let password_version = match self.is_program(&metadata).await {
            Ok(true) => 0,
            Ok(false) => {
                let password = request.password;
                let again = self.shared.password_again(&metadata, remote, password);
                again.await?.version(number)?
            }
            // A retry after the account was deleted gets its first answer, and nothing else.
            Err(Problem::SessionExpired { .. }) => 0,
            Err(problem) => return Err(problem),
        };
        let delete = Delete {
            request: request.request,
            password_version,
        };
        let delete = Request::from_parts(metadata, Extensions::default(), delete);
        let outcome = self.shared.propose_in_session(delete).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::AccountDeleted => Some(v1::DeleteAccountResponse {
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    /// Returns whether the request's session is a program's, which has no password.
    async fn is_program(&self, metadata: &MetadataMap) -> Result<bool, Problem> {
        let read = |_: &rows::Reader, session: &rows::SessionRow| Ok(session.role);
        let role = self.shared.read_in_session(metadata, None, read).await?;
        Ok(role == AccountRole::Bot)
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
            page_size: pages::told(size),
        })
    }

    async fn change_password(
        &self,
        request: Request<v1::ChangePasswordRequest>,
    ) -> Result<v1::ChangePasswordResponse, Problem> {
        let remote = request.remote_addr();
        let (metadata, _, request) = request.into_parts();
        let new_password = Password::new(&request.new_password)?;
        let number = request.request.as_ref().map_or(0, |asked| asked.number);
        let again = self
            .shared
            .password_again(&metadata, remote, request.old_password)
            .await?;
        let password_version = again.version(number)?;
        let passwords = &self.shared.passwords;
        let password_hash = passwords.hash(&again.turn, new_password).await?;
        drop(again);
        let changed = Verified {
            request: request.request,
            password_version,
            password_hash,
        };
        let changed = Request::from_parts(metadata, Extensions::default(), changed);
        let position = self.shared.done_in_session(changed).await?;
        Ok(v1::ChangePasswordResponse { position })
    }

    /// Sets a display name that is not easily mistaken for the name of another account.
    ///
    /// The node looks that up here and the log does not decide it, because it follows tables of
    /// Unicode. An account that is created at the same moment is not seen, and one that is created
    /// later may have such a name: then the display name was there first.
    async fn name_oneself(
        &self,
        request: Request<v1::SetDisplayNameRequest>,
    ) -> Result<u64, Problem> {
        // Bounded first: the comparison with other names takes longer.
        let display_name = conclave_text::display_name(&request.get_ref().display_name)?;
        let names = conclave_text::names_like(display_name.as_str());
        if !names.is_empty() {
            let number = request.get_ref().request.as_ref();
            let number = number.map_or(0, |asked| asked.number);
            let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
                // A retry gets its first answer.
                if reader.is_answered(session.id, number)? {
                    return Ok(false);
                }
                for name in &names {
                    let key = reader.account_by_key(&name.to_ascii_lowercase())?;
                    let look = reader.account_by_look(&name::look(name))?;
                    let mut found = key.into_iter().chain(look);
                    if found.any(|other| other.id != session.account) {
                        return Ok(true);
                    }
                }
                Ok(false)
            };
            let metadata = request.metadata();
            if self.shared.read_in_session(metadata, None, read).await? {
                return Err(Rejection::NameAlike.into());
            }
        }
        self.shared.done_in_session(request).await
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
        let done = self.name_oneself(request).await;
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
