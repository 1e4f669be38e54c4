//! What one account may have under way on this node, however many sessions it has.
//!
//! The log counts what an account does, once for all nodes; what is refused there has already cost
//! an entry. So each node keeps a copy of the buckets on its own clock, and refuses what would be
//! refused anyway before it is proposed; what the log refuses all the same, because the account
//! also uses other nodes, this node refuses by itself until the log has said that it will not. An
//! account gets places among the commands under way only as long as others find twice as many free,
//! and its log-ins, each of which costs a hash, are counted: with too many, no more are hashed.
//! What is under way at the same time passes together.
//!
//! Always true: an account that has nothing under way here finds a place while any is free; a wrong
//! password does not count as a log-in, so nobody else can use up an account's log-ins.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use conclave_core::{
    AccountId, AccountLimits, Allowance, Rejection, Timestamp,
    allowance::{Price, SPENDS},
};
use conclave_wire::Problem;
use tokio::time::Instant;

use crate::{pace::Pace, problems::millis};

/// Accounts kept in memory. At the bound those go that have nothing under way.
const KEPT_MAX: usize = 65_536;
/// Commands of one account under way on one node: four sessions with full windows.
const COMMANDS_OF_ONE_MAX: usize = 1024;
/// Log-ins of one account on one node that may come at once: as many as it may have sessions.
const LOG_INS_AT_ONCE: u32 = 32;
/// For how long this node refuses by itself at most, what the log has refused: limits may be
/// raised meanwhile.
const REFUSED_MAX: Duration = Duration::from_secs(1);
/// One more log-in comes back after this time. A script that logs in for each message is slower.
const LOG_IN_EVERY: Duration = Duration::from_secs(1);

/// One account, as this node knows it.
#[derive(Default)]
pub(crate) struct OfAccount {
    under_way: AtomicUsize,
    /// The buckets on this node's clock. The totals in it are not used.
    buckets: Mutex<Allowance>,
    /// Until when the log refuses each kind of spending, as it has said.
    refused: Mutex<[Option<Instant>; SPENDS]>,
    log_ins: Mutex<Pace>,
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
    pub(crate) fn check_rate(&self, of: &OfAccount, price: &Price) -> Result<(), Problem> {
        of.check_refused(price)?;
        let limits = *self.limits.read().unwrap_or_else(PoisonError::into_inner);
        // Any clock that runs evenly does: a bucket is full until something was taken.
        let now = Timestamp(millis(self.started.elapsed()));
        let taken = lock(&of.buckets).take(&limits, now, price);
        Ok(taken?)
    }
}

impl OfAccount {
    /// Notes that the log has refused what the account asked for.
    pub(crate) fn is_refused(&self, price: &Price, rejection: &Rejection) {
        let Rejection::RateLimited { what, wait_ms } = rejection else {
            return;
        };
        let until = Instant::now() + Duration::from_millis(*wait_ms).min(REFUSED_MAX);
        let mut refused = lock(&self.refused);
        for (spend, _) in price.iter().flatten() {
            if spend.words() == what {
                refused[*spend as usize] = Some(until);
            }
        }
    }

    fn check_refused(&self, price: &Price) -> Result<(), Rejection> {
        let refused = *lock(&self.refused);
        for (spend, _) in price.iter().flatten() {
            let until = refused[*spend as usize];
            let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
            if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
                return Err(limited(spend.words(), wait));
            }
        }
        Ok(())
    }

    /// Refuses to hash one more password of an account that logs in all the time.
    ///
    /// # Errors
    /// [`Rejection::RateLimited`] with the time after which a log-in is possible.
    pub(crate) fn check_log_ins(&self) -> Result<(), Rejection> {
        let wait = lock(&self.log_ins).ahead(LOG_IN_EVERY * (LOG_INS_AT_ONCE - 1));
        match wait.is_zero() {
            true => Ok(()),
            false => Err(limited("log-ins", wait)),
        }
    }

    /// Counts a log-in with the right password.
    pub(crate) fn has_logged_in(&self) {
        lock(&self.log_ins).spend(LOG_IN_EVERY, LOG_IN_EVERY * (LOG_INS_AT_ONCE + 1));
    }

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

fn limited(what: &str, wait: Duration) -> Rejection {
    Rejection::RateLimited {
        what: what.to_owned(),
        wait_ms: millis(wait).max(1),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use conclave_core::{MessageRef, Operation, Reaction, Spend, allowance::price};

    use super::*;

    fn react() -> Price {
        price(&Operation::SetReaction {
            message: MessageRef {
                conversation: conclave_core::ConversationId(1),
                sequence: conclave_core::Sequence(1),
            },
            reaction: Reaction::new("x".to_owned()).unwrap(),
            present: true,
        })
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
        let (_, burst) = AccountLimits::default().rate(Spend::Reactions);
        assert!(taken >= burst, "{taken}");
        assert!(matches!(refused, Problem::RateLimited { .. }));
        assert!(fair.check_rate(&fair.of(AccountId(2)), &react()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_log_has_refused_is_refused_here_until_it_would_not_be() {
        let fair = Fair::default();
        let of = fair.of(AccountId(1));
        let (what, wait_ms) = (Spend::Reactions.words().to_owned(), 300);
        of.is_refused(&react(), &Rejection::RateLimited { what, wait_ms });
        let refused = fair.check_rate(&of, &react());
        assert!(matches!(
            refused,
            Err(Problem::RateLimited { wait_ms: 300, .. })
        ));
        let other = [None, None];
        assert!(fair.check_rate(&of, &other).is_ok());
        tokio::time::advance(Duration::from_millis(300)).await;
        assert!(fair.check_rate(&of, &react()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn only_log_ins_with_the_right_password_count() {
        let fair = Fair::default();
        let of = fair.of(AccountId(1));
        for _ in 0..LOG_INS_AT_ONCE {
            // Checked twice as often as the password is right.
            assert!(of.check_log_ins().is_ok());
            assert!(of.check_log_ins().is_ok());
            of.has_logged_in();
        }
        assert!(of.check_log_ins().is_err());
        assert!(fair.of(AccountId(2)).check_log_ins().is_ok());
        tokio::time::advance(LOG_IN_EVERY).await;
        assert!(of.check_log_ins().is_ok());
    }
}
