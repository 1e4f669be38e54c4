//! Finds messages: the index proposes positions, the state gives the rows, and their texts decide.
//!
//! Always true: one page looks at a bounded number of candidates, and all of them were in the
//! index at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use conclave_core::{
    AccountId, ConversationId, Position, Sequence, Timestamp,
    limits::{PAGE_BYTES_MAX, PAGE_MAX},
};
use conclave_words::{SearchQuery, query::Exclusion};
use rusqlite::{Connection, Result, Rows, params};

use super::{
    SearchError,
    column::{number, stored},
    database, docs, expression,
    pool::Pool,
    scope::Scope,
    terms::{self, QueryTerm},
};
use crate::state::{MessageRow, Reader};

/// Candidates that one page looks at. Then it ends, perhaps short, and says where to go on.
const CANDIDATES_MAX: usize = 4096;

/// Bytes of text that one page looks into. Then it ends likewise: a few tenths of a second.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// Steps of the index's machine between two looks whether to stop: a fraction of a millisecond.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// Candidates that are asked for at once.
const BATCH_MAX: usize = 256;

/// `?1` expression, `?2` first number, `?3` the one after the last.
const CANDIDATES: &str = "
SELECT d.id, d.position FROM words w CROSS JOIN docs d ON d.id = w.rowid
WHERE words MATCH ?1 AND w.rowid >= ?2 AND w.rowid < ?3 ORDER BY w.rowid DESC";

/// The same query if the index is not asked.
const ALL: &str = "
SELECT id, position FROM docs WHERE ?1 IS NULL AND id >= ?2 AND id < ?3 ORDER BY id DESC";

/// Ends a search that is under way, from outside; clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Ends the search that has it, within a few milliseconds.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Description of what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Newest first. A page may be short, even empty, and yet not the last.
    pub rows: Vec<MessageRow>,
    /// Ask for what is before this to go on; `None` at the end.
    pub next_before: Option<Position>,
    /// Everything up to here was searched; what came after it (messages, edits, deletions) may
    /// be missing.
    pub complete_to: Position,
    /// How far the state had come.
    pub applied: Position,
}

/// Finds a page of messages: see [`super::Search::find`].
pub(super) fn find(
    pool: &Arc<Pool>,
    reader: &Reader,
    account: AccountId,
    query: &SearchQuery,
    before: Option<Position>,
    limit: usize,
    stop: &CancelFlag,
) -> std::result::Result<Found, SearchError> {
    let scope = Scope::of(reader, account, query)?;
    let lent = pool.acquire()?;
    let index = lent.index();
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
        let (first, end) = range(&moment, query, &steps)?;
        let before_id = match before {
            Some(before) => docs::first_from(&moment, before)?,
            None => end,
        };
        let (asked, is_exact) = terms::of_query(query);
        let mut page_search = PageSearch {
            index: &moment,
            reader,
            account,
            query,
            asked: &asked,
            must_look: !is_exact,
            read_to: BTreeMap::new(),
            first,
            end: before_id.min(end),
            looked_to: before.unwrap_or(Position(u64::MAX)),
            limit: limit.clamp(1, PAGE_MAX),
            rows: Vec::new(),
            bytes: 0,
            text_bytes: 0,
            stop,
        };
        let is_over = page_search.within(&scope)?;
        let may_go_on = !is_over || page_search.rows.len() == page_search.limit;
        found.next_before = may_go_on.then_some(page_search.looked_to);
        found.rows = page_search.rows;
    }
    moment.finish()?;
    index.progress_handler(0, None::<fn() -> bool>)?;
    // Requested last, so that it is not behind what was found.
    let applied = reader.applied()?.last;
    found.applied = applied.map_or(Position(0), |last| Position::end_of(last.index));
    found.complete_to = found.complete_to.min(found.applied);
    Ok(found)
}

/// Returns the first number that a query's dates allow, and the one after the last. Dates went back
/// at the entries in `steps`, so that in between there may be messages with other dates.
fn range(index: &Connection, query: &SearchQuery, steps: &[u64]) -> Result<(u64, u64)> {
    let end = docs::end(index)?;
    let mut whole = (end, 0);
    let mut begin = 1;
    let mut part = |end: u64| -> Result<()> {
        let first_at = |time: Option<Timestamp>, else_at| match time {
            Some(time) => docs::first_not(index, begin, end, |_, at| at < time),
            None => Ok(else_at),
        };
        let first = first_at(query.sent_from(), begin)?;
        let after = first_at(query.sent_before(), end)?;
        if first < after {
            whole = (whole.0.min(first), whole.1.max(after));
        }
        begin = end;
        Ok(())
    };
    for step in steps {
        part(docs::first_from(index, Position::new(*step, 0))?)?;
    }
    part(end)?;
    Ok(whole)
}

/// A search under way.
struct PageSearch<'a> {
    index: &'a Connection,
    reader: &'a Reader,
    account: AccountId,
    query: &'a SearchQuery,
    /// What the index is asked for.
    asked: &'a [QueryTerm],
    /// Whether texts are looked into before rows are made of them.
    must_look: bool,
    /// How far the caller has read, as far as it was asked.
    read_to: BTreeMap<ConversationId, Sequence>,
    first: u64,
    /// Numbers before this were not looked at yet.
    end: u64,
    /// The same as a position.
    looked_to: Position,
    limit: usize,
    rows: Vec<MessageRow>,
    bytes: usize,
    /// Of the texts that were looked into.
    text_bytes: usize,
    stop: &'a CancelFlag,
}

impl PageSearch<'_> {
    /// Looks at candidates. Returns whether it is over: the page is full, or nothing is left.
    fn within(&mut self, scope: &Scope) -> std::result::Result<bool, SearchError> {
        let whole = expression::within(self.query, self.asked, scope);
        let sql = if whole.is_some() { CANDIDATES } else { ALL };
        let mut statement = self.index.prepare_cached(sql)?;
        let range = params![whole, stored(self.first), stored(self.end)];
        let mut candidates = statement.query(range)?;
        let (mut looked_at, mut wanted) = (0, self.limit);
        while looked_at < CANDIDATES_MAX && self.text_bytes < TEXT_BYTES_MAX {
            if self.stop.is_set() {
                return Err(SearchError::Stopped);
            }
            let batch = next_of(&mut candidates, wanted.min(BATCH_MAX))?;
            let Some(last) = batch.last().copied() else {
                return Ok(true);
            };
            if self.look_at(scope, &batch)? {
                return Ok(true);
            }
            (self.end, self.looked_to) = last;
            looked_at += batch.len();
            // Where little may be seen, more is asked for at once.
            wanted = (2 * batch.len()).max(self.limit - self.rows.len());
        }
        Ok(false)
    }

    /// Takes what fits of some candidates. Returns whether the page is full.
    fn look_at(
        &mut self,
        scope: &Scope,
        batch: &[(u64, Position)],
    ) -> std::result::Result<bool, SearchError> {
        let mut positions: Vec<Position> = batch.iter().map(|(_, position)| *position).collect();
        if self.must_look {
            // A text is read faster than a row; most candidates of a phrase do not say it.
            let texts = self.reader.texts_at(&positions)?;
            self.text_bytes += texts.iter().map(|(_, text)| text.len()).sum::<usize>();
            let (query, stop) = (self.query, self.stop);
            let said = texts.iter();
            let said = said.filter(|(_, text)| !stop.is_set() && query.is_said_by(text));
            let said: BTreeSet<Position> = said.map(|(position, _)| *position).collect();
            if stop.is_set() {
                return Err(SearchError::Stopped);
            }
            positions.retain(|position| said.contains(position));
        }
        for row in self.reader.messages_at(self.account, &positions)? {
            if !scope.has(&row) || !self.is_current(&row)? {
                continue;
            }
            let is_this = |(_, position): &&(u64, Position)| *position == row.position;
            if let Some(this) = batch.iter().find(is_this) {
                (self.end, self.looked_to) = *this;
            }
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
        Ok(false)
    }

    /// Returns whether the message is what is looked for, as it is now: it may have been edited
    /// since.
    fn is_current(&mut self, row: &MessageRow) -> std::result::Result<bool, SearchError> {
        let from = self.query.sent_from().unwrap_or_default();
        let before = self.query.sent_before();
        if row.sent_at < from || before.is_some_and(|before| row.sent_at >= before) {
            return Ok(false);
        }
        let bars_unread = self.query.excluded().contains(&Exclusion::Unread);
        if self.query.is_unread() || bars_unread {
            let is_unread = self.is_unread(row)?;
            if is_unread != self.query.is_unread() || is_unread == bars_unread {
                return Ok(false);
            }
        }
        let Some(text) = &row.text else {
            return Ok(false);
        };
        self.text_bytes += text.len();
        Ok(self.query.is_said_by(text))
    }

    fn is_unread(&mut self, row: &MessageRow) -> std::result::Result<bool, SearchError> {
        if row.by == self.account {
            return Ok(false);
        }
        let read_to = match self.read_to.get(&row.conversation) {
            Some(read_to) => *read_to,
            None => {
                let read_to = self.reader.read_to(self.account, row.conversation)?;
                let read_to = read_to.unwrap_or_default();
                self.read_to.insert(row.conversation, read_to);
                read_to
            }
        };
        Ok(row.sequence > read_to)
    }
}

/// Returns the next numbers and positions, at most `limit`; none at the end.
fn next_of(candidates: &mut Rows<'_>, limit: usize) -> Result<Vec<(u64, Position)>> {
    let mut batch = Vec::with_capacity(limit);
    while batch.len() < limit {
        let Some(row) = candidates.next()? else {
            break;
        };
        batch.push((number(row, 0)?, Position(number(row, 1)?)));
    }
    Ok(batch)
}
