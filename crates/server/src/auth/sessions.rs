//! Finds the session behind the token in a request.
//!
//! Only what never changes is kept in memory: which session a token belongs to. Whether that
//! session is still open is decided where it matters: by the rules for a command, by the database
//! for a read.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::{AccountId, SessionId, TokenHash};
use conclave_wire::{
    Problem,
    request::{TOKEN_BYTES, token_hash},
};
use tonic::metadata::MetadataMap;

use crate::auth::fair::{Fair, OfAccount};

/// Maximum number of sessions in memory. At the bound the memory is emptied: reading a session
/// again is cheap.
const KEPT_MAX: usize = 65_536;
/// Maximum number of commands of one session under way on one node: as many as its window
/// remembers.
const COMMANDS_MAX: u32 = 256;

/// The session of a token, as this node knows it.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) id: SessionId,
    pub(crate) account: AccountId,
    pub(crate) of_account: Arc<OfAccount>,
    under_way: Arc<AtomicU32>,
}

impl Known {
    /// Counts one more command under way.
    pub(crate) fn admit(&self) -> Result<Admitted, Problem> {
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= COMMANDS_MAX {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            return Err(Problem::Busy);
        }
        Ok(Admitted(self.under_way.clone()))
    }
}

/// A command of a session under way, until dropped.
pub(crate) struct Admitted(Arc<AtomicU32>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sessions in memory; see the head of this file.
#[derive(Default)]
pub(crate) struct Sessions {
    pub(crate) fair: Fair,
    known: Mutex<HashMap<TokenHash, Known>>,
}

impl Sessions {
    pub(crate) fn get(&self, token: &TokenHash) -> Option<Known> {
        self.known
            .lock()
            .unwrap_or_else(|error| error.into_inner())
            .get(token)
            .cloned()
    }

    pub(crate) fn keep(&self, token: TokenHash, id: SessionId, account: AccountId) -> Known {
        let mut known = self.known.lock().unwrap_or_else(|error| error.into_inner());
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        let new = || Known {
            id,
            account,
            of_account: self.fair.of(account),
            under_way: Arc::default(),
        };
        known.entry(token).or_insert_with(new).clone()
    }
}

/// Returns the problem of a call without a usable session.
pub(crate) fn log_in_first(sentence: &str) -> Problem {
    Problem::SessionExpired {
        sentence: sentence.to_owned(),
    }
}

/// Returns the hash of the token that a request carries.
pub(crate) fn token_of(metadata: &MetadataMap) -> Result<TokenHash, Problem> {
    token_in(metadata.as_ref())
}

/// Returns the hash of the token in the headers of a request.
pub(crate) fn token_in(headers: &HeaderMap) -> Result<TokenHash, Problem> {
    let header = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let header = header.ok_or_else(|| log_in_first("the request carries no session; log in"))?;
    let malformed = || log_in_first("the authorization header is not `Bearer TOKEN`; log in");
    let (scheme, token) = header.split_once(' ').ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(malformed());
    }
    let token = URL_SAFE_NO_PAD
        .decode(token.trim())
        .map_err(|_| malformed())?;
    match token.len() {
        TOKEN_BYTES => Ok(token_hash(&token)),
        _ => Err(malformed()),
    }
}

/// Returns a token in the form that its owner sees.
pub(crate) fn show_token(token: &[u8; TOKEN_BYTES]) -> String {
    URL_SAFE_NO_PAD.encode(token)
}

#[cfg(test)]
mod tests {
    use conclave_wire::Reason;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_shown_and_nothing_else_is() {
        let token = [7; TOKEN_BYTES];
        let mut metadata = MetadataMap::new();
        assert!(token_of(&metadata).is_err());
        let header = format!("Bearer {}", show_token(&token));
        metadata.insert("authorization", header.parse().unwrap());
        assert_eq!(token_of(&metadata), Ok(token_hash(&token)));
        for bad in ["Bearer", "Bearer !", "Basic abc", "Bearer YWJj"] {
            metadata.insert("authorization", bad.parse().unwrap());
            assert_eq!(
                token_of(&metadata).unwrap_err().reason(),
                Reason::SessionExpired,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_session_has_a_bounded_number_of_commands_under_way() {
        let known = Sessions::default().keep(TokenHash([1; 32]), SessionId(1), AccountId(1));
        let admitted: Vec<_> = (0..COMMANDS_MAX).map(|_| known.admit().unwrap()).collect();
        assert!(matches!(known.admit(), Err(Problem::Busy)));
        drop(admitted);
        assert!(known.admit().is_ok());
    }
}
