//! Requests of clients, with every bound checked that does not need the state.
//!
//! A request that comes out of here as a [`Command`] is worth proposing; one that does not is
//! refused without troubling the log.

mod accounts;
mod admin;
mod messages;
mod once;
mod operators;
mod rooms;

use blake3::Hasher;
use conclave_core::{
    Command, Digest, OnceId, Operation, Origin, SessionId, TokenHash, limits::PAGE_MAX,
};

use crate::{Problem, Reason, v1};

pub use accounts::{change_password, delete_account};
pub use admin::{create_bot, create_invite, reset_password};
pub use messages::message_of;
pub use once::{
    admit_node, create_account, create_account_digest, forget_messages, note_act, offer_setup,
    once_of_webhook, open_session, post_by_webhook, raise_version, retire_node, rotate_authority,
    throttle_key_of_account, throttle_key_of_address, throttle_key_of_device, throttle_key_of_pair,
    throttle_key_of_session, try_password,
};
pub use operators::{
    by_operator, create_join_token, create_operator, make_first_operator, prefer_leader,
    reset_operators, revoke_join_token, revoke_operator, set_ack_policy, set_retention,
};
pub use rooms::create_webhook;

/// Bytes of a session token: 256 random bits.
pub const TOKEN_BYTES: usize = 32;

/// Bytes of an invite's code: 128 random bits.
pub const INVITE_CODE_BYTES: usize = 16;

/// Returns the hash under which a token is known to the cluster.
#[must_use]
pub fn token_hash(token: &[u8]) -> TokenHash {
    TokenHash(*blake3::hash(token).as_bytes())
}

/// Returns the name of a request outside a session; `None` if the client chose none.
///
/// # Errors
/// If it is neither empty nor 16 bytes.
pub fn once_id(bytes: &[u8]) -> Result<Option<OnceId>, Problem> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let id = OnceId::try_from(bytes).map_err(|_| {
        Problem::refused(
            Reason::RequestIdInvalid,
            "a request id has 16 bytes, or none",
        )
    })?;
    Ok(Some(id))
}

/// Returns the token that a client chose; `None` if it leaves that to the node.
///
/// # Errors
/// If it is neither empty nor 32 bytes.
pub fn chosen_token(bytes: &[u8]) -> Result<Option<[u8; TOKEN_BYTES]>, Problem> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let token = bytes.try_into().map_err(|_| {
        Problem::refused(Reason::TokenInvalid, "a token has 32 random bytes, or none")
    })?;
    Ok(Some(token))
}

/// Returns the secret of a device; `None` if the client shows none.
///
/// # Errors
/// If it is neither empty nor 32 bytes.
pub fn device_secret(bytes: &[u8]) -> Result<Option<&[u8]>, Problem> {
    match bytes.len() {
        0 => Ok(None),
        TOKEN_BYTES => Ok(Some(bytes)),
        _ => Err(Problem::refused(
            Reason::DeviceInvalid,
            "the secret of a device has 32 random bytes, or none",
        )),
    }
}

/// Returns the code of an invite that a client chose; `None` if it leaves that to the node.
///
/// # Errors
/// If it is neither empty nor 16 bytes.
pub fn invite_code(bytes: &[u8]) -> Result<Option<[u8; INVITE_CODE_BYTES]>, Problem> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let code = bytes.try_into().map_err(|_| {
        Problem::refused(Reason::CodeInvalid, "a code has 16 random bytes, or none")
    })?;
    Ok(Some(code))
}

/// Returns the number of items of a page: `default` if the client does not say.
#[must_use]
pub fn page_size(asked: u32, default: usize) -> usize {
    match usize::try_from(asked).unwrap_or(PAGE_MAX) {
        0 => default,
        asked => asked.min(PAGE_MAX),
    }
}

/// A request of a session that changes something.
pub trait SessionRequest {
    /// Returns the command that the request stands for.
    ///
    /// # Errors
    /// [`Problem::Refused`] if a bound is broken or a part is missing.
    fn into_command(self, session: SessionId) -> Result<Command, Problem>;
}

/// A request whose command needs more than the request, such as the hash of a secret.
impl<F: FnOnce(SessionId) -> Result<Command, Problem>> SessionRequest for F {
    fn into_command(self, session: SessionId) -> Result<Command, Problem> {
        self(session)
    }
}

fn command(
    session: SessionId,
    request: Option<v1::RequestId>,
    kind: &str,
    parts: &[&[u8]],
    operation: Operation,
) -> Result<Command, Problem> {
    let request = request
        .ok_or_else(|| Problem::refused(Reason::RequestMissing, "the request carries no number"))?;
    let origin = Origin::Session {
        session,
        number: request.number,
    };
    Ok(Command {
        origin,
        digest: digest(request.nonce, kind, parts),
        operation,
    })
}

/// Returns 64 bits of what a request says and of its sender. Parts carry their length, so that
/// moving a byte from one to the next changes it.
fn digest(nonce: u64, kind: &str, parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(&nonce.to_le_bytes());
    for part in [kind.as_bytes()].iter().chain(parts) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    let (first, _) = hash
        .as_bytes()
        .split_first_chunk::<8>()
        .expect("a hash has 32 bytes");
    Digest(u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests;
