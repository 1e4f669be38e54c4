//! Lets an administrator give an account another password.
//!
//! Always true: the node looks up whether the caller may do this before it hashes a password for
//! it, and hashes it in the caller's turn.

use conclave_core::{AccountName, SessionId};
use conclave_storage::state as rows;
use conclave_text::Password;
use conclave_wire::{Problem, request, v1};

use crate::{
    api::admin::Admin,
    auth::{
        hash_queue::{Asker, Work},
        throttle::keys_of_session,
    },
    context::{
        access::administrators_only,
        call::{Call, Freshness},
    },
};

impl Admin {
    /// Gives an account another password. Looks up whether the caller may do so before it hashes.
    pub(crate) async fn give_password(
        &self,
        call: Call,
        request: v1::ResetPasswordRequest,
    ) -> Result<v1::ResetPasswordResponse, Problem> {
        let name = AccountName::new(request.name.as_str())?;
        let password = Password::new(&request.new_password)?;
        let read = |_: &rows::Reader, session: &rows::SessionRow| Ok(session.clone());
        let session = self
            .shared
            .read_in_session(&call, Freshness::Latest, read)
            .await?;
        administrators_only(&session)?;
        let keys = keys_of_session(&name.key(), call.address, session.id);
        let asker = Asker {
            group: keys.address,
            account: keys.account,
        };
        let passwords = &self.shared.passwords;
        let turn = passwords.turn(Work::Again, asker, call.deadline).await?;
        let hash = passwords.hash(&turn, password).await?;
        drop(turn);
        let reset = |session: SessionId| {
            request::reset_password(session, request.request, &request.name, hash)
        };
        let position = self.shared.done_in_session(&call, reset).await?;
        Ok(v1::ResetPasswordResponse { position })
    }
}
