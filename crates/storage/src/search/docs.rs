//! The list of the messages that are in the index, by number and by position.
//!
//! Always true: numbers grow with positions, so a position or a date is found by halving and
//! needs no index of its own.

use conclave_core::{AccountId, ConversationId, Position, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Result, Row};

use super::column::{number, stored};
use crate::state::IndexRow;

/// What the index knows of a message besides its terms.
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

/// Returns the number and the position of the last message of the index.
pub(super) fn last(connection: &Connection) -> Result<Option<(u64, Position)>> {
    let sql = "SELECT id, position FROM docs ORDER BY id DESC LIMIT 1";
    let read = |row: &Row<'_>| Ok((number(row, 0)?, Position(number(row, 1)?)));
    connection
        .prepare_cached(sql)?
        .query_row([], read)
        .optional()
}

/// Returns the number after the last one.
pub(super) fn end(connection: &Connection) -> Result<u64> {
    Ok(last(connection)?.map_or(1, |(id, _)| id + 1))
}

/// Returns the number and the position of the first message with this number or a greater one.
pub(super) fn next(connection: &Connection, id: u64) -> Result<Option<(u64, Position)>> {
    let sql = "SELECT id, position FROM docs WHERE id >= ?1 ORDER BY id LIMIT 1";
    let read = |row: &Row<'_>| Ok((number(row, 0)?, Position(number(row, 1)?)));
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row([stored(id)], read).optional()
}

/// Returns a number from `low` to `high` behind all messages there that are `is_before` and not
/// behind any other; there need be no message with it. Messages that are `is_before` come first.
pub(super) fn first_not(
    connection: &Connection,
    low: u64,
    high: u64,
    is_before: impl Fn(Position, Timestamp) -> bool,
) -> Result<u64> {
    let sql = "SELECT id, position, sent_at FROM docs
        WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let (mut low, mut high) = (low, high);
    while low < high {
        let middle = low + (high - low) / 2;
        let read = |row: &Row<'_>| Ok((number(row, 0)?, number(row, 1)?, number(row, 2)?));
        let next = statement.query_row([stored(middle), stored(high)], read);
        match next.optional()? {
            Some((id, position, at)) if is_before(Position(position), Timestamp(at)) => {
                low = id + 1;
            }
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Returns a number behind all messages before `position` and not behind any other.
pub(super) fn first_from(connection: &Connection, position: Position) -> Result<u64> {
    let Some((id, last)) = last(connection)? else {
        return Ok(1);
    };
    if last < position {
        return Ok(id + 1);
    }
    first_not(connection, 1, id + 1, |at, _| at < position)
}

/// Returns a message of the index: number, position and the rest. `?1` … are those of the columns.
pub(super) fn doc(row: &Row<'_>) -> Result<(u64, Position, Doc)> {
    let doc = Doc {
        conversation: ConversationId(number(row, 2)?),
        by: AccountId(number(row, 3)?),
        sent_at: Timestamp(number(row, 4)?),
    };
    Ok((number(row, 0)?, Position(number(row, 1)?), doc))
}
