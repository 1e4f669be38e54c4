//! Answers questions beside the writer.
//!
//! Always true: one question is answered from one state, that of one moment between two
//! transactions of the writer; and every list has an end.

use std::sync::Arc;

use conclave_core::{AccountId, NamePattern, SessionId, Timestamp, TokenHash, limits::PAGE_MAX};
use rusqlite::{Connection, OptionalExtension as _, Result, Row, Transaction, params};

use super::{
    AccountRow, AccountsPage, Applied, ReadError, SessionRow,
    column::{count, number, sought},
    meta,
    pool::{Lent, Pool},
};

/// Names that one page looks at for a pattern.
const ACCOUNTS_SCANNED_MAX: usize = 4 * PAGE_MAX;

/// Answers questions; a cheap clone.
#[derive(Clone)]
pub struct Reader {
    pool: Arc<Pool>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    pub(super) fn lend(&self) -> std::result::Result<Lent, ReadError> {
        self.pool.lend()
    }

    /// Runs `ask` in one read transaction.
    pub(super) fn read<T>(
        &self,
        ask: impl FnOnce(&Connection) -> Result<T>,
    ) -> std::result::Result<T, ReadError> {
        let lent = self.lend()?;
        let transaction =
            Transaction::new_unchecked(&lent, rusqlite::TransactionBehavior::Deferred)?;
        let answer = ask(&transaction)?;
        transaction.finish()?;
        Ok(answer)
    }

    /// How far the state has come.
    ///
    /// # Errors
    /// See [`ReadError`], here and below.
    pub fn applied(&self) -> std::result::Result<Applied, ReadError> {
        self.read(meta::load_applied)
    }

    /// The account whose name has this key.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn account_by_key(&self, key: &str) -> std::result::Result<Option<AccountRow>, ReadError> {
        let sql = "SELECT id, name, password_hash, password_version, created_at
            FROM accounts WHERE key = ?1";
        self.read(|c| c.prepare_cached(sql)?.query_row([key], account).optional())
    }

    /// The account with this number.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn account(&self, id: AccountId) -> std::result::Result<Option<AccountRow>, ReadError> {
        let sql = "SELECT id, name, password_hash, password_version, created_at
            FROM accounts WHERE id = ?1";
        self.read(|c| {
            c.prepare_cached(sql)?
                .query_row([sought(id.0)], account)
                .optional()
        })
    }

    /// Up to `limit` accounts whose names match, in order of their keys, after `after_key`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn accounts(
        &self,
        pattern: &NamePattern,
        after_key: Option<&str>,
        limit: usize,
    ) -> std::result::Result<AccountsPage, ReadError> {
        self.read(|connection| accounts(connection, pattern, after_key, limit))
    }

    /// The session with this token.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn session_by_token(
        &self,
        token: &TokenHash,
    ) -> std::result::Result<Option<SessionRow>, ReadError> {
        let sql = "SELECT s.id, s.account, a.name, s.closed, s.opened_at, s.expires_at,
                coalesce((SELECT max(number) FROM answers WHERE session = s.id), 0)
            FROM sessions s LEFT JOIN accounts a ON a.id = s.account WHERE s.token = ?1";
        self.read(|c| {
            c.prepare_cached(sql)?
                .query_row([token.0], session)
                .optional()
        })
    }
}

/// A page's length: at least 1, at most [`PAGE_MAX`].
pub(super) fn page(limit: usize) -> usize {
    limit.clamp(1, PAGE_MAX)
}

fn account(row: &Row<'_>) -> Result<AccountRow> {
    Ok(AccountRow {
        id: AccountId(number(row, 0)?),
        name: row.get(1)?,
        password_hash: row.get(2)?,
        password_version: number(row, 3)?,
        created_at: Timestamp(number(row, 4)?),
    })
}

fn session(row: &Row<'_>) -> Result<SessionRow> {
    Ok(SessionRow {
        id: SessionId(number(row, 0)?),
        account: AccountId(number(row, 1)?),
        account_name: row.get(2)?,
        closed: row.get(3)?,
        opened_at: Timestamp(number(row, 4)?),
        expires_at: Timestamp(number(row, 5)?),
        request_last: number(row, 6)?,
    })
}

fn accounts(
    connection: &Connection,
    pattern: &NamePattern,
    after_key: Option<&str>,
    limit: usize,
) -> Result<AccountsPage> {
    let sql = "SELECT id, name, password_hash, password_version, created_at, key
        FROM accounts WHERE key >= ?1 AND key > ?2 ORDER BY key LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    // One row more than is looked at tells whether there is more.
    let scan = count(ACCOUNTS_SCANNED_MAX + 1);
    let from = params![pattern.prefix(), after_key.unwrap_or_default(), scan];
    let mut rows = statement.query(from)?;
    let mut page_so_far = AccountsPage::default();
    let (mut seen, mut last_key) = (0, None);
    while let Some(row) = rows.next()? {
        let key: String = row.get(5)?;
        if !key.starts_with(pattern.prefix()) {
            return Ok(page_so_far);
        }
        if page_so_far.rows.len() == page(limit) || seen == ACCOUNTS_SCANNED_MAX {
            page_so_far.next_after_key = last_key;
            return Ok(page_so_far);
        }
        seen += 1;
        if pattern.matches(&key) {
            page_so_far.rows.push(account(row)?);
        }
        last_key = Some(key);
    }
    Ok(page_so_far)
}
