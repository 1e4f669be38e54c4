//! What one account may have under way on this node, however many sessions it has.
//!
//! The log counts what an account does, once for all nodes; what is refused there has already cost
//! an entry. So each node keeps a copy of the buckets on its own clock, and refuses what would be
//! refused anyway before it is proposed. And an account gets places among the commands under way
//! only as long as others find twice as many free.
//!
//! Always true: an account that has nothing under way here finds a place while any is free.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use conclave_core::{AccountId, AccountLimits, Allowance, Operation, Timestamp, allowance::price};
use conclave_wire::Problem;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::problems::millis;

/// Accounts kept in memory. At the bound those go that have nothing under way.
const KEPT_MAX: usize = 65_536;
/// Commands of one account under way on one node: four sessions with full windows.
const COMMANDS_OF_ONE_MAX: usize = 1024;

/// One account, as this node knows it.
#[derive(Default)]
pub(crate) struct OfAccount {
    under_way: AtomicUsize,
    /// The buckets on this node's clock. The totals in it are not used.
    buckets: Mutex<Allowance>,
}

/// A command of an account under way; over when dropped.
pub(crate) struct Place(Arc<OfAccount>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All accounts, and what each of them may do.
pub(crate) struct Fair {
    accounts: Mutex<HashMap<AccountId, Arc<OfAccount>>>,
    limits: RwLock<AccountLimits>,
    started: Instant,
}

impl Default for Fair {
    fn default() -> Self {
        Self {
            accounts: Mutex::default(),
            limits: RwLock::default(),
            started: Instant::now(),
        }
    }
}

impl Fair {
    /// What is known of an account.
    pub(crate) fn of(&self, account: AccountId) -> Arc<OfAccount> {
        let mut accounts = lock(&self.accounts);
        if accounts.len() >= KEPT_MAX && !accounts.contains_key(&account) {
            accounts.retain(|_, of| Arc::strong_count(of) > 1);
        }
        accounts.entry(account).or_default().clone()
    }

    /// The log says what accounts may do.
    pub(crate) fn set_limits(&self, limits: AccountLimits) {
        let mut known = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        *known = limits;
    }

    /// Refuses what the log would refuse, as far as this node can know.
    pub(crate) fn check_rate(&self, of: &OfAccount, operation: &Operation) -> Result<(), Problem> {
        let limits = *self.limits.read().unwrap_or_else(PoisonError::into_inner);
        // Any clock that runs evenly does: a bucket is full until something was taken.
        let now = Timestamp(millis(self.started.elapsed()));
        let taken = lock(&of.buckets).take(&limits, now, &price(operation));
        Ok(taken?)
    }
}

impl OfAccount {
    /// A place for one more command, if the account has a right to one; `free` places are left for
    /// all.
    pub(crate) fn admit(self: &Arc<Self>, free: usize) -> Result<Place, Problem> {
        let most = (free / 2).clamp(1, COMMANDS_OF_ONE_MAX);
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= most {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            return Err(Problem::Busy);
        }
        Ok(Place(self.clone()))
    }
}

/// Reads of the database, pages of streams or searches at once, shared fairly: an account waits for
/// its own turn before it waits with the others, so that however much it asks for, others wait for
/// few of its turns.
///
/// Always true: at most `of_one` turns of an account are held or waited for with others.
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    of_one: usize,
    accounts: Mutex<HashMap<AccountId, Arc<Semaphore>>>,
}

/// A turn; over when dropped.
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _common: OwnedSemaphorePermit,
}

impl Turns {
    pub(crate) fn new(all: usize, of_one: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            of_one,
            accounts: Mutex::default(),
        }
    }

    /// Waits for a turn; `None` if it does not come within `limit`.
    pub(crate) async fn take(&self, account: AccountId, limit: Duration) -> Option<Turn> {
        let taken = async {
            let own = self.of(account).acquire_owned().await.ok()?;
            let common = self.all.clone().acquire_owned().await.ok()?;
            Some(Turn {
                _own: own,
                _common: common,
            })
        };
        timeout(limit, taken).await.ok().flatten()
    }

    /// Waits for this account's own turn alone; what is common is waited for elsewhere.
    pub(crate) async fn take_own(
        &self,
        account: AccountId,
        limit: Duration,
    ) -> Option<OwnedSemaphorePermit> {
        let own = self.of(account).acquire_owned();
        timeout(limit, own).await.ok()?.ok()
    }

    fn of(&self, account: AccountId) -> Arc<Semaphore> {
        let mut accounts = lock(&self.accounts);
        if accounts.len() >= KEPT_MAX && !accounts.contains_key(&account) {
            // Whoever holds a turn or waits for one has the semaphore in hand.
            accounts.retain(|_, of| Arc::strong_count(of) > 1);
        }
        let new = || Arc::new(Semaphore::new(self.of_one));
        accounts.entry(account).or_insert_with(new).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use conclave_core::{MessageRef, Reaction};

    use super::*;

    fn react() -> Operation {
        Operation::SetReaction {
            message: MessageRef {
                conversation: conclave_core::ConversationId(1),
                sequence: conclave_core::Sequence(1),
            },
            reaction: Reaction::new("x".to_owned()).unwrap(),
            present: true,
        }
    }

    #[test]
    fn an_account_leaves_room_for_others() {
        let fair = Fair::default();
        let (greedy, modest) = (fair.of(AccountId(1)), fair.of(AccountId(2)));
        let (all, mut held) = (100, Vec::new());
        while let Ok(place) = greedy.admit(all - held.len()) {
            held.push(place);
        }
        assert!((30..=50).contains(&held.len()), "{}", held.len());
        assert!(modest.admit(all - held.len()).is_ok());
        // Whoever has nothing under way gets the last place.
        assert!(fair.of(AccountId(3)).admit(1).is_ok());
        held.pop();
        assert!(greedy.admit(all - held.len()).is_ok());
    }

    #[test]
    fn what_the_log_would_refuse_is_refused_before_it_is_proposed() {
        let fair = Fair::default();
        let of = fair.of(AccountId(1));
        let mut taken = 0;
        let refused = loop {
            match fair.check_rate(&of, &react()) {
                Ok(()) => taken += 1,
                Err(refused) => break refused,
            }
        };
        let (_, burst) = AccountLimits::default().rate(conclave_core::Spend::Reactions);
        assert!(taken >= burst, "{taken}");
        assert!(matches!(refused, Problem::RateLimited { .. }));
        assert!(fair.check_rate(&fair.of(AccountId(2)), &react()).is_ok());
    }

    #[tokio::test]
    async fn one_that_asks_for_many_turns_keeps_others_waiting_for_few() {
        let turns = Arc::new(Turns::new(1, 1));
        let long = Duration::from_secs(60);
        let first = turns.take(AccountId(1), long).await;
        let many: Vec<_> = (0..100)
            .map(|_| {
                let turns = turns.clone();
                tokio::spawn(async move { turns.take(AccountId(1), long).await.is_some() })
            })
            .collect();
        let other = turns.clone();
        let other = tokio::spawn(async move { other.take(AccountId(2), long).await.is_some() });
        while turns.accounts.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        drop(first);
        assert!(other.await.unwrap());
        // At most one of the many came before.
        let before = many.iter().filter(|task| task.is_finished()).count();
        assert!(before < 100, "{before}");
        many.iter().for_each(tokio::task::JoinHandle::abort);
        assert!(turns.take(AccountId(3), long).await.is_some());
    }
}
