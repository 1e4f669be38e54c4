//! Answers questions beside the writer.
//!
//! Always true: one question is answered from one state, that of one moment between two
//! transactions of the writer; and every list has an end.

use std::sync::Arc;

use conclave_core::{AccountId, NamePattern, Position, Timestamp, limits::PAGE_MAX};
use rusqlite::{
    Connection, OptionalExtension as _, Result, Row, Transaction, TransactionBehavior, params,
};

use super::pool::{Pool, PooledConnection};
use crate::state::{
    AccountRow, AccountsPage, Applied, ReadError,
    column::{account_role, count, number, number_or_none, sought},
    meta,
};

/// Names that one page looks at for a pattern.
const ACCOUNTS_SCANNED_MAX: usize = 4 * PAGE_MAX;

/// What makes an [`AccountRow`], with the account as `a`.
macro_rules! select_accounts {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.name, a.password_hash, a.password_version, a.created_at, a.role,
                a.display_name, a.suspended ",
            $rest
        )
    };
}
pub(crate) use select_accounts;

/// Columns of `select_accounts!`: where those that a statement adds begin.
pub(crate) const ACCOUNT_COLUMNS: usize = 8;

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
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// Returns the lengths in bytes of the database file and of its write-ahead log.
    #[must_use]
    pub fn file_bytes(&self) -> (u64, u64) {
        self.pool.file_bytes()
    }

    pub(crate) fn acquire(&self) -> std::result::Result<PooledConnection, ReadError> {
        self.pool.acquire()
    }

    pub(crate) fn acquire_apart(&self) -> std::result::Result<PooledConnection, ReadError> {
        self.pool.acquire_apart()
    }

    /// Runs `ask` in one read transaction.
    pub(crate) fn read<T>(
        &self,
        ask: impl FnOnce(&Connection) -> Result<T>,
    ) -> std::result::Result<T, ReadError> {
        self.read_on(self.acquire()?, ask)
    }

    /// Does the same on the connection of tasks that read slowly: no other read waits for it.
    pub(crate) fn read_apart<T>(
        &self,
        ask: impl FnOnce(&Connection) -> Result<T>,
    ) -> std::result::Result<T, ReadError> {
        self.read_on(self.acquire_apart()?, ask)
    }

    fn read_on<T>(
        &self,
        lent: PooledConnection,
        ask: impl FnOnce(&Connection) -> Result<T>,
    ) -> std::result::Result<T, ReadError> {
        let begin = || Transaction::new_unchecked(&lent, TransactionBehavior::Deferred);
        let answered = begin().and_then(|transaction| {
            let answer = ask(&transaction)?;
            transaction.finish()?;
            Ok(answer)
        });
        Ok(answered.inspect_err(|error| self.pool.note(error))?)
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Returns how far the state has come.
    ///
    /// # Errors
    /// See [`ReadError`], here and below.
    pub fn applied(&self) -> std::result::Result<Applied, ReadError> {
        self.read(meta::load_applied)
    }

    /// Returns where in the log the state stands: everything up to there is applied.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn applied_position(&self) -> std::result::Result<Position, ReadError> {
        self.read(|c| Ok(mark(c)?.applied))
    }

    /// Returns the account whose name has this key.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn account_by_key(&self, key: &str) -> std::result::Result<Option<AccountRow>, ReadError> {
        let sql = select_accounts!("FROM accounts a WHERE a.key = ?1");
        self.read(|c| c.prepare_cached(sql)?.query_row([key], account).optional())
    }

    /// Returns the first account whose name looks like this (see
    /// [`conclave_core::AccountName::skeleton`]).
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn account_by_skeleton(
        &self,
        skeleton: &str,
    ) -> std::result::Result<Option<AccountRow>, ReadError> {
        let sql = select_accounts!("FROM accounts a WHERE a.skeleton = ?1 ORDER BY a.id LIMIT 1");
        self.read(|c| {
            c.prepare_cached(sql)?
                .query_row([skeleton], account)
                .optional()
        })
    }

    /// Returns the account with this number.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn account(&self, id: AccountId) -> std::result::Result<Option<AccountRow>, ReadError> {
        self.read(|c| account_now(c, id))
    }

    /// Returns up to `limit` accounts whose names match, in order of their keys, after `after_key`.
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
}

/// Returns a page's length: at least 1, at most [`PAGE_MAX`].
pub(crate) fn page(limit: usize) -> usize {
    limit.clamp(1, PAGE_MAX)
}

/// Where the state stands, for the tasks that follow it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// Everything up to here is applied.
    pub(crate) applied: Position,
    /// Changes up to here are forgotten.
    pub(crate) changes_after: Position,
    /// How many messages there are.
    pub(crate) messages: u64,
}

pub(crate) fn mark(connection: &Connection) -> Result<Mark> {
    let sql = "SELECT applied_index, changes_after, messages FROM meta WHERE id = 1";
    connection.prepare_cached(sql)?.query_row([], |row| {
        Ok(Mark {
            applied: number_or_none(row, 0)?.map_or(Position(0), Position::end_of),
            changes_after: Position(number(row, 1)?),
            messages: number(row, 2)?,
        })
    })
}

pub(crate) fn account_now(connection: &Connection, id: AccountId) -> Result<Option<AccountRow>> {
    let sql = select_accounts!("FROM accounts a WHERE a.id = ?1");
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row([sought(id.0)], account).optional()
}

/// Reads the row of a statement that `select_accounts!` has made.
pub(crate) fn account(row: &Row<'_>) -> Result<AccountRow> {
    Ok(AccountRow {
        id: AccountId(number(row, 0)?),
        name: row.get(1)?,
        password_hash: row.get(2)?,
        password_version: number(row, 3)?,
        created_at: Timestamp(number(row, 4)?),
        role: account_role(row, 5)?,
        display_name: row.get(6)?,
        suspended: row.get(7)?,
    })
}

fn accounts(
    connection: &Connection,
    pattern: &NamePattern,
    after_key: Option<&str>,
    limit: usize,
) -> Result<AccountsPage> {
    let sql = select_accounts!(
        ", a.key FROM accounts a WHERE a.key >= ?1 AND a.key > ?2 ORDER BY a.key LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(sql)?;
    // One row more than is looked at shows whether there is more.
    let scan = count(ACCOUNTS_SCANNED_MAX + 1);
    let from = params![pattern.prefix(), after_key.unwrap_or_default(), scan];
    let mut rows = statement.query(from)?;
    let mut page_so_far = AccountsPage::default();
    let (mut seen, mut last_key) = (0, None);
    while let Some(row) = rows.next()? {
        let key: String = row.get(ACCOUNT_COLUMNS)?;
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
