//! Finds messages: the index proposes positions, the state gives the rows.
//!
//! Always true: one page looks at a bounded number of candidates, and all of them were in the
//! index at one moment.

use std::sync::Arc;

use conclave_core::{AccountId, Position, SearchQuery, Timestamp, limits::PAGE_MAX};
use rusqlite::{Connection, OptionalExtension as _, Result, Rows, params};

use super::{
    Found, SearchError,
    database::{self, number, stored},
    expression,
    pool::{Pool, Tools},
    probe::Probe,
    scope::Scope,
};
use crate::state::{MessageRow, Reader};

/// Candidates that one page looks at. Then it ends, perhaps short, and says where to go on.
const CANDIDATES_MAX: usize = 4096;

/// Candidates that are asked for at once.
const BATCH_MAX: usize = 256;

/// `?1` expression, `?2` first position, `?3` the one after the last.
const CANDIDATES: &str = "
SELECT rowid FROM words WHERE words MATCH ?1 AND rowid >= ?2 AND rowid < ?3 ORDER BY rowid DESC";

/// See [`super::Search::find`].
pub(super) fn find(
    pool: &Arc<Pool>,
    reader: &Reader,
    account: AccountId,
    query: &SearchQuery,
    before: Option<Position>,
    limit: usize,
) -> std::result::Result<Found, SearchError> {
    let scope = Scope::of(reader, account, query)?;
    let mut lent = pool.lend()?;
    let Tools { index, probe } = lent.tools();
    let moment = index.unchecked_transaction()?;
    let mut found = Found {
        rows: Vec::new(),
        next_before: None,
        complete_to: database::indexed_to(&moment)?,
        applied: Position(0),
    };
    if let Some(scope) = scope {
        let (first, end) = range(&moment, query, found.complete_to)?;
        let end = before.map_or(end, |before| before.min(end));
        let whole = expression::within(query, &scope);
        let mut statement = moment.prepare_cached(CANDIDATES)?;
        let candidates = statement.query(params![whole, stored(first.0), stored(end.0)])?;
        let mut hunt = Hunt {
            reader,
            account,
            candidates,
            probe,
            text: expression::of_text(query),
        };
        let limit = limit.clamp(1, PAGE_MAX);
        (found.rows, found.next_before) = hunt.page(limit)?;
    }
    moment.finish()?;
    // Asked for last, so that it is not behind what was found.
    let applied = reader.applied()?.last;
    found.applied = applied.map_or(Position(0), |last| Position::end_of(last.index));
    found.complete_to = found.complete_to.min(found.applied);
    Ok(found)
}

/// The first position that a query's dates allow, and the one after the last.
fn range(
    index: &Connection,
    query: &SearchQuery,
    indexed_to: Position,
) -> Result<(Position, Position)> {
    let end = Position(indexed_to.0.saturating_add(1));
    let first_at = |time: Option<Timestamp>, else_at| match time {
        Some(time) => first_at(index, time, end),
        None => Ok(else_at),
    };
    let first = first_at(query.sent_from(), Position(0))?;
    Ok((first, first_at(query.sent_before(), end)?))
}

/// The first position before `end` at which a message was sent at `time` or later; else `end`.
/// Times grow with positions, so the place is found by halving.
fn first_at(index: &Connection, time: Timestamp, end: Position) -> Result<Position> {
    let sql = "SELECT position, sent_at FROM docs
        WHERE position >= ?1 AND position < ?2 ORDER BY position LIMIT 1";
    let mut statement = index.prepare_cached(sql)?;
    // Messages before `low` are earlier; those from `high` on are not.
    let (mut low, mut high) = (0, end.0);
    while low < high {
        let middle = low + (high - low) / 2;
        let read = |row: &rusqlite::Row<'_>| Ok((number(row, 0)?, number(row, 1)?));
        let next = statement.query_row([stored(middle), stored(high)], read);
        match next.optional()? {
            Some((position, sent_at)) if sent_at < time.0 => low = position + 1,
            _ => high = middle,
        }
    }
    Ok(Position(low))
}

/// A search under way.
struct Hunt<'a> {
    reader: &'a Reader,
    account: AccountId,
    candidates: Rows<'a>,
    probe: &'a mut Probe,
    /// What the text must say.
    text: String,
}

impl Hunt<'_> {
    /// Up to `limit` rows, and where to go on.
    fn page(
        &mut self,
        limit: usize,
    ) -> std::result::Result<(Vec<MessageRow>, Option<Position>), SearchError> {
        let mut rows = Vec::new();
        let (mut looked_at, mut wanted) = (0, limit);
        loop {
            let batch = self.candidates(wanted.min(BATCH_MAX))?;
            let Some(last) = batch.last().copied() else {
                return Ok((rows, None));
            };
            for row in self.reader.messages_at(self.account, &batch)? {
                if self.is_current(&row)? {
                    let position = row.position;
                    rows.push(row);
                    if rows.len() == limit {
                        return Ok((rows, Some(position)));
                    }
                }
            }
            looked_at += batch.len();
            if looked_at >= CANDIDATES_MAX {
                return Ok((rows, Some(last)));
            }
            // Where little may be seen, more is asked for at once.
            wanted = (2 * batch.len()).max(limit - rows.len());
        }
    }

    fn candidates(&mut self, limit: usize) -> Result<Vec<Position>> {
        let mut batch = Vec::with_capacity(limit);
        while batch.len() < limit {
            let Some(row) = self.candidates.next()? else {
                break;
            };
            batch.push(Position(number(row, 0)?));
        }
        Ok(batch)
    }

    /// Whether the text still says what is looked for: it may have been edited since.
    fn is_current(&mut self, row: &MessageRow) -> Result<bool> {
        match (&row.text, row.edited_at) {
            (Some(text), Some(_)) => self.probe.matches(text, &self.text),
            (Some(_), None) => Ok(true),
            (None, _) => Ok(false),
        }
    }
}
