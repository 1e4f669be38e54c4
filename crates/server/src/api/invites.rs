//! Serves invites: codes with which people create accounts.
//!
//! Always true: a code is shown to its maker once and stored nowhere.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::{Accepted, SessionId};
use conclave_storage::state as rows;
use conclave_wire::{
    Problem,
    request::{self, token_hash},
    v1,
};

use crate::{
    api::{admin::Admin, creation::CODE_BYTES},
    base::random,
    context::{
        access::{accepted, administrators_only, position_of},
        call::Call,
    },
};

impl Admin {
    pub(crate) async fn invite(
        &self,
        call: Call,
        request: v1::CreateInviteRequest,
    ) -> Result<v1::CreateInviteResponse, Problem> {
        let code = match request::invite_code(&request.code)? {
            Some(code) => code,
            None => random::bytes::<CODE_BYTES>()?,
        };
        let hash = token_hash(&code);
        let command = |session: SessionId| request::create_invite(session, request, hash);
        let outcome = self.shared.propose_in_session(&call, command).await?;
        accepted(&outcome, |accepted| match accepted {
            Accepted::InviteCreated { invite, expires_at } => Some(v1::CreateInviteResponse {
                invite_id: invite.0,
                code: URL_SAFE_NO_PAD.encode(code),
                expires_at_ms: expires_at.0,
                position: position_of(&outcome),
            }),
            _ => None,
        })
    }

    pub(crate) async fn invites(
        &self,
        call: Call,
        request: v1::ListInvitesRequest,
    ) -> Result<v1::ListInvitesResponse, Problem> {
        let now = self.shared.replica.now();
        let read = move |reader: &rows::Reader, session: &rows::SessionRow| {
            if let Err(refused) = administrators_only(session) {
                return Ok(Err(refused));
            }
            let mut invites = reader.invites()?;
            invites.retain(|invite| invite.expires_at > now.log_time);
            invites
                .iter_mut()
                .for_each(|invite| invite.expires_at = now.date_of(invite.expires_at));
            Ok(Ok(invites))
        };
        let found = self
            .shared
            .read_in_session(&call, request.read, read)
            .await?;
        let invites = found?.into_iter().map(|row| v1::Invite {
            invite_id: row.id.0,
            by_name: row.by_name.unwrap_or_default(),
            expires_at_ms: row.expires_at.0,
            uses_left: row.uses_left,
        });
        Ok(v1::ListInvitesResponse {
            invites: invites.collect(),
        })
    }
}
