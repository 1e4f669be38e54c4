//! Shares reads of the database, pages of streams and searches fairly among accounts.
//!
//! An account waits for its own turn before it waits with the others, so that however much it asks
//! for, other accounts wait for few of its turns. An account that reads all the time gets its turns
//! back later: after [`AT_ONCE`] of work, of all kinds together, its turns rest until they have
//! worked one part in [`REST`] of the time; a little more if each read is long, since no rest is
//! longer than [`REST_MAX`].
//!
//! Always true: at most `of_one` turns of an account are held or waited for with others; a turn
//! comes back at most [`REST_MAX`] after its work has ended.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use conclave_core::AccountId;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use crate::base::{bounded_map::BoundedMap, rate_limiter::RateLimiter};

/// Maximum number of accounts in memory. At the bound, accounts that hold no turn, wait for none
/// and need no rest are removed. If there are none, a new account reads without a rest, and gets no
/// turn while all the others have one.
const KEPT_MAX: usize = 65_536;
/// Work of one account on one node without a rest: the first synchronisation of a client with a
/// hundred pages takes about as much.
const AT_ONCE: Duration = Duration::from_millis(500);
/// Divisor of the time in which an account that reads all the time works, on one core. A program
/// that reads all of its messages gets 15 MiB of them in a second.
const REST: u32 = 8;
/// Longest rest of a turn.
const REST_MAX: Duration = Duration::from_secs(1);

/// How much each account has read on this node, in whatever way. Clones share it.
#[derive(Clone)]
pub(crate) struct RateLimiters(Arc<Mutex<BoundedMap<AccountId, Arc<Mutex<RateLimiter>>>>>);

impl Default for RateLimiters {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(BoundedMap::new(KEPT_MAX))))
    }
}

impl RateLimiters {
    fn of(&self, account: AccountId) -> Arc<Mutex<RateLimiter>> {
        let mut all = lock(&self.0);
        let found = all.entry(account, |pace| lock(pace).owes(), Arc::default);
        found.cloned().unwrap_or_default()
    }
}

/// Gives turns to accounts, for one way of reading.
pub(crate) struct ReadTurns {
    all: Arc<Semaphore>,
    of_one: usize,
    accounts: Mutex<BoundedMap<AccountId, Arc<Semaphore>>>,
    paces: RateLimiters,
}

/// A turn of the account's own, until dropped, or until the end of a rest.
pub(crate) struct OwnTurn {
    pace: Arc<Mutex<RateLimiter>>,
    permit: Option<OwnedSemaphorePermit>,
    began: Option<Instant>,
}

/// A turn, until dropped.
pub(crate) struct ReadTurn {
    own: OwnTurn,
    _common: OwnedSemaphorePermit,
}

impl ReadTurns {
    /// Creates `all` turns that may be taken at once, of which one account may have `of_one`.
    pub(crate) fn new(all: usize, of_one: usize, paces: &RateLimiters) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            of_one,
            accounts: Mutex::new(BoundedMap::new(KEPT_MAX)),
            paces: paces.clone(),
        }
    }

    /// Waits for a turn; returns `None` if there is none within `limit`. The work begins when the
    /// caller says so.
    pub(crate) async fn take(&self, account: AccountId, limit: Duration) -> Option<ReadTurn> {
        let taken = async {
            let own = self.own(account).await?;
            let common = self.all.clone().acquire_owned().await.ok()?;
            Some(ReadTurn {
                own,
                _common: common,
            })
        };
        timeout(limit, taken).await.ok().flatten()
    }

    /// Waits for this account's own turn alone; the common turn is waited for elsewhere, and the
    /// work begins when the caller says so.
    pub(crate) async fn take_own(&self, account: AccountId, limit: Duration) -> Option<OwnTurn> {
        timeout(limit, self.own(account)).await.ok().flatten()
    }

    async fn own(&self, account: AccountId) -> Option<OwnTurn> {
        let permit = self.of(account)?.acquire_owned().await.ok()?;
        Some(OwnTurn {
            pace: self.paces.of(account),
            permit: Some(permit),
            began: None,
        })
    }

    fn of(&self, account: AccountId) -> Option<Arc<Semaphore>> {
        let mut accounts = lock(&self.accounts);
        // A turn, and a caller that waits for one, holds a reference.
        let is_held = |of: &Arc<Semaphore>| Arc::strong_count(of) > 1;
        let new = || Arc::new(Semaphore::new(self.of_one));
        accounts.entry(account, is_held, new).cloned()
    }
}

impl ReadTurn {
    /// Records that the work begins.
    pub(crate) fn begins(&mut self) {
        self.own.begins();
    }
}

impl OwnTurn {
    /// Records that the work begins.
    pub(crate) fn begins(&mut self) {
        self.began = Some(Instant::now());
    }
}

impl Drop for OwnTurn {
    fn drop(&mut self) {
        let worked = self.began.map_or(Duration::ZERO, |began| began.elapsed());
        let rest = {
            let mut pace = lock(&self.pace);
            pace.spend(worked.min(AT_ONCE) * REST, AT_ONCE * REST + REST_MAX);
            pace.ahead(AT_ONCE * REST).min(REST_MAX)
        };
        if rest.is_zero() {
            return;
        }
        // Without a runtime the node is ending, and no rest is needed.
        if let (Some(permit), Ok(runtime)) = (self.permit.take(), Handle::try_current()) {
            runtime.spawn(async move {
                sleep(rest).await;
                drop(permit);
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Valid after every statement that changes it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_greedy_account_delays_others_by_only_a_few_turns() {
        let turns = Arc::new(ReadTurns::new(1, 1, &RateLimiters::default()));
        let first = turns.take(AccountId(1), LONG).await;
        let many: Vec<_> = (0..100)
            .map(|_| {
                let turns = turns.clone();
                tokio::spawn(async move { turns.take(AccountId(1), LONG).await.is_some() })
            })
            .collect();
        let other = turns.clone();
        let other = tokio::spawn(async move { other.take(AccountId(2), LONG).await.is_some() });
        while turns.accounts.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        drop(first);
        assert!(other.await.unwrap());
        // At most one of the many finished before.
        let before = many.iter().filter(|task| task.is_finished()).count();
        assert!(before < 100, "{before}");
        many.iter().for_each(tokio::task::JoinHandle::abort);
        assert!(turns.take(AccountId(3), LONG).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_constant_reader_gets_an_eighth_of_the_time() {
        let turns = ReadTurns::new(8, 1, &RateLimiters::default());
        let page = Duration::from_millis(10);
        let read = async |account| {
            let mut turn = turns.take(AccountId(account), LONG).await;
            turn.iter_mut().for_each(ReadTurn::begins);
            advance(page).await;
            drop(turn);
        };
        let began = Instant::now();
        let mut pages = 0;
        while began.elapsed() < LONG {
            read(1).await;
            pages += 1;
        }
        let worked = page * pages;
        assert!(worked >= AT_ONCE + LONG / (2 * REST), "{worked:?}");
        assert!(worked <= AT_ONCE + LONG / REST + 2 * page, "{worked:?}");
        // Another account waits for nothing, and neither does an account that has rested.
        for account in [2, 1] {
            if account == 1 {
                advance(AT_ONCE * REST).await;
            }
            let began = Instant::now();
            while began.elapsed() < AT_ONCE / 2 {
                read(account).await;
            }
            assert!(began.elapsed() < AT_ONCE / 2 + 2 * page, "{account}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_long_read_pauses_its_account_only_briefly() {
        let turns = ReadTurns::new(8, 1, &RateLimiters::default());
        let mut turn = turns.take(AccountId(1), LONG).await;
        turn.iter_mut().for_each(ReadTurn::begins);
        advance(LONG).await;
        drop(turn);
        let began = Instant::now();
        assert!(turns.take(AccountId(1), LONG).await.is_some());
        assert!(began.elapsed() <= REST_MAX + Duration::from_millis(5));
    }
}
