//! What a search index has to learn: new messages, and those that were edited or deleted.
//!
//! Always true: a row says what a message is now. An index that takes in all pages up to the
//! applied position holds what the state holds, whatever it took in before.

use conclave_core::{AccountId, ConversationId, Position, Timestamp, limits::PAGE_MAX};
use rusqlite::{Connection, OptionalExtension as _, Result, Row};

use super::reader::{mark, page};
use crate::state::{
    ReadError, Reader,
    column::{bound, count, number, sought},
};

/// Messages and changes, of all conversations, that one page looks at.
const SCANNED_MAX: usize = 4 * PAGE_MAX;

/// Messages after `?1`; `?2` rows.
const MESSAGES: &str = "
SELECT position, conversation, by_account, sent_at, text
FROM messages WHERE position > ?1 ORDER BY position LIMIT ?2";

/// Changes after `?1`, and the message whose text one is about if it is an edit or a deletion; `?2`
/// rows.
const CHANGES: &str = "
SELECT position, iif(kind IN (1, 2), conversation, NULL), sequence
FROM changes WHERE position > ?1 ORDER BY position LIMIT ?2";

/// `?1` conversation, `?2` sequence.
const NAMED: &str = "
SELECT position, conversation, by_account, sent_at, text FROM messages
WHERE conversation = ?1 AND sequence = ?2";

/// A part of what a search index has to learn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexPage {
    /// What to put into the index, or to take out of it, in this order. A message may be there
    /// more than once, always as it is now.
    pub rows: Vec<IndexRow>,
    /// Everything up to here was looked at: go on after it.
    pub scanned_to: Position,
    /// Whether that is everything that was applied.
    pub complete: bool,
    /// Whether edits and deletions after the position asked for were forgotten: an index that
    /// has something already must be built anew.
    pub gap: bool,
    /// How many of the rows are there because the message was sent, and not because it was changed.
    pub sent: u64,
    /// How many messages the state has now.
    pub messages: u64,
}

/// What a page looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    All,
    Messages,
    Changes,
}

/// A message, as a search index sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRow {
    /// Where the message is in the log: its name in the index.
    pub position: Position,
    /// The conversation.
    pub conversation: ConversationId,
    /// Account that sent the message.
    pub by: AccountId,
    /// Time of sending.
    pub sent_at: Timestamp,
    /// `None`: deleted for everyone, to be taken out.
    pub text: Option<String>,
}

impl Reader {
    /// Returns up to `limit` rows of what happened to texts after `after`, in the order of the log.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn for_index(
        &self,
        after: Position,
        limit: usize,
    ) -> std::result::Result<IndexPage, ReadError> {
        self.read(|c| for_index(c, Source::All, after, page(limit)))
    }

    /// Returns up to `limit` messages after `after`, as they are now: what an index is compared
    /// with.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(crate) fn messages_for_index(
        &self,
        after: Position,
        limit: usize,
    ) -> std::result::Result<IndexPage, ReadError> {
        self.read(|c| for_index(c, Source::Messages, after, page(limit)))
    }

    /// Returns up to `limit` messages that were edited or deleted after `after`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(crate) fn changes_for_index(
        &self,
        after: Position,
        limit: usize,
    ) -> std::result::Result<IndexPage, ReadError> {
        self.read(|c| for_index(c, Source::Changes, after, page(limit)))
    }

    /// Returns the texts at these positions, of the first [`PAGE_MAX`] of them, for the search
    /// alone: it shows none before it has checked that the caller may see it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(crate) fn texts_at(
        &self,
        positions: &[Position],
    ) -> std::result::Result<Vec<(Position, String)>, ReadError> {
        let sql = "SELECT text FROM messages WHERE position = ?1 AND text IS NOT NULL";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            let mut texts = Vec::with_capacity(positions.len());
            for position in positions.iter().take(PAGE_MAX) {
                let found = statement.query_row([sought(position.0)], |row| row.get(0));
                texts.extend(found.optional()?.map(|text| (*position, text)));
            }
            Ok(texts)
        })
    }
}

fn for_index(
    connection: &Connection,
    source: Source,
    after: Position,
    limit: usize,
) -> Result<IndexPage> {
    let mark = mark(connection)?;
    let mut page = IndexPage {
        rows: Vec::new(),
        scanned_to: after,
        complete: false,
        gap: after < mark.changes_after,
        sent: 0,
        messages: mark.messages,
    };
    // One row more than is looked at: a source that has ended has no more.
    let rows = |other| if source == other { 0 } else { SCANNED_MAX + 1 };
    let from = |other| [bound(after.0), count(rows(other))];
    let mut messages = connection.prepare_cached(MESSAGES)?;
    let mut messages = messages.query_map(from(Source::Changes), index_row)?;
    let mut changes = connection.prepare_cached(CHANGES)?;
    let mut changes = changes.query_map(from(Source::Messages), change)?;
    let mut named = connection.prepare_cached(NAMED)?;
    let (mut message, mut change) = (messages.next().transpose()?, changes.next().transpose()?);
    let mut scanned = 0;
    loop {
        let heads = [
            message.as_ref().map(|row| row.position.0),
            change.map(|(at, _)| at),
        ];
        let Some(at) = heads.into_iter().flatten().min() else {
            break;
        };
        if page.rows.len() == limit || scanned == SCANNED_MAX {
            return Ok(page);
        }
        scanned += 1;
        page.scanned_to = Position(at);
        if let Some(row) = message.take_if(|row| row.position.0 == at) {
            page.rows.push(row);
            page.sent += 1;
            message = messages.next().transpose()?;
        } else {
            if let Some((_, Some(name))) = change {
                let row = named.query_row(name, index_row).optional()?;
                page.rows.extend(row);
            }
            change = changes.next().transpose()?;
        }
    }
    page.complete = true;
    page.scanned_to = after.max(mark.applied);
    Ok(page)
}

/// Returns where a change is, and the conversation and sequence of the message whose text it is
/// about.
fn change(row: &Row<'_>) -> Result<(u64, Option<[i64; 2]>)> {
    let conversation: Option<i64> = row.get(1)?;
    let sequence: Option<i64> = row.get(2)?;
    let name = conversation.zip(sequence).map(|(of, at)| [of, at]);
    Ok((number(row, 0)?, name))
}

fn index_row(row: &Row<'_>) -> Result<IndexRow> {
    Ok(IndexRow {
        position: Position(number(row, 0)?),
        conversation: ConversationId(number(row, 1)?),
        by: AccountId(number(row, 2)?),
        sent_at: Timestamp(number(row, 3)?),
        text: row.get(4)?,
    })
}
