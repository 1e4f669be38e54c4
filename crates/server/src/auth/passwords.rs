//! Hashes passwords: argon2id with 19 MiB, 2 passes, 1 lane (RFC 9106's way, OWASP's minimum).
//!
//! Always true: hashing uses threads of its own, at most half of the cores at once, in turns that
//! are shared fairly (see `hash_queue`), so many log-ins at once cost neither unbounded memory nor
//! the latency of other calls. A name without an account takes as long as a name with one, and so
//! does a program's account, which has no password and with which no caller can log in.

use std::{io, sync::Arc, thread};

use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use conclave_text::Password;
use conclave_wire::Problem;
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    auth::hash_queue::{Asker, Turn, Turns, Work},
    base::{deadline::Deadline, long_work, random},
};

/// Attempts with a turn for each thread that hashes: while one hashes, the log counts another.
const TURNS_PER_LANE: usize = 2;
/// Maximum number of turns of one node. All nodes of a large cluster together have fewer turns than
/// the failures that an address is allowed, so log-ins with a right password do not make their
/// address wait.
const TURNS_MAX: usize = 6;

/// Memory parameter in KiB. A hash with older parameters is renewed when its owner logs in.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// When a hash is made, if the cores are busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// As soon as other work.
    Prompt,
    /// When other work leaves time.
    Patient,
}

/// Hashes and verifies passwords.
pub(crate) struct Passwords {
    turns: Turns,
    lanes: Arc<Semaphore>,
    /// Hash of a password that no account has, for names without an account.
    dummy_hash: String,
}

impl Passwords {
    /// Makes the hash that names without an account are verified against.
    pub(crate) fn new() -> Result<Self, Problem> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let lanes = (cores / 2).max(1);
        Ok(Self {
            turns: Turns::new((TURNS_PER_LANE * lanes).min(TURNS_MAX)),
            lanes: Arc::new(Semaphore::new(lanes)),
            dummy_hash: hash(b"no account's password")?,
        })
    }

    /// Waits for a turn to hash.
    ///
    /// # Errors
    /// [`Problem::Busy`] if too many callers wait, or this one waits too long.
    pub(crate) async fn turn(
        &self,
        work: Work,
        asker: Asker,
        deadline: Deadline,
    ) -> Result<Turn, Problem> {
        self.turns.take(work, asker, deadline).await
    }

    /// Returns the PHC string of a new password.
    pub(crate) async fn hash(&self, _turn: &Turn, password: Password) -> Result<String, Problem> {
        self.run(Priority::Prompt, move || hash(password.as_bytes()))
            .await?
    }

    /// Returns whether `password` is the one of `hash`. `None` and the empty hash, which belongs to
    /// no password, take as long and give `false`.
    pub(crate) async fn verify(
        &self,
        _turn: &Turn,
        password: Password,
        hash: Option<String>,
        priority: Priority,
    ) -> Result<bool, Problem> {
        let hash = hash.filter(|hash| !hash.is_empty());
        let has_password = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy_hash.clone());
        let verified = self
            .run(priority, move || verify(&password, &hash))
            .await??;
        Ok(has_password && verified)
    }

    async fn run<T: Send + 'static>(
        &self,
        priority: Priority,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let lane = self
            .lanes
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Problem::GoingAway)?;
        let work = move || {
            let result = work();
            drop(lane);
            result
        };
        let done = match priority {
            Priority::Prompt => spawn_blocking(work).await.map_err(|_| ()),
            Priority::Patient => long_work::run("hash", work).await.map_err(|_| ()),
        };
        done.map_err(|()| broken("hashing was stopped"))
    }
}

/// Returns the PHC string of a password, on the caller's thread: for work without a node.
///
/// # Errors
/// If the system gives no randomness.
pub fn hash_alone(password: &Password) -> io::Result<String> {
    hash(password.as_bytes()).map_err(|problem| io::Error::other(problem.to_string()))
}

/// Returns the PHC string of a password that was never shown: no caller can log in with it, and the
/// account looks like any other.
///
/// # Errors
/// If the system gives no randomness.
pub fn hash_of_no_password() -> io::Result<String> {
    let unknown = random::bytes::<32>().and_then(|password| hash(&password));
    unknown.map_err(|problem| io::Error::other(problem.to_string()))
}

/// Returns whether a hash was made with other parameters than today's.
pub(crate) fn is_outdated(hash: &str) -> bool {
    let today = format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$");
    !hash.starts_with(&today)
}

fn broken(sentence: &str) -> Problem {
    Problem::Broken {
        sentence: sentence.to_owned(),
    }
}

fn argon2() -> Result<Argon2<'static>, Problem> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
    let params = params.map_err(|_| broken("the parameters of argon2 are wrong"))?;
    Ok(Argon2::new(
        argon2::Algorithm::Argon2id,
        argon2::Version::V0x13,
        params,
    ))
}

fn hash(password: &[u8]) -> Result<String, Problem> {
    let salt: [u8; 16] = random::bytes()?;
    let hashed = argon2()?.hash_password_with_salt(password, &salt);
    hashed
        .map(|hash| hash.to_string())
        .map_err(|_| broken("the password cannot be hashed"))
}

fn verify(password: &Password, hash: &str) -> Result<bool, Problem> {
    let hash = PasswordHash::new(hash).map_err(|_| broken("a stored password hash is damaged"))?;
    Ok(argon2()?
        .verify_password(password.as_bytes(), &hash)
        .is_ok())
}

#[cfg(test)]
mod tests {
    use conclave_core::ThrottleKey;

    use super::*;

    fn password(typed: &str) -> Password {
        Password::typed(typed).unwrap()
    }

    async fn turn(passwords: &Passwords) -> Turn {
        let key = ThrottleKey([0; 16]);
        let asker = Asker {
            group: key,
            account: key,
        };
        let taken = passwords.turn(Work::LogIn, asker, Deadline::usual()).await;
        taken.unwrap()
    }

    #[tokio::test]
    async fn a_hashed_password_verifies_and_others_do_not() {
        let passwords = Passwords::new().unwrap();
        let turn = turn(&passwords).await;
        let hash = passwords.hash(&turn, password("correct horse")).await;
        let hash = hash.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(!is_outdated(&hash));
        let verify = |typed: &str, hash: Option<String>| {
            let priority = match hash.is_some() {
                true => Priority::Patient,
                false => Priority::Prompt,
            };
            passwords.verify(&turn, password(typed), hash, priority)
        };
        assert!(verify("correct horse", Some(hash.clone())).await.unwrap());
        assert!(!verify("battery staple", Some(hash.clone())).await.unwrap());
        for missing in [None, Some(String::new())] {
            assert!(!verify("no account's password", missing).await.unwrap());
        }
        let spelled = passwords.hash(&turn, password("pässwörter")).await.unwrap();
        assert!(
            verify("pa\u{308}sswo\u{308}rter", Some(spelled))
                .await
                .unwrap()
        );
        let again = passwords.hash(&turn, password("correct horse")).await;
        assert_ne!(again.unwrap(), hash, "salted");
    }

    #[tokio::test]
    async fn a_hash_with_other_parameters_verifies_and_is_outdated() {
        let passwords = Passwords::new().unwrap();
        let turn = turn(&passwords).await;
        let params = Params::new(8 * 1024, 1, 1, None).unwrap();
        let (algorithm, version) = (argon2::Algorithm::Argon2id, argon2::Version::V0x13);
        let old = Argon2::new(algorithm, version, params);
        let hash = old.hash_password_with_salt(b"correct horse", &[7; 16]);
        let hash = hash.unwrap().to_string();
        let verified = passwords.verify(
            &turn,
            password("correct horse"),
            Some(hash.clone()),
            Priority::Prompt,
        );
        assert!(verified.await.unwrap());
        assert!(is_outdated(&hash));
    }
}
