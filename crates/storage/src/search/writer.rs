//! Writes the index; nothing else writes it.
//!
//! Always true: words, the list of messages and the position up to which both are complete change
//! in one transaction.

use std::{collections::BTreeMap, path::Path};

use conclave_core::Position;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Result, params};

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
        let mut batch = Batch::new(&transaction)?;
        for row in rows {
            if !batch.write(row)? {
                return Ok(false);
            }
        }
        drop(batch);
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

/// One transaction's statements, and the end of the list of messages.
struct Batch<'c> {
    connection: &'c Connection,
    insert_doc: CachedStatement<'c>,
    insert_words: CachedStatement<'c>,
    /// The last message of the index. New messages come behind it and need no look into the index.
    last: Option<(u64, Position)>,
}

impl<'c> Batch<'c> {
    fn new(connection: &'c Connection) -> Result<Self> {
        let insert_doc = "INSERT INTO docs (id, position, conversation, by_account, sent_at)
            VALUES (?1, ?2, ?3, ?4, ?5)";
        let insert_words = "INSERT INTO words (rowid, terms) VALUES (?1, ?2)";
        Ok(Self {
            connection,
            insert_doc: connection.prepare_cached(insert_doc)?,
            insert_words: connection.prepare_cached(insert_words)?,
            last: docs::last(connection)?,
        })
    }

    /// Writes a row. `false`: between its neighbours there is no number left, as if the list of
    /// messages had lost one that was never there.
    fn write(&mut self, row: &IndexRow) -> Result<bool> {
        let is_new = self.last.is_none_or(|(_, last)| last < row.position);
        if is_new {
            // A message that was deleted before the index saw it is not missed there.
            if row.text.is_some() {
                let id = self.last.map_or(1, |(id, _)| id + 1);
                self.insert_doc(id, row)?;
                self.insert_words(id, row)?;
                self.last = Some((id, row.position));
            }
            return Ok(true);
        }
        let is_written = self.write_among(row)?;
        self.last = docs::last(self.connection)?;
        Ok(is_written)
    }

    /// Writes a row that is not behind all others.
    fn write_among(&mut self, row: &IndexRow) -> Result<bool> {
        let free = docs::first_from(self.connection, row.position)?;
        let next = docs::next(self.connection, free)?;
        let own = next.filter(|(_, position)| *position == row.position);
        let id = match (own, next) {
            (Some((id, _)), _) => id,
            (None, _) if row.text.is_none() => return Ok(true),
            (None, Some((next, _))) if next == free => return Ok(false),
            (None, _) => free,
        };
        let delete = |sql| self.connection.prepare_cached(sql)?.execute([stored(id)]);
        delete("DELETE FROM words WHERE rowid = ?1")?;
        if row.text.is_none() {
            delete("DELETE FROM docs WHERE id = ?1")?;
            return Ok(true);
        }
        if own.is_none() {
            self.insert_doc(id, row)?;
        }
        self.insert_words(id, row)?;
        Ok(true)
    }

    fn insert_doc(&mut self, id: u64, row: &IndexRow) -> Result<usize> {
        let of = [row.position.0, row.conversation.0, row.by.0, row.sent_at.0].map(stored);
        let values = params![stored(id), of[0], of[1], of[2], of[3]];
        self.insert_doc.execute(values)
    }

    fn insert_words(&mut self, id: u64, row: &IndexRow) -> Result<usize> {
        let text = row.text.as_deref().unwrap_or_default();
        let terms = terms::of_message(text, row.conversation, row.by);
        self.insert_words.execute(params![stored(id), terms])
    }
}
