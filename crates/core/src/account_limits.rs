//! How much one account may do and keep: the settings of a cluster, which are replicated.
//!
//! A limit is a number with a name, so that a new one needs no new field anywhere. Rates are
//! tokens per minute with a burst; quotas are totals.
//!
//! Always true: a value is in the range of its limit, so nothing that is computed from it
//! overflows, and every single request fits into a full bucket.

use crate::{
    Rejection,
    allowance::{SPENDS, Spend},
    limits::{DELETE_MESSAGES_MAX, TEXT_BYTES_MAX},
};

/// The greatest value of any limit: 2^40, a tebibyte, so that products fit 64 bits after a
/// division and nobody needs to tell it from "without a limit".
pub const ACCOUNT_LIMIT_MAX: u64 = 1 << 40;

/// How many limits there are: two for each kind of spending, and the quotas.
pub const ACCOUNT_LIMITS: usize = 2 * SPENDS + QUOTAS;

const QUOTAS: usize = 2;

/// The name, the default and the least value (other than 0) of each limit. A rate or quota of 0
/// means: without a limit.
///
/// The defaults are far above what people and most programs do, and far below what one account
/// needs to fill a disk or a log: see `docs/security.md`.
const TABLE: [(&str, u64, u64); ACCOUNT_LIMITS] = [
    // 200 a second; half a minute of it at once.
    ("messages-per-minute", 12_000, 1),
    ("messages-burst", 6_000, 1),
    // 256 KiB a second, sixteen of the longest texts; a quarter of a minute of it at once.
    ("bytes-per-minute", 15 * MIB, 1),
    ("bytes-burst", 4 * MIB, TEXT_BYTES_MAX as u64),
    ("edits-per-minute", 600, 1),
    ("edits-burst", 600, 1),
    ("reactions-per-minute", 1_200, 1),
    ("reactions-burst", 600, 1),
    // Messages named, not requests.
    ("deletions-per-minute", 6_000, 1),
    ("deletions-burst", 5_000, DELETE_MESSAGES_MAX as u64),
    // What was read or delivered: a device says it about once for each message that arrives.
    ("positions-per-minute", 12_000, 1),
    ("positions-burst", 6_000, 1),
    ("rooms-per-minute", 10, 1),
    ("rooms-burst", 300, 1),
    // Everything else: sessions, conversations, members, webhooks, names, blocks.
    ("changes-per-minute", 600, 1),
    ("changes-burst", 3_000, 1),
    // Texts and the rows around them.
    ("stored-bytes", 4 * 1024 * MIB, 1),
    // Opened by the account; others may open more with it.
    ("conversations", 10_000, 1),
];

const MIB: u64 = 1024 * 1024;

/// One of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountLimit(usize);

impl AccountLimit {
    /// How much an account may keep, in bytes.
    pub const STORED_BYTES: Self = Self(2 * SPENDS);
    /// How many conversations an account may open.
    pub const CONVERSATIONS: Self = Self(2 * SPENDS + 1);

    /// All of them, in the order in which they are shown and stored.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ACCOUNT_LIMITS).map(Self)
    }

    /// The limit with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|limit| limit.name() == name)
    }

    /// The limit with this number: its place in the order.
    #[must_use]
    pub fn numbered(number: u64) -> Option<Self> {
        let place = usize::try_from(number).ok()?;
        (place < ACCOUNT_LIMITS).then_some(Self(place))
    }

    /// Its place in the order, from 0.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0 as u64
    }

    /// Its name, as people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        TABLE[self.0].0
    }

    /// Checks a value.
    ///
    /// # Errors
    /// [`Rejection::AccountLimitInvalid`] if it is out of range.
    pub fn check(self, value: u64) -> Result<(), Rejection> {
        let (_, _, min) = TABLE[self.0];
        // A burst is a size, not a limit that could be absent.
        let absent = value == 0 && !self.is_burst();
        if absent || (min..=ACCOUNT_LIMIT_MAX).contains(&value) {
            return Ok(());
        }
        Err(Rejection::AccountLimitInvalid {
            number: self.number(),
        })
    }

    fn is_burst(self) -> bool {
        self.0 < 2 * SPENDS && self.0 % 2 == 1
    }
}

/// The value of every limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountLimits([u64; ACCOUNT_LIMITS]);

impl Default for AccountLimits {
    fn default() -> Self {
        Self(TABLE.map(|(_, value, _)| value))
    }
}

impl AccountLimits {
    /// The value of a limit.
    #[must_use]
    pub fn get(&self, limit: AccountLimit) -> u64 {
        self.0[limit.0]
    }

    /// Gives a limit another value.
    ///
    /// # Errors
    /// See [`AccountLimit::check`]; nothing was changed.
    pub fn set(&mut self, limit: AccountLimit, value: u64) -> Result<(), Rejection> {
        limit.check(value)?;
        self.0[limit.0] = value;
        Ok(())
    }

    /// Every limit with its value.
    pub fn iter(&self) -> impl Iterator<Item = (AccountLimit, u64)> + '_ {
        AccountLimit::all().map(|limit| (limit, self.get(limit)))
    }

    /// Tokens per minute and the size of the bucket.
    #[must_use]
    pub fn rate(&self, spend: Spend) -> (u64, u64) {
        let place = 2 * spend as usize;
        (self.0[place], self.0[place + 1])
    }

    /// Whether `used` has reached a quota.
    #[must_use]
    pub fn is_reached(&self, quota: AccountLimit, used: u64) -> bool {
        let most = self.get(quota);
        most != 0 && used >= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_in_the_range_of_its_limit() {
        for (limit, value) in AccountLimits::default().iter() {
            assert_eq!(limit.check(value), Ok(()), "{}", limit.name());
            assert_eq!(AccountLimit::named(limit.name()), Some(limit));
            assert_eq!(AccountLimit::numbered(limit.number()), Some(limit));
        }
        assert_eq!(AccountLimit::numbered(ACCOUNT_LIMITS as u64), None);
        assert_eq!(AccountLimit::numbered(u64::MAX), None);
        assert_eq!(AccountLimit::named(""), None);
    }

    #[test]
    fn a_value_out_of_range_is_refused() {
        let mut limits = AccountLimits::default();
        for limit in AccountLimit::all() {
            assert!(limits.set(limit, ACCOUNT_LIMIT_MAX).is_ok());
            for bad in [ACCOUNT_LIMIT_MAX + 1, 1 << 63, u64::MAX] {
                assert!(limits.set(limit, bad).is_err(), "{} {bad}", limit.name());
            }
            assert_eq!(limits.set(limit, 0).is_err(), limit.is_burst());
        }
    }

    #[test]
    fn every_kind_of_spending_has_its_two_limits() {
        let limits = AccountLimits::default();
        for (spend, word) in Spend::ALL
            .into_iter()
            .zip("messages bytes edits reactions deletions positions rooms changes".split(' '))
        {
            let of = |what: &str| AccountLimit::named(&format!("{word}-{what}")).unwrap();
            let pair = (limits.get(of("per-minute")), limits.get(of("burst")));
            assert_eq!(limits.rate(spend), pair);
        }
        assert_eq!(AccountLimit::STORED_BYTES.name(), "stored-bytes");
        assert_eq!(AccountLimit::CONVERSATIONS.name(), "conversations");
    }
}
