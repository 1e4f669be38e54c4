//! Lets an administrator give an account another password.
//!
//! Always true: the node looks up whether the caller may do this before it hashes a password for
//! it, and hashes it in the caller's turn.

use conclave_core::{AccountName, Command, SessionId};
use conclave_storage::state as rows;
use conclave_text::Password;
use conclave_wire::{
    Problem,
    request::{self, SessionRequest},
    v1,
};
use tonic::{Extensions, Request};

use crate::{
    api::admin::Admin,
    auth::{
        hash_queue::{Asker, Work},
        throttle::keys_of_session,
    },
    base::deadline::Deadline,
    context::access::administrators_only,
};

/// Request for another password, with its hash.
struct Reset {
    request: Option<v1::RequestId>,
    name: String,
    hash: String,
}

impl SessionRequest for Reset {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        request::reset_password(session, self.request, &self.name, self.hash)
    }
}

impl Admin {
    /// Gives an account another password. Looks up whether the caller may do so before it hashes.
    pub(crate) async fn give_password(
        &self,
        request: Request<v1::ResetPasswordRequest>,
    ) -> Result<v1::ResetPasswordResponse, Problem> {
        let deadline = Deadline::of(request.metadata());
        let remote = request.remote_addr();
        let (metadata, _, request) = request.into_parts();
        let name = AccountName::new(request.name.as_str())?;
        let password = Password::new(&request.new_password)?;
        let read = |_: &rows::Reader, session: &rows::SessionRow| Ok(session.clone());
        let session = self.shared.read_in_session(&metadata, None, read).await?;
        administrators_only(&session)?;
        let keys = keys_of_session(&name.key(), remote, session.id);
        let asker = Asker {
            group: keys.address,
            account: keys.account,
        };
        let passwords = &self.shared.passwords;
        let turn = passwords.turn(Work::Again, asker, deadline).await?;
        let hash = passwords.hash(&turn, password).await?;
        drop(turn);
        let reset = Reset {
            request: request.request,
            name: request.name,
            hash,
        };
        let reset = Request::from_parts(metadata, Extensions::default(), reset);
        let position = self.shared.done_in_session(reset).await?;
        Ok(v1::ResetPasswordResponse { position })
    }
}
