//! Passwords: argon2id with 19 MiB, 2 passes, 1 lane (RFC 9106's way, OWASP's minimum).
//!
//! Always true: hashing happens on threads of its own, at most [`Passwords::lanes`] at once and
//! [`WAITING_MAX`] waiting, so a storm of log-ins costs neither memory nor everybody's latency. A
//! name that nobody has takes as long as one that somebody has, and so does a program's account,
//! which has no password: nothing logs in there.

use std::{sync::Arc, thread};

use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use conclave_wire::Problem;
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::random;

/// Log-ins and account creations that wait for a thread. At the bound further ones are refused.
const WAITING_MAX: usize = 256;

/// The parameters; changing them affects only passwords that are set afterwards.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes and verifies.
pub(crate) struct Passwords {
    lanes: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// A hash of nobody's password, for names that nobody has.
    nobody: String,
}

impl Passwords {
    /// Ready to hash; makes the hash of nobody's password.
    pub(crate) fn new() -> Result<Self, Problem> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            lanes: Arc::new(Semaphore::new(cores)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            nobody: hash("nobody's password")?,
        })
    }

    /// The PHC string of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Problem> {
        self.run(move || hash(&password)).await?
    }

    /// Whether `password` is the one of `hash`. `None` and the empty hash, which is no password's,
    /// take as long and are `false`.
    pub(crate) async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, Problem> {
        let hash = hash.filter(|hash| !hash.is_empty());
        let somebody = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        let verified = self.run(move || verify(&password, &hash)).await??;
        Ok(somebody && verified)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _waiting = self.waiting.try_acquire().map_err(|_| Problem::Busy)?;
        let lane = self
            .lanes
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Problem::GoingAway)?;
        let done = spawn_blocking(move || {
            let result = work();
            drop(lane);
            result
        });
        done.await.map_err(|_| broken("hashing was stopped"))
    }
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

fn hash(password: &str) -> Result<String, Problem> {
    let salt: [u8; 16] = random::bytes()?;
    let hashed = argon2()?.hash_password_with_salt(password.as_bytes(), &salt);
    hashed
        .map(|hash| hash.to_string())
        .map_err(|_| broken("the password cannot be hashed"))
}

fn verify(password: &str, hash: &str) -> Result<bool, Problem> {
    let hash = PasswordHash::new(hash).map_err(|_| broken("a stored password hash is damaged"))?;
    Ok(argon2()?
        .verify_password(password.as_bytes(), &hash)
        .is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other_is() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        let verify =
            |password: &str, hash: Option<String>| passwords.verify(password.to_owned(), hash);
        assert!(verify("correct horse", Some(hash.clone())).await.unwrap());
        assert!(!verify("battery staple", Some(hash.clone())).await.unwrap());
        for nobody in [None, Some(String::new())] {
            assert!(!verify("nobody's password", nobody).await.unwrap());
        }
        assert_ne!(
            passwords.hash("correct horse".to_owned()).await.unwrap(),
            hash,
            "salted"
        );
    }
}
