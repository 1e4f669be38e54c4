//! Reads what accounts have used of what they may, and the limits of the cluster.

use std::collections::BTreeMap;

use conclave_core::{
    AccountId, AccountLimit, AccountLimits, Allowance,
    allowance::{limit_table::ACCOUNT_LIMITS, spend::SPENDS},
};
use rusqlite::{Connection, OptionalExtension as _, Result, Row};

use crate::state::{
    ReadError, Reader,
    column::{number, sought, stored},
};

/// Allowances that were changed and not yet written. Never more than the transaction has commands.
pub(crate) type Changed = BTreeMap<AccountId, Allowance>;

/// Returns the allowance in a row.
pub(crate) fn allowance(row: &Row<'_>) -> Result<Allowance> {
    let mut full_at = [0; SPENDS];
    for (place, value) in full_at.iter_mut().enumerate() {
        *value = number(row, place + 1)?;
    }
    Ok(Allowance {
        full_at,
        conversations: number(row, SPENDS + 1)?,
        stored_bytes: number(row, SPENDS + 2)?,
    })
}

/// Returns the limits of accounts: the defaults, except for those that were set.
pub(crate) fn load_limits(connection: &Connection) -> Result<AccountLimits> {
    let mut limits = AccountLimits::default();
    let sql = "SELECT number, value FROM account_limits ORDER BY number LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([stored(ACCOUNT_LIMITS as u64)])?;
    while let Some(row) = rows.next()? {
        let limit = AccountLimit::numbered(number(row, 0)?);
        let value = number(row, 1)?;
        // The rules have checked both before they were written.
        let set = limit.map(|limit| limits.set(limit, value));
        if !matches!(set, Some(Ok(()))) {
            return Err(rusqlite::Error::IntegralValueOutOfRange(1, row.get(1)?));
        }
    }
    Ok(limits)
}

impl Reader {
    /// Returns the limits of accounts.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn account_limits(&self) -> std::result::Result<AccountLimits, ReadError> {
        self.read(load_limits)
    }

    /// Returns what an account has used of its limits.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn allowance(&self, account: AccountId) -> std::result::Result<Allowance, ReadError> {
        self.read(|connection| {
            let sql = "SELECT * FROM allowances WHERE account = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let found = statement.query_row([sought(account.0)], allowance);
            Ok(found.optional()?.unwrap_or_default())
        })
    }
}
