//! Serves accounts to clients. `creation` creates them.

use std::sync::Arc;

use conclave_core::{Accepted, AccountRole, NamePattern, OnceId, Rejection, SessionId, name};
use conclave_storage::state as rows;
use conclave_text::Password;
use conclave_wire::{
    Problem, request,
    v1::{self, account_service_server::AccountService},
};
use tonic::Request;

use crate::{
    api::edge::{self, Answer},
    base::random,
    context::{
        access::{accepted, position_of},
        call::{Call, Freshness},
        node_context::NodeContext,
    },
    protocol::{pages, show},
};

/// Number of accounts on a page if the client sets none.
const PAGE_DEFAULT: usize = 100;

/// Serves accounts, and their sessions in a file of its own.
#[derive(Clone)]
pub(crate) struct Accounts {
    pub(crate) shared: Arc<NodeContext>,
}

/// Returns the name of a request outside a session: the client's request id, or a random one if the
/// client does not repeat the request.
pub(crate) fn once_id(request_id: &[u8]) -> Result<OnceId, Problem> {
    match request::once_id(request_id)? {
        Some(id) => Ok(id),
        None => Ok(OnceId(random::bytes()?)),
    }
}

impl Accounts {
    async fn delete(
        &self,
        call: Call,
        request: v1::DeleteAccountRequest,
    ) -> Result<v1::DeleteAccountResponse, Problem> {
        let number = request.request.as_ref().map_or(0, |asked| asked.number);
        let password_version = match self.is_program(&call).await {
            Ok(true) => 0,
            Ok(false) => {
                let again = self.shared.password_again(&call, request.password);
                again.await?.version(number)?
            }
            // A retry after the account was deleted gets its first answer, and nothing else.
            Err(Problem::SessionExpired { .. }) => 0,
            Err(problem) => return Err(problem),
        };
        let delete = |session: SessionId| {
            request::delete_account(session, request.request, password_version)
        };
        let outcome = self.shared.propose_in_session(&call, delete).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::AccountDeleted => Some(v1::DeleteAccountResponse {
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    /// Returns whether the call's session is a program's, which has no password.
    async fn is_program(&self, call: &Call) -> Result<bool, Problem> {
        let read = |_: &rows::Reader, session: &rows::SessionRow| Ok(session.role);
        let role = self
            .shared
            .read_in_session(call, Freshness::Latest, read)
            .await?;
        Ok(role == AccountRole::Bot)
    }

    async fn list(
        &self,
        call: Call,
        request: v1::ListAccountsRequest,
    ) -> Result<v1::ListAccountsResponse, Problem> {
        let pattern = NamePattern::new(&request.pattern)?;
        let after = pages::key_of(&request.page_token)?;
        let size = request::page_size(request.page_size, PAGE_DEFAULT);
        let read = move |reader: &rows::Reader, _: &rows::SessionRow| {
            reader.accounts(&pattern, after.as_deref(), size)
        };
        let page = self
            .shared
            .read_in_session(&call, request.read, read)
            .await?;
        Ok(v1::ListAccountsResponse {
            accounts: page.rows.into_iter().map(show::account).collect(),
            next_page_token: pages::token_of_key(page.next_after_key),
            page_size: pages::page_size(size),
        })
    }

    async fn change_password(
        &self,
        call: Call,
        request: v1::ChangePasswordRequest,
    ) -> Result<v1::ChangePasswordResponse, Problem> {
        let new_password = Password::new(&request.new_password)?;
        let number = request.request.as_ref().map_or(0, |asked| asked.number);
        let again = self
            .shared
            .password_again(&call, request.old_password)
            .await?;
        let password_version = again.version(number)?;
        let passwords = &self.shared.passwords;
        let password_hash = passwords.hash(&again.turn, new_password).await?;
        drop(again);
        let change = |session: SessionId| {
            let number = request.request;
            request::change_password(session, number, password_version, password_hash)
        };
        let position = self.shared.done_in_session(&call, change).await?;
        Ok(v1::ChangePasswordResponse { position })
    }

    /// Sets a display name that is not easily mistaken for the name of another account.
    ///
    /// The node looks that up here and the log does not decide it, because it follows tables of
    /// Unicode. An account that is created at the same moment is not seen, and one that is created
    /// later may have such a name: then the display name was there first.
    async fn name_oneself(
        &self,
        call: Call,
        request: v1::SetDisplayNameRequest,
    ) -> Result<v1::SetDisplayNameResponse, Problem> {
        // Bounded first: the comparison with other names takes longer.
        let display_name = conclave_text::display_name(&request.display_name)?;
        let names = conclave_text::names_like(display_name.as_str());
        if !names.is_empty() {
            let number = request.request.as_ref().map_or(0, |asked| asked.number);
            let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
                // A retry gets its first answer.
                if reader.is_answered(session.id, number)? {
                    return Ok(false);
                }
                for name in &names {
                    let key = reader.account_by_key(&name.to_ascii_lowercase())?;
                    let look = reader.account_by_skeleton(&name::skeleton(name))?;
                    let mut found = key.into_iter().chain(look);
                    if found.any(|other| other.id != session.account) {
                        return Ok(true);
                    }
                }
                Ok(false)
            };
            let is_alike = self.shared.read_in_session(&call, Freshness::Latest, read);
            if is_alike.await? {
                return Err(Rejection::NameAlike.into());
            }
        }
        let position = self.shared.done_in_session(&call, request).await?;
        Ok(v1::SetDisplayNameResponse { position })
    }

    async fn blocks(
        &self,
        call: Call,
        request: v1::ListBlocksRequest,
    ) -> Result<v1::ListBlocksResponse, Problem> {
        let read =
            |reader: &rows::Reader, session: &rows::SessionRow| reader.blocks(session.account);
        let blocked = self
            .shared
            .read_in_session(&call, request.read, read)
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
    ) -> Answer<v1::CreateAccountResponse> {
        edge::answer(request, |call, request| self.create(call, request)).await
    }

    async fn delete_account(
        &self,
        request: Request<v1::DeleteAccountRequest>,
    ) -> Answer<v1::DeleteAccountResponse> {
        edge::answer_last(request, |call, request| self.delete(call, request)).await
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Answer<v1::ListAccountsResponse> {
        edge::answer(request, |call, request| self.list(call, request)).await
    }

    async fn change_password(
        &self,
        request: Request<v1::ChangePasswordRequest>,
    ) -> Answer<v1::ChangePasswordResponse> {
        edge::answer(request, |call, request| self.change_password(call, request)).await
    }

    async fn set_display_name(
        &self,
        request: Request<v1::SetDisplayNameRequest>,
    ) -> Answer<v1::SetDisplayNameResponse> {
        edge::answer(request, |call, request| self.name_oneself(call, request)).await
    }

    async fn set_block(
        &self,
        request: Request<v1::SetBlockRequest>,
    ) -> Answer<v1::SetBlockResponse> {
        let tell = |position| v1::SetBlockResponse { position };
        edge::done(&self.shared, request, tell).await
    }

    async fn list_blocks(
        &self,
        request: Request<v1::ListBlocksRequest>,
    ) -> Answer<v1::ListBlocksResponse> {
        edge::answer(request, |call, request| self.blocks(call, request)).await
    }
}
