//! Writes the index; nothing else writes it.
//!
//! Always true: words, the list of messages and the position up to which both are complete change
//! in one transaction.

use std::{collections::BTreeMap, path::Path};

use conclave_core::Position;
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::{
    SearchError,
    column::{number, stored},
    database,
    docs::{self, Doc, doc},
    terms,
};
use crate::state::IndexRow;

/// Prepared statements that are kept: more than there are.
const STATEMENTS_MAX: usize = 32;

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

    /// Returns the position up to which everything is in the index.
    pub(super) fn indexed_to(&self) -> Position {
        self.indexed_to
    }

    /// Returns where the log was when the first row was read; rows that were read later are newer.
    pub(super) fn begun_at(&self) -> Option<Position> {
        self.begun_at
    }

    /// Puts rows in or takes them out; afterwards the index is complete up to `to`. `false`: there
    /// is no number for one of them, and nothing was changed.
    pub(super) fn write(
        &mut self,
        rows: &[IndexRow],
        begun_at: Position,
        to: Position,
    ) -> Result<bool> {
        let transaction = self.connection.transaction()?;
        for row in rows {
            if !write_row(&transaction, row)? {
                return Ok(false);
            }
        }
        let sql = "UPDATE meta SET indexed_to = ?1, begun_at = ?2 WHERE id = 1";
        let place = [stored(to.0), stored(begun_at.0)];
        transaction.prepare_cached(sql)?.execute(place)?;
        transaction.commit()?;
        (self.indexed_to, self.begun_at) = (to, Some(begun_at));
        Ok(true)
    }

    /// Returns up to `limit` messages of the index after `after` and up to `to`.
    pub(super) fn docs(
        &self,
        after: Position,
        to: Position,
        limit: usize,
    ) -> Result<BTreeMap<Position, Doc>> {
        let first = docs::first_from(&self.connection, Position(after.0.saturating_add(1)))?;
        let sql = "SELECT id, position, conversation, by_account, sent_at FROM docs
            WHERE id >= ?1 AND position <= ?2 ORDER BY id LIMIT ?3";
        let range = [stored(first), stored(to.0), stored(limit as u64)];
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_map(range, doc)?;
        found
            .map(|found| found.map(|(_, position, doc)| (position, doc)))
            .collect()
    }

    /// Returns the last message of the index before `before`.
    pub(super) fn doc_before(&self, before: Position) -> Result<Option<(Position, Doc)>> {
        let end = docs::first_from(&self.connection, before)?;
        let sql = "SELECT id, position, conversation, by_account, sent_at FROM docs
            WHERE id < ?1 ORDER BY id DESC LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row([stored(end)], doc).optional()?;
        Ok(found.map(|(_, position, doc)| (position, doc)))
    }
}

/// Writes a row. `false`: between its neighbours there is no number left, as if the list of
/// messages had lost one that was never there.
fn write_row(connection: &Connection, row: &IndexRow) -> Result<bool> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(sql)?.execute(values)
    };
    let free = docs::first_from(connection, row.position)?;
    let next = docs::next(connection, free)?;
    let own = next.filter(|(_, position)| *position == row.position);
    let Some(text) = &row.text else {
        if let Some((id, _)) = own {
            run("DELETE FROM docs WHERE id = ?1", params![stored(id)])?;
            run("DELETE FROM words WHERE rowid = ?1", params![stored(id)])?;
        }
        return Ok(true);
    };
    let id = match (own, next) {
        (Some((id, _)), _) => id,
        (None, Some((next, _))) if next == free => return Ok(false),
        (None, _) => free,
    };
    if own.is_none() {
        let sql = "INSERT INTO docs (id, position, conversation, by_account, sent_at)
            VALUES (?1, ?2, ?3, ?4, ?5)";
        let of = [row.position.0, row.conversation.0, row.by.0, row.sent_at.0].map(stored);
        run(sql, params![stored(id), of[0], of[1], of[2], of[3]])?;
    }
    if next.is_some() {
        run("DELETE FROM words WHERE rowid = ?1", params![stored(id)])?;
    }
    let terms = terms::of_message(text, row.conversation, row.by);
    let sql = "INSERT INTO words (rowid, terms) VALUES (?1, ?2)";
    run(sql, params![stored(id), terms])?;
    Ok(true)
}
