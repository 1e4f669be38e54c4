//! Writes facts: each event becomes rows. Nothing is decided here.
//!
//! Always true: a cache changes with its row, in the same function.

mod accounts;
mod allowances;
mod answers;
mod audit;
mod cache;
mod changes;
mod checkpointer;
mod conversations;
mod forget;
mod messages;
mod nodes;
mod sessions;
mod sweep;
pub(crate) mod vacuum;
mod view;
mod witness;
pub(crate) mod writer;

use std::collections::BTreeMap;

use conclave_core::{AccountId, Event, Position};
use rusqlite::{OptionalExtension as _, Params, ToSql};

use super::{ApplyError, ReadError, column::number};
use crate::state::{
    integrity::ranges::{RangeDigests, RowRange, digest_ranges},
    write::writer::{State, Writer},
};

impl State {
    /// Returns the digests of ranges of rows after the last applied entry.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn digest_ranges(&self, ranges: &[RowRange]) -> Result<RangeDigests, ReadError> {
        let writer = self.writer.as_ref().ok_or(ReadError::Closed)?;
        let found = digest_ranges(&writer.connection, ranges);
        Ok(found.inspect_err(|error| self.pool.note(error))?)
    }
}

impl Writer {
    /// Runs a statement that must change exactly one row.
    pub(super) fn change_one(&self, sql: &str, params: impl Params) -> Result<(), ApplyError> {
        match self.connection.prepare_cached(sql)?.execute(params)? {
            1 => Ok(()),
            _ => Err(ApplyError::Contradiction(
                "an event is about a row that is not there",
            )),
        }
    }

    pub(super) fn run(&self, sql: &str, params: impl Params) -> Result<usize, ApplyError> {
        Ok(self.connection.prepare_cached(sql)?.execute(params)?)
    }

    /// Runs a statement that removes rows and returns of each its account and how many bytes its
    /// text had; the accounts keep so much less, and `each` bytes for each row. Returns the number
    /// of rows.
    pub(super) fn run_and_free(
        &mut self,
        sql: &str,
        params: impl Params,
        each: u64,
    ) -> Result<usize, ApplyError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let freed = statement.query_map(params, |row| {
            Ok((AccountId(number(row, 0)?), number(row, 1)?))
        })?;
        let freed = freed.collect::<rusqlite::Result<Vec<_>>>()?;
        drop(statement);
        let mut by_account: BTreeMap<AccountId, u64> = BTreeMap::new();
        for (account, bytes) in &freed {
            *by_account.entry(*account).or_default() += bytes + each;
        }
        for (account, bytes) in by_account {
            self.count_stored(account, 0, bytes)?;
        }
        Ok(freed.len())
    }

    fn exists(&self, sql: &str, key: impl ToSql) -> Result<bool, ApplyError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row([key], |_| Ok(())).optional()?.is_some())
    }

    /// Writes one event.
    pub(super) fn write(&mut self, position: Position, event: &Event) -> Result<(), ApplyError> {
        match event {
            Event::Account(event) => self.write_account(event)?,
            Event::Access(event) => self.write_access(event)?,
            Event::Session(event) => self.write_session(event)?,
            Event::Conversation(event) => self.write_conversation(position, event)?,
            Event::Message(event) => self.write_message(position, event)?,
            Event::Room(event) => self.write_room(position, event)?,
            Event::Cluster(event) => self.write_cluster(event)?,
        }
        self.write_change(position, event)
    }
}
