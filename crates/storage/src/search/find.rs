//! Finds messages: the index proposes positions, the state gives the rows.
//!
//! Always true: one page looks at a bounded number of candidates, and all of them were in the
//! index at one moment.

use std::sync::Arc;

use conclave_core::{
    AccountId, Position, SearchQuery, Timestamp,
    limits::{PAGE_BYTES_MAX, PAGE_MAX},
};
use rusqlite::{Connection, OptionalExtension as _, Result, Rows, params};

use super::{
    Found, SearchError, Stop,
    database::{self, number, stored},
    expression,
    pool::{Pool, Tools},
    probe::Probe,
    scope::Scope,
};
use crate::state::{MessageRow, Reader};

/// Candidates that one page looks at. Then it ends, perhaps short, and says where to go on.
const CANDIDATES_MAX: usize = 4096;

/// Candidates that it looks at before it names many conversations.
const CANDIDATES_WIDE_MAX: usize = 512;

/// Steps of the index's machine between two looks whether to stop: a fraction of a millisecond.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

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
    stop: &Stop,
) -> std::result::Result<Found, SearchError> {
    let scope = Scope::of(reader, account, query)?;
    let mut lent = pool.lend()?;
    let Tools { index, probe } = lent.tools();
    let asked = stop.clone();
    index.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || asked.is_set()))?;
    let moment = index.unchecked_transaction()?;
    let mut found = Found {
        rows: Vec::new(),
        next_before: None,
        complete_to: database::indexed_to(&moment)?,
        applied: Position(0),
    };
    if let Some(scope) = scope {
        let dated = query.sent_from().is_some() || query.sent_before().is_some();
        let steps = if dated {
            reader.date_steps()?
        } else {
            Vec::new()
        };
        let (first, end) = range(&moment, query, &steps, found.complete_to)?;
        let mut hunt = Hunt {
            index: &moment,
            reader,
            account,
            probe,
            query,
            first,
            end: before.map_or(end, |before| before.min(end)),
            limit: limit.clamp(1, PAGE_MAX),
            rows: Vec::new(),
            bytes: 0,
            stop,
        };
        let wide = scope.wider();
        let is_over = match &wide {
            Some(wide) => hunt.within(wide, CANDIDATES_WIDE_MAX)?,
            None => false,
        };
        let is_over = is_over || hunt.within(&scope, CANDIDATES_MAX)?;
        let may_go_on = !is_over || hunt.rows.len() == hunt.limit;
        found.next_before = may_go_on.then_some(hunt.end);
        found.rows = hunt.rows;
    }
    moment.finish()?;
    index.progress_handler(0, None::<fn() -> bool>)?;
    // Asked for last, so that it is not behind what was found.
    let applied = reader.applied()?.last;
    found.applied = applied.map_or(Position(0), |last| Position::end_of(last.index));
    found.complete_to = found.complete_to.min(found.applied);
    Ok(found)
}

/// The first position that a query's dates allow, and the one after the last. Dates went back at
/// the entries in `steps`, so that in between there may be messages with other dates.
fn range(
    index: &Connection,
    query: &SearchQuery,
    steps: &[u64],
    indexed_to: Position,
) -> Result<(Position, Position)> {
    let end = Position(indexed_to.0.saturating_add(1));
    let mut whole = (end, Position(0));
    let step_at = |index: &u64| Position::new(*index, 0).min(end);
    let ends = steps.iter().map(step_at).chain([end]);
    let mut begin = Position(0);
    for end in ends {
        let first_at = |time: Option<Timestamp>, else_at| match time {
            Some(time) => first_at(index, time, begin, end),
            None => Ok(else_at),
        };
        let first = first_at(query.sent_from(), begin)?;
        let after = first_at(query.sent_before(), end)?;
        if first < after {
            whole = (whole.0.min(first), whole.1.max(after));
        }
        begin = end;
    }
    Ok(whole)
}

/// The first position from `begin` on and before `end` at which a message was sent at `time` or
/// later; else `end`. Dates grow with positions there, so the place is found by halving.
fn first_at(
    index: &Connection,
    time: Timestamp,
    begin: Position,
    end: Position,
) -> Result<Position> {
    let sql = "SELECT position, sent_at FROM docs
        WHERE position >= ?1 AND position < ?2 ORDER BY position LIMIT 1";
    let mut statement = index.prepare_cached(sql)?;
    // Messages before `low` are earlier; those from `high` on are not.
    let (mut low, mut high) = (begin.0, end.0);
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
    index: &'a Connection,
    reader: &'a Reader,
    account: AccountId,
    probe: &'a mut Probe,
    query: &'a SearchQuery,
    first: Position,
    /// What is before this was not looked at yet.
    end: Position,
    limit: usize,
    rows: Vec<MessageRow>,
    bytes: usize,
    stop: &'a Stop,
}

impl Hunt<'_> {
    /// Goes on within a scope. Whether it is over: the page is full, or nothing is left.
    fn within(
        &mut self,
        scope: &Scope,
        candidates_max: usize,
    ) -> std::result::Result<bool, SearchError> {
        let whole = expression::within(self.query, scope);
        let mut statement = self.index.prepare_cached(CANDIDATES)?;
        let range = params![whole, stored(self.first.0), stored(self.end.0)];
        let mut candidates = statement.query(range)?;
        let (mut looked_at, mut wanted) = (0, self.limit);
        while looked_at < candidates_max {
            if self.stop.is_set() {
                return Err(SearchError::Stopped);
            }
            let batch = next_of(&mut candidates, wanted.min(BATCH_MAX))?;
            let Some(last) = batch.last().copied() else {
                return Ok(true);
            };
            for row in self.reader.messages_at(self.account, &batch)? {
                if self.is_current(&row)? {
                    self.end = row.position;
                    self.bytes += row.bytes();
                    self.rows.push(row);
                    if self.bytes >= PAGE_BYTES_MAX {
                        // Full before its time.
                        self.limit = self.rows.len();
                    }
                    if self.rows.len() == self.limit {
                        return Ok(true);
                    }
                }
            }
            self.end = last;
            looked_at += batch.len();
            // Where little may be seen, more is asked for at once.
            wanted = (2 * batch.len()).max(self.limit - self.rows.len());
        }
        Ok(false)
    }

    /// Whether the message is of the dates that are asked for, and its text still says what is
    /// looked for: it may have been edited since.
    fn is_current(&mut self, row: &MessageRow) -> Result<bool> {
        let from = self.query.sent_from().unwrap_or_default();
        let before = self.query.sent_before();
        if row.sent_at < from || before.is_some_and(|before| row.sent_at >= before) {
            return Ok(false);
        }
        let Some(text) = &row.text else {
            return Ok(false);
        };
        if row.edited_at.is_none() {
            return Ok(true);
        }
        self.probe.matches(text, &expression::of_text(self.query))
    }
}

/// The next positions, at most `limit`; none at the end.
fn next_of(candidates: &mut Rows<'_>, limit: usize) -> Result<Vec<Position>> {
    let mut batch = Vec::with_capacity(limit);
    while batch.len() < limit {
        let Some(row) = candidates.next()? else {
            break;
        };
        batch.push(Position(number(row, 0)?));
    }
    Ok(batch)
}
