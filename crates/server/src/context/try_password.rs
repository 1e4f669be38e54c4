//! Verifies a password: hashing starts only after the attempt has passed the throttle
//! (`throttle.rs`) and the log has counted it.
//!
//! Always true: a retry of one attempt is counted once and a different guess is counted again, even
//! if a client that guesses gives all its guesses the same request id.

use conclave_core::{Accepted, LoginKeys, OnceId};
use conclave_text::Password;
use conclave_wire::{Problem, request};

use crate::{
    auth::{
        hash_queue::{Turn, Work},
        passwords::Priority,
        throttle::KnownFailures,
    },
    context::{
        access::{Unknown, accepted},
        node_context::NodeContext,
    },
};

/// Separates names of counted attempts from all other uses of the hash.
const ATTEMPT_CONTEXT: &str = "conclave 2026-11 name of a counted login failure";

/// A password attempt: whether the password is right, and the turn in which it was hashed.
pub(crate) struct Tried {
    pub(crate) verified: bool,
    /// Turn for whatever else the call has to hash.
    pub(crate) turn: Turn,
}

/// A password, and what it is compared with.
pub(crate) struct Guess {
    pub(crate) password: String,
    /// Hash of the account's password; `None` if there is no such account.
    pub(crate) hash: Option<String>,
    pub(crate) priority: Priority,
}

impl NodeContext {
    /// Verifies a password. The attempt never waits because of failures from other places; the log
    /// counts it before anything is hashed, and it has a turn of its own. The caller has read the
    /// hash after a barrier. `once` is the name of the attempt.
    ///
    /// # Errors
    /// [`Problem::LoginThrottled`], [`Problem::Busy`], or a problem of the proposal if the log does
    /// not answer.
    pub(crate) async fn try_password(
        &self,
        once: OnceId,
        keys: LoginKeys,
        work: Work,
        guess: Guess,
        caller: Unknown,
    ) -> Result<Tried, Problem> {
        let deadline = caller.deadline;
        let held = self
            .read_for(caller, move |reader| KnownFailures::of(reader, &keys))
            .await?;
        let attempt = self.gate.enter(held.key(&keys))?;
        attempt.admit(&held, keys.address, self.log_time())?;
        let turn = self.passwords.turn(work, held.asker(&keys), deadline);
        let turn = turn.await?;
        let counted = self.propose(request::try_password(once, keys), deadline);
        accepted(&counted.await?, |accepted| match accepted {
            Accepted::PasswordTried => Some(()),
            _ => None,
        })?;
        let verified = match Password::typed(&guess.password) {
            Ok(password) => {
                let verified = self
                    .passwords
                    .verify(&turn, password, guess.hash, guess.priority);
                verified.await?
            }
            Err(_) => false,
        };
        Ok(Tried { verified, turn })
    }
}

/// Returns the name under which an attempt to log in is counted: the same for a retry and a
/// different one for another guess, even if a client that guesses gives all its guesses the same
/// request id.
///
/// An attacker cannot test passwords against the name without the request id, which is random and,
/// for an attempt that failed, stored nowhere else in the cluster.
pub(crate) fn attempt_id(request_id: &OnceId, keys: &LoginKeys, password: &str) -> OnceId {
    let key = blake3::derive_key(ATTEMPT_CONTEXT, &request_id.0);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(&keys.account.0);
    hasher.update(password.as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    OnceId(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::throttle::keys_of_login;

    #[test]
    fn a_retried_guess_counts_once_and_a_new_guess_again() {
        let keys = keys_of_login("alice", None, None);
        let id = |request: u8, password: &str| attempt_id(&OnceId([request; 16]), &keys, password);
        assert_eq!(id(1, "guess one"), id(1, "guess one"));
        assert_ne!(id(1, "guess one"), id(1, "guess two"));
        assert_ne!(id(1, "guess one"), id(2, "guess one"));
        assert_ne!(id(1, "guess one"), OnceId([1; 16]));
    }
}
