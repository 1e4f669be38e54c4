//! Remembers which session each token belongs to.
//!
//! Only what never changes is kept in memory: which session a token belongs to. Whether that
//! session is still open is decided where it matters: by the rules for a command, by the database
//! for a read.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::{AccountId, AccountLimits, SessionId, Spend, TokenHash};
use conclave_storage::RecentMap;
use conclave_wire::{Problem, request::TOKEN_BYTES};

use crate::{
    auth::{
        account_limiters::{AccountLimiter, AccountLimiters},
        work_meters::WorkMeters,
    },
    base::work_meter::WorkMeter,
};

/// Maximum number of sessions in memory. Half of them, those that were used last, are never
/// forgotten; reading a session again is cheap.
const KEPT_MAX: usize = 262_144;
/// Maximum number of commands of one session under way on one node: as many as its window
/// remembers.
const COMMANDS_MAX: u32 = 256;

/// The session of a token, as this node knows it.
#[derive(Clone)]
pub(crate) struct KnownSession {
    pub(crate) id: SessionId,
    pub(crate) account: AccountId,
    pub(crate) of_account: Arc<AccountLimiter>,
    /// What this node works for its account.
    pub(crate) work: Arc<WorkMeter>,
    under_way: Arc<AtomicU32>,
}

impl KnownSession {
    /// Counts one more command under way.
    pub(crate) fn admit(&self) -> Result<Admitted, Problem> {
        self.admit_up_to(1)
    }

    /// Counts up to `most` more commands under way, at least one.
    pub(crate) fn admit_up_to(&self, most: u32) -> Result<Admitted, Problem> {
        let before = self.under_way.fetch_add(most, Ordering::Relaxed);
        let count = COMMANDS_MAX.saturating_sub(before).min(most);
        self.under_way.fetch_sub(most - count, Ordering::Relaxed);
        match count {
            0 => Err(Problem::Busy),
            count => Ok(Admitted {
                under_way: self.under_way.clone(),
                count,
            }),
        }
    }
}

/// Commands of a session under way, until dropped.
pub(crate) struct Admitted {
    under_way: Arc<AtomicU32>,
    count: u32,
}

impl Admitted {
    /// Returns the number of commands.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.under_way.fetch_sub(self.count, Ordering::Relaxed);
    }
}

/// Sessions in memory; see the head of this file.
pub(crate) struct Sessions {
    pub(crate) account_limiters: AccountLimiters,
    pub(crate) work: WorkMeters,
    known: Mutex<RecentMap<TokenHash, KnownSession>>,
    /// Number of sessions in memory, for counting without the lock.
    count: AtomicUsize,
}

impl Sessions {
    /// Makes an empty memory of sessions, whose work is counted by these meters.
    pub(crate) fn new(work: WorkMeters) -> Self {
        Self {
            account_limiters: AccountLimiters::default(),
            work,
            known: Mutex::new(RecentMap::new(KEPT_MAX)),
            count: AtomicUsize::new(0),
        }
    }

    /// Sets the limits of accounts, as the log says. Where messages have no limit, work has none.
    pub(crate) fn set_limits(&self, limits: AccountLimits) {
        let (messages_per_minute, _) = limits.rate(Spend::Messages);
        self.work.rules().lift(messages_per_minute == 0);
        self.account_limiters.set_limits(limits);
    }

    pub(crate) fn get(&self, token: &TokenHash) -> Option<KnownSession> {
        self.known
            .lock()
            .unwrap_or_else(|error| error.into_inner())
            .get(token)
    }

    /// Returns the number of sessions in memory.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn keep(&self, token: TokenHash, id: SessionId, account: AccountId) -> KnownSession {
        let mut known = self.known.lock().unwrap_or_else(|error| error.into_inner());
        if let Some(kept) = known.get(&token) {
            return kept;
        }
        let new = KnownSession {
            id,
            account,
            of_account: self.account_limiters.of(account),
            work: self.work.of(account),
            under_way: Arc::default(),
        };
        known.insert(token, new.clone());
        self.count.store(known.len(), Ordering::Relaxed);
        new
    }
}

/// Returns the problem of a call without a usable session.
pub(crate) fn log_in_first(sentence: &str) -> Problem {
    Problem::SessionExpired {
        sentence: sentence.to_owned(),
    }
}

/// Returns the problem of a call whose session is not open any more.
pub(crate) fn session_ended() -> Problem {
    log_in_first("the session has ended; log in")
}

/// Returns a token in the form that its owner sees.
pub(crate) fn show_token(token: &[u8; TOKEN_BYTES]) -> String {
    URL_SAFE_NO_PAD.encode(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_flight_per_session_are_bounded() {
        let known = Sessions::new(WorkMeters::default()).keep(
            TokenHash([1; 32]),
            SessionId(1),
            AccountId(1),
        );
        let admitted: Vec<_> = (0..COMMANDS_MAX).map(|_| known.admit().unwrap()).collect();
        assert!(matches!(known.admit(), Err(Problem::Busy)));
        drop(admitted);
        assert!(known.admit().is_ok());
        let most = known.admit_up_to(COMMANDS_MAX - 6).unwrap();
        let rest = known.admit_up_to(100).unwrap();
        assert_eq!((most.count(), rest.count()), (COMMANDS_MAX - 6, 6));
        assert!(known.admit_up_to(100).is_err());
        drop(most);
        assert_eq!(known.admit_up_to(100).unwrap().count(), 100);
    }
}
