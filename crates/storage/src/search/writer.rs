//! Writes the index: the only one who does.
//!
//! Always true: words, the list of messages and the position up to which both are complete change
//! in one transaction.

use std::{collections::BTreeMap, path::Path};

use conclave_core::{AccountId, ConversationId, Position, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use super::{
    SearchError,
    database::{self, number, stored},
    expression::{account_tag, conversation_tag},
};
use crate::state::IndexRow;

/// Prepared statements that are kept: more than there are.
const STATEMENTS_MAX: usize = 32;

/// What the index knows of a message besides its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doc {
    pub(super) conversation: ConversationId,
    pub(super) by: AccountId,
    pub(super) sent_at: Timestamp,
}

impl From<&IndexRow> for Doc {
    fn from(row: &IndexRow) -> Self {
        Self {
            conversation: row.conversation,
            by: row.by,
            sent_at: row.sent_at,
        }
    }
}

/// The open index.
pub(super) struct Writer {
    connection: Connection,
    indexed_to: Position,
    begun_at: Option<Position>,
}

impl Writer {
    pub(super) fn open(path: &Path) -> std::result::Result<Self, SearchError> {
        let connection = database::open_writer(path)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        let sql = "SELECT begun_at FROM meta WHERE id = 1";
        let begun_at: Option<u64> = connection.query_row(sql, [], |row| match row.get(0)? {
            Some::<i64>(_) => number(row, 0).map(Some),
            None => Ok(None),
        })?;
        Ok(Self {
            indexed_to: database::indexed_to(&connection)?,
            begun_at: begun_at.map(Position),
            connection,
        })
    }

    /// Everything up to here is in the index.
    pub(super) fn indexed_to(&self) -> Position {
        self.indexed_to
    }

    /// Where the log was when the first row was read; rows that were read later are newer.
    pub(super) fn begun_at(&self) -> Option<Position> {
        self.begun_at
    }

    /// Puts rows in or takes them out; afterwards the index is complete up to `to`.
    pub(super) fn write(
        &mut self,
        rows: &[IndexRow],
        begun_at: Position,
        to: Position,
    ) -> Result<()> {
        let transaction = self.connection.transaction()?;
        for row in rows {
            write_row(&transaction, row)?;
        }
        let sql = "UPDATE meta SET indexed_to = ?1, begun_at = ?2 WHERE id = 1";
        let place = [stored(to.0), stored(begun_at.0)];
        transaction.prepare_cached(sql)?.execute(place)?;
        transaction.commit()?;
        (self.indexed_to, self.begun_at) = (to, Some(begun_at));
        Ok(())
    }

    /// Up to `limit` messages of the index after `after` and up to `to`.
    pub(super) fn docs(
        &self,
        after: Position,
        to: Position,
        limit: usize,
    ) -> Result<BTreeMap<Position, Doc>> {
        let sql = "SELECT position, conversation, by_account, sent_at FROM docs
            WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3";
        let range = [stored(after.0), stored(to.0), stored(limit as u64)];
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_map(range, doc)?.collect()
    }

    /// The last message of the index before `before`.
    pub(super) fn doc_before(&self, before: Position) -> Result<Option<(Position, Doc)>> {
        let sql = "SELECT position, conversation, by_account, sent_at FROM docs
            WHERE position < ?1 ORDER BY position DESC LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_row([stored(before.0)], doc).optional()
    }
}

fn doc(row: &Row<'_>) -> Result<(Position, Doc)> {
    let doc = Doc {
        conversation: ConversationId(number(row, 1)?),
        by: AccountId(number(row, 2)?),
        sent_at: Timestamp(number(row, 3)?),
    };
    Ok((Position(number(row, 0)?), doc))
}

fn write_row(connection: &Connection, row: &IndexRow) -> Result<()> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(sql)?.execute(values)
    };
    let position = stored(row.position.0);
    let Some(text) = &row.text else {
        let removed = run("DELETE FROM docs WHERE position = ?1", params![position])?;
        if removed > 0 {
            run("DELETE FROM words WHERE rowid = ?1", params![position])?;
        }
        return Ok(());
    };
    let sql = "INSERT INTO docs (position, conversation, by_account, sent_at)
        VALUES (?1, ?2, ?3, ?4) ON CONFLICT (position) DO NOTHING";
    let of = [row.conversation.0, row.by.0, row.sent_at.0].map(stored);
    let added = run(sql, params![position, of[0], of[1], of[2]])?;
    if added == 0 {
        run("DELETE FROM words WHERE rowid = ?1", params![position])?;
    }
    let tags = conversation_tag(row.conversation) + " " + &account_tag(row.by);
    let sql = "INSERT INTO words (rowid, text, tags) VALUES (?1, ?2, ?3)";
    run(sql, params![position, text, tags])?;
    Ok(())
}
