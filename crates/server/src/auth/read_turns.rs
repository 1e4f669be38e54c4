//! Shares reads of the database, pages of streams and searches fairly among accounts, and look-ups
//! among the addresses of callers that are not known.
//!
//! An account, or an address, waits for its own turn before it waits with the others, so that
//! however much it asks for, other accounts wait for few of its turns. An account that uses more
//! than its share of this node (`base/work_meter.rs`) gets its turns back later.
//!
//! Always true: at most `of_one` turns of a caller are held or waited for with others; a turn
//! comes back at most [`REST_MAX`](crate::base::work_meter::REST_MAX) after its work has ended.

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

use crate::{
    auth::work_meters::WorkMeters,
    base::{
        bounded_map::BoundedMap,
        work_meter::{Resting, WorkMeter},
    },
};

/// Maximum number of callers in memory. At the bound, callers that hold no turn and wait for none
/// are removed. If there are none, a new caller gets no turn while all the others have one.
const KEPT_MAX: usize = 65_536;

/// Maximum number of look-ups of one address among the reads.
const LOOKUPS_OF_ONE_MAX: usize = 4;

/// Turns of each caller's own, by account or by address.
pub(crate) struct OwnTurns<K> {
    of_one: usize,
    callers: Mutex<BoundedMap<K, Arc<Semaphore>>>,
}

impl<K: Ord + Copy> Default for OwnTurns<K> {
    /// Creates the turns of callers that are not known.
    fn default() -> Self {
        Self::new(LOOKUPS_OF_ONE_MAX)
    }
}

impl<K: Ord + Copy> OwnTurns<K> {
    /// Creates `of_one` turns for each caller.
    fn new(of_one: usize) -> Self {
        Self {
            of_one,
            callers: Mutex::new(BoundedMap::new(KEPT_MAX)),
        }
    }

    /// Waits for one of the caller's own turns, which lasts until it is dropped; returns `None` if
    /// there is none within `limit`.
    pub(crate) async fn take(&self, caller: K, limit: Duration) -> Option<OwnedSemaphorePermit> {
        timeout(limit, self.next(caller)).await.ok().flatten()
    }

    async fn next(&self, caller: K) -> Option<OwnedSemaphorePermit> {
        let of = {
            let mut callers = lock(&self.callers);
            // A turn, and a call that waits for one, holds a reference.
            let is_held = |of: &Arc<Semaphore>| Arc::strong_count(of) > 1;
            let new = || Arc::new(Semaphore::new(self.of_one));
            callers.entry(caller, is_held, new).cloned()
        };
        of?.acquire_owned().await.ok()
    }
}

/// Gives turns to accounts, for one way of reading.
pub(crate) struct ReadTurns {
    all: Arc<Semaphore>,
    accounts: OwnTurns<AccountId>,
    work: WorkMeters,
}

/// A turn of the account's own, until dropped, or until the end of a rest.
pub(crate) struct OwnTurn {
    work: Arc<WorkMeter>,
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
    pub(crate) fn new(all: usize, of_one: usize, work: &WorkMeters) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            accounts: OwnTurns::new(of_one),
            work: work.clone(),
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
        let permit = self.accounts.next(account).await?;
        Some(OwnTurn {
            work: self.work.of(account),
            permit: Some(permit),
            began: None,
        })
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
        self.work.worked(worked);
        let Some(rest) = self.work.rest(Resting::Turn) else {
            return;
        };
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::advance;

    use super::*;
    use crate::base::work_meter::{LASTING, PROMPT, REST_MAX};

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_greedy_account_delays_others_by_only_a_few_turns() {
        let turns = Arc::new(ReadTurns::new(1, 1, &WorkMeters::default()));
        let first = turns.take(AccountId(1), LONG).await;
        let many: Vec<_> = (0..100)
            .map(|_| {
                let turns = turns.clone();
                tokio::spawn(async move { turns.take(AccountId(1), LONG).await.is_some() })
            })
            .collect();
        let other = turns.clone();
        let other = tokio::spawn(async move { other.take(AccountId(2), LONG).await.is_some() });
        while turns.accounts.callers.lock().unwrap().len() < 2 {
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

    #[tokio::test]
    async fn a_thousand_lookups_of_one_address_delay_a_few_turns() {
        let lookups = Arc::<OwnTurns<u32>>::default();
        let reads = Arc::new(Semaphore::new(1));
        let first = reads.clone().acquire_owned().await.unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::new(AtomicUsize::new(0));
        for _ in 0..1000 {
            let (lookups, reads) = (lookups.clone(), reads.clone());
            let (done, waiting) = (done.clone(), waiting.clone());
            tokio::spawn(async move {
                waiting.fetch_add(1, Ordering::Relaxed);
                let own = lookups.take(66, LONG).await;
                let read = reads.acquire_owned().await;
                done.fetch_add(1, Ordering::Relaxed);
                drop((own, read));
            });
        }
        while waiting.load(Ordering::Relaxed) < 1000 {
            tokio::task::yield_now().await;
        }
        let account = tokio::spawn(async move {
            let read = reads.acquire_owned().await;
            (read.is_ok(), done.load(Ordering::Relaxed))
        });
        tokio::task::yield_now().await;
        drop(first);
        let (got, before) = account.await.unwrap();
        assert!(got && before <= LOOKUPS_OF_ONE_MAX, "{before}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_constant_reader_gets_its_share_of_a_core() {
        let turns = ReadTurns::new(8, 1, &WorkMeters::default());
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
        assert!(
            worked >= LASTING.at_once + LONG / (2 * LASTING.share),
            "{worked:?}"
        );
        assert!(
            worked <= LASTING.at_once + LONG / LASTING.share + 2 * page,
            "{worked:?}"
        );
        // Another account waits for nothing, and neither does an account that has rested.
        for account in [2, 1] {
            if account == 1 {
                advance(LASTING.repaid()).await;
            }
            let began = Instant::now();
            while began.elapsed() < PROMPT.at_once / 2 {
                read(account).await;
            }
            assert!(began.elapsed() < PROMPT.at_once / 2 + 2 * page, "{account}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_long_read_pauses_its_account_only_briefly() {
        let turns = ReadTurns::new(8, 1, &WorkMeters::default());
        let mut turn = turns.take(AccountId(1), LONG).await;
        turn.iter_mut().for_each(ReadTurn::begins);
        advance(LONG).await;
        drop(turn);
        let began = Instant::now();
        assert!(turns.take(AccountId(1), LONG).await.is_some());
        assert!(began.elapsed() <= REST_MAX + Duration::from_millis(5));
    }
}
