//! How much one account may do and keep: the settings of a cluster, which are replicated.
//!
//! Always true: a value is in the range of its limit, so nothing that is computed from it
//! overflows, and every single request fits into a full bucket.

use crate::{
    AccountLimit, Rejection, Spend,
    allowance::limit_table::{ACCOUNT_LIMIT_MAX, ACCOUNT_LIMITS, TABLE},
};

impl AccountLimit {
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
    /// Returns the value of a limit.
    #[must_use]
    pub fn get(&self, limit: AccountLimit) -> u64 {
        self.0[limit.0]
    }

    /// Sets a limit.
    ///
    /// # Errors
    /// See [`AccountLimit::check`]; nothing was changed.
    pub fn set(&mut self, limit: AccountLimit, value: u64) -> Result<(), Rejection> {
        limit.check(value)?;
        self.0[limit.0] = value;
        Ok(())
    }

    /// Returns every limit with its value.
    pub fn iter(&self) -> impl Iterator<Item = (AccountLimit, u64)> + '_ {
        AccountLimit::all().map(|limit| (limit, self.get(limit)))
    }

    /// Tokens per minute and the size of the bucket.
    #[must_use]
    pub fn rate(&self, spend: Spend) -> (u64, u64) {
        let place = 2 * spend as usize;
        (self.0[place], self.0[place + 1])
    }

    /// Returns whether `used` has reached a quota.
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
