//! Limits what one account may have under way on this node, however many sessions it has.
//!
//! The log counts what an account does, once for all nodes; what the log refuses has already cost
//! an entry. So each node keeps a copy of the buckets on its own clock and refuses, before
//! proposing, what the log would refuse anyway. The log may still refuse a command, because the
//! account also uses other nodes; then this node refuses by itself until the wait that the log has
//! named is over. An account gets places among the commands under way only as long as twice as many
//! remain free for other accounts. Calls that cost a node work although nothing of them is written
//! have a rate of their own: log-ins, each of which costs a hash, and the opening of streams. Calls
//! that are under way at the same time pass together. Refusals by rate have a rate as well: a
//! caller that retries as soon as it may, from many connections at once, is refused nearly every
//! time.
//!
//! Always true: an account that has nothing under way here finds a place while any is free; a wrong
//! password does not count as a log-in, so other people cannot use up an account's log-ins.

use std::{
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

use crate::{
    base::{bounded_map::BoundedMap, rate_limiter::RateLimiter},
    protocol::problems::millis,
};

/// Maximum number of accounts in memory. At the bound, accounts with nothing under way are removed.
///
/// As many as there are sessions in memory: each of those may be of another account.
const KEPT_MAX: usize = 262_144;
/// Maximum number of commands of one account under way on one node: four sessions with full
/// windows.
const COMMANDS_OF_ONE_MAX: usize = 1024;
/// Maximum time for which this node refuses by itself what the log has refused: limits may be
/// raised meanwhile.
const REFUSED_MAX: Duration = Duration::from_secs(1);

/// Calls that cost work although nothing of them is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Paced {
    /// A log-in with the right password.
    LogIn,
    /// The start of a stream.
    Stream,
    /// Tickets with which a browser takes its session to other nodes.
    Ticket,
    /// Log-ins whose hash is made before other work; those beyond are made after it.
    PromptLogIn,
}

/// Number of kinds.
const PACED: usize = 4;

impl Paced {
    /// Returns how many may happen at once on one node, and after which time one more may.
    const fn rate(self) -> (u32, Duration) {
        match self {
            // As many as an account may have sessions. A script that logs in for each message takes
            // longer than a second for each.
            Self::LogIn => (32, Duration::from_secs(1)),
            // All sessions connect again twice, after two nodes were lost. A client whose
            // connection breaks all the time backs off further than this.
            Self::Stream => (64, Duration::from_millis(250)),
            // All sessions at once, and each of them again whenever a node comes back.
            Self::Ticket => (32, Duration::from_secs(1)),
            // The devices of a person after a new password.
            Self::PromptLogIn => (4, Duration::from_secs(10)),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::LogIn | Self::PromptLogIn => "log-ins",
            Self::Stream => "streams that begin",
            Self::Ticket => "tickets for other nodes",
        }
    }
}

/// Refusals by rate of one account on one node without a wait of their own: one for each session
/// and some more.
const REFUSALS_AT_ONCE: u32 = 64;
/// Time after which one more refusal is free of a wait.
const REFUSAL_EVERY: Duration = Duration::from_millis(50);

/// What this node knows of one account.
#[derive(Default)]
pub(crate) struct AccountLimiter {
    under_way: AtomicUsize,
    /// Buckets on this node's clock. Their totals are not used.
    buckets: Mutex<Allowance>,
    /// Time until which the log refuses each kind of spending, as it has said.
    refused: Mutex<[Option<Instant>; SPENDS]>,
    paces: Mutex<[RateLimiter; PACED]>,
    refusals: Mutex<RateLimiter>,
}

/// Commands of an account under way, until dropped.
pub(crate) struct CommandPermit {
    of: Arc<AccountLimiter>,
    count: usize,
}

impl CommandPermit {
    /// Returns the number of commands.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

impl Drop for CommandPermit {
    fn drop(&mut self) {
        self.of.under_way.fetch_sub(self.count, Ordering::Relaxed);
    }
}

/// All accounts, and their limits.
pub(crate) struct AccountLimiters {
    accounts: Mutex<BoundedMap<AccountId, Arc<AccountLimiter>>>,
    limits: RwLock<AccountLimits>,
    started: Instant,
}

impl Default for AccountLimiters {
    fn default() -> Self {
        Self {
            accounts: Mutex::new(BoundedMap::new(KEPT_MAX)),
            limits: RwLock::default(),
            started: Instant::now(),
        }
    }
}

impl AccountLimiters {
    /// Returns what is known of an account.
    pub(crate) fn of(&self, account: AccountId) -> Arc<AccountLimiter> {
        let mut accounts = lock(&self.accounts);
        // A session or a call under way holds a reference.
        let is_needed = |of: &Arc<AccountLimiter>| Arc::strong_count(of) > 1;
        let kept = accounts.entry(account, is_needed, Arc::default);
        // Without a place in the map, the account counts only as long as a reference is held.
        kept.cloned().unwrap_or_default()
    }

    /// Sets the limits of accounts, as the log says.
    pub(crate) fn set_limits(&self, limits: AccountLimits) {
        let mut known = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        *known = limits;
    }

    /// Refuses what the log would refuse, as far as this node can know.
    pub(crate) fn check_rate(&self, of: &AccountLimiter, price: &Price) -> Result<(), Problem> {
        of.check_refused(price)?;
        let limits = *self.limits.read().unwrap_or_else(PoisonError::into_inner);
        // Any clock that runs evenly will do: a bucket is full until the first spending.
        let now = Timestamp(millis(self.started.elapsed()));
        // The log may count less for a request than this node: a full bucket lets each through.
        let price = price.map(|part| part.map(|(of, n)| (of, n.min(limits.rate(of).1))));
        let taken = lock(&of.buckets).take(&limits, now, &price);
        Ok(taken?)
    }
}

impl AccountLimiter {
    /// Records that the log has refused what the account asked for.
    pub(crate) fn note_refused(&self, price: &Price, rejection: &Rejection) {
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

    /// Refuses what this account does too often; counts nothing.
    ///
    /// # Errors
    /// [`Rejection::RateLimited`] with the time after which it is possible.
    pub(crate) fn check(&self, paced: Paced) -> Result<(), Rejection> {
        check_pace(&lock(&self.paces)[paced as usize], paced)
    }

    /// Counts what was done, whether or not it was checked before.
    pub(crate) fn count(&self, paced: Paced) {
        count_pace(&mut lock(&self.paces)[paced as usize], paced);
    }

    /// Counts what is about to be done, unless it is refused.
    ///
    /// # Errors
    /// As of [`Self::check`].
    pub(crate) fn check_and_count(&self, paced: Paced) -> Result<(), Rejection> {
        let pace = &mut lock(&self.paces)[paced as usize];
        check_pace(pace, paced)?;
        count_pace(pace, paced);
        Ok(())
    }

    /// Counts a refusal by rate that asks the caller to wait; returns for how long to hold it back,
    /// at most `most`.
    pub(crate) fn hold(&self, wait: Duration, most: Duration) -> Duration {
        let mut refusals = lock(&self.refusals);
        let at_once = REFUSAL_EVERY * REFUSALS_AT_ONCE;
        refusals.spend(REFUSAL_EVERY, at_once + most);
        wait.max(refusals.ahead(at_once)).min(most)
    }

    /// Takes a place for one more command, if the account may have one; `free` places are left for
    /// all accounts.
    pub(crate) fn admit(self: &Arc<Self>, free: usize) -> Result<CommandPermit, Problem> {
        self.admit_up_to(1, free)
    }

    /// Takes places for up to `wanted` more commands, at least one, as [`Self::admit`] does.
    pub(crate) fn admit_up_to(
        self: &Arc<Self>,
        wanted: usize,
        free: usize,
    ) -> Result<CommandPermit, Problem> {
        let most = (free / 2).clamp(1, COMMANDS_OF_ONE_MAX);
        let before = self.under_way.fetch_add(wanted, Ordering::Relaxed);
        let count = most.saturating_sub(before).min(wanted);
        self.under_way.fetch_sub(wanted - count, Ordering::Relaxed);
        match count {
            0 => Err(Problem::Busy),
            count => Ok(CommandPermit {
                of: self.clone(),
                count,
            }),
        }
    }
}

fn check_pace(pace: &RateLimiter, paced: Paced) -> Result<(), Rejection> {
    let (at_once, every) = paced.rate();
    let wait = pace.ahead(every * (at_once - 1));
    match wait.is_zero() {
        true => Ok(()),
        false => Err(limited(paced.words(), wait)),
    }
}

fn count_pace(pace: &mut RateLimiter, paced: Paced) {
    let (at_once, every) = paced.rate();
    pace.spend(every, every * (at_once + 1));
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
    use conclave_core::{
        AccountLimit, MessageOperation, MessageRef, Operation, Reaction, Spend, allowance::price,
    };

    use super::*;

    fn react() -> Price {
        price(&Operation::Message(MessageOperation::SetReaction {
            message: MessageRef {
                conversation: conclave_core::ConversationId(1),
                sequence: conclave_core::Sequence(1),
            },
            reaction: Reaction::new("x".to_owned()).unwrap(),
            present: true,
        }))
    }

    #[test]
    fn a_greedy_account_leaves_room_for_other_accounts() {
        let account_limiters = AccountLimiters::default();
        let (greedy, modest) = (
            account_limiters.of(AccountId(1)),
            account_limiters.of(AccountId(2)),
        );
        let (all, mut held) = (100, Vec::new());
        while let Ok(place) = greedy.admit(all - held.len()) {
            held.push(place);
        }
        assert!((30..=50).contains(&held.len()), "{}", held.len());
        assert!(modest.admit(all - held.len()).is_ok());
        // An account that has nothing under way gets the last place.
        assert!(account_limiters.of(AccountId(3)).admit(1).is_ok());
        held.pop();
        assert!(greedy.admit(all - held.len()).is_ok());
        held.clear();
        let many = greedy.admit_up_to(80, all).unwrap();
        assert_eq!(many.count(), 50, "half of what is free");
        assert!(greedy.admit_up_to(80, all - 50).is_err());
    }

    #[test]
    fn a_full_bucket_lets_through_more_than_it_holds() {
        let account_limiters = AccountLimiters::default();
        let mut limits = AccountLimits::default();
        let burst = AccountLimit::named("positions-burst").unwrap();
        limits.set(burst, 100).unwrap();
        account_limiters.set_limits(limits);
        let of = account_limiters.of(AccountId(1));
        let many = [Some((Spend::Positions, 256)), None];
        assert!(account_limiters.check_rate(&of, &many).is_ok());
        assert!(account_limiters.check_rate(&of, &many).is_err());
    }

    #[test]
    fn commands_over_their_rate_are_refused_before_proposal() {
        let account_limiters = AccountLimiters::default();
        let of = account_limiters.of(AccountId(1));
        let mut taken = 0;
        let refused = loop {
            match account_limiters.check_rate(&of, &react()) {
                Ok(()) => taken += 1,
                Err(refused) => break refused,
            }
        };
        let (_, burst) = AccountLimits::default().rate(Spend::Reactions);
        assert!(taken >= burst, "{taken}");
        assert!(matches!(refused, Problem::RateLimited { .. }));
        assert!(
            account_limiters
                .check_rate(&account_limiters.of(AccountId(2)), &react())
                .is_ok()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_refusal_of_the_log_is_repeated_locally_until_it_ends() {
        let account_limiters = AccountLimiters::default();
        let of = account_limiters.of(AccountId(1));
        let (what, wait_ms) = (Spend::Reactions.words().to_owned(), 300);
        of.note_refused(&react(), &Rejection::RateLimited { what, wait_ms });
        let refused = account_limiters.check_rate(&of, &react());
        assert!(matches!(
            refused,
            Err(Problem::RateLimited { wait_ms: 300, .. })
        ));
        let other = [None, None];
        assert!(account_limiters.check_rate(&of, &other).is_ok());
        tokio::time::advance(Duration::from_millis(300)).await;
        assert!(account_limiters.check_rate(&of, &react()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn only_successful_logins_count_towards_the_rate() {
        let account_limiters = AccountLimiters::default();
        let of = account_limiters.of(AccountId(1));
        let (at_once, every) = Paced::LogIn.rate();
        for _ in 0..at_once {
            // Checked twice as often as the password is right.
            assert!(of.check(Paced::LogIn).is_ok());
            assert!(of.check(Paced::LogIn).is_ok());
            of.count(Paced::LogIn);
        }
        assert!(of.check(Paced::LogIn).is_err());
        assert!(of.check(Paced::Stream).is_ok());
        assert!(
            account_limiters
                .of(AccountId(2))
                .check(Paced::LogIn)
                .is_ok()
        );
        tokio::time::advance(every).await;
        assert!(of.check(Paced::LogIn).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn stream_starts_of_an_account_are_paced() {
        let account_limiters = AccountLimiters::default();
        let of = account_limiters.of(AccountId(1));
        let (at_once, every) = Paced::Stream.rate();
        let begun = |tries: u32| {
            let begun = (0..tries).filter(|_| of.check_and_count(Paced::Stream).is_ok());
            begun.count()
        };
        assert_eq!(begun(10 * at_once), at_once as usize);
        assert!(
            account_limiters
                .of(AccountId(2))
                .check(Paced::Stream)
                .is_ok()
        );
        // What was refused was not counted.
        tokio::time::advance(every * 3).await;
        assert_eq!(begun(10 * at_once), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn repeated_refusals_lengthen_the_wait_of_their_account() {
        let account_limiters = AccountLimiters::default();
        let of = account_limiters.of(AccountId(1));
        let (wait, most) = (Duration::from_millis(60), Duration::from_secs(1));
        for _ in 0..REFUSALS_AT_ONCE {
            assert_eq!(of.hold(wait, most), wait);
        }
        (0..1000).for_each(|_| assert!(of.hold(wait, most) >= wait));
        assert_eq!(of.hold(wait, most), most);
        assert_eq!(account_limiters.of(AccountId(2)).hold(wait, most), wait);
        // However many there were, they are forgotten as soon as that.
        tokio::time::advance(REFUSAL_EVERY * REFUSALS_AT_ONCE + most).await;
        assert_eq!(of.hold(wait, most), wait);
    }
}
