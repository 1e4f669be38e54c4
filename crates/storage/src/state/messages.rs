//! Questions about messages: a conversation's history, what is unread, what came after a position.

use conclave_core::{AccountId, ConversationId, Position, Sequence, Timestamp, limits::PAGE_MAX};
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use super::{
    Delivery, HistoryFrom, HistoryPage, MessageRow, MessagesAfter, ReadError, Reader,
    column::{bound, count, number, number_or_none, sought},
    meta::Meta,
    reader::page,
};

/// Sequence numbers that one page of history looks at, so that a long run of hidden messages
/// does not make one slow.
const HISTORY_SCANNED_MAX: u64 = 4 * PAGE_MAX as u64;

/// Rows that one page of the stream looks at: messages of all conversations.
const STREAM_SCANNED_MAX: usize = 4 * PAGE_MAX;

/// What makes a [`MessageRow`], with the conversation as `c` and the message as `m`.
macro_rules! select_messages {
    ($rest:literal) => {
        concat!(
            "SELECT m.position, m.conversation, m.sequence, m.by_account, a.name,
                iif(c.direct_low = m.by_account, c.direct_high, c.direct_low), r.name,
                m.sent_at, m.text,
                (SELECT min(o.delivered) FROM members o
                    WHERE o.conversation = m.conversation AND o.account <> m.by_account),
                (SELECT min(o.read) FROM members o
                    WHERE o.conversation = m.conversation AND o.account <> m.by_account),
                c.direct_low = c.direct_high
            FROM messages m JOIN conversations c ON c.id = m.conversation
            LEFT JOIN accounts a ON a.id = m.by_account
            LEFT JOIN accounts r ON r.id =
                iif(c.direct_low = m.by_account, c.direct_high, c.direct_low) ",
            $rest
        )
    };
}

/// `?1` account, `?2` conversation, `?3` first and `?4` last sequence, `?5` rows.
pub(super) const HISTORY_UP: &str = select_messages!(
    "WHERE m.conversation = ?2 AND m.sequence BETWEEN ?3 AND ?4
        AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.account = ?1
            AND h.conversation = m.conversation AND h.sequence = m.sequence)
    ORDER BY m.sequence LIMIT ?5"
);

/// The same from the end.
pub(super) const HISTORY_DOWN: &str = select_messages!(
    "WHERE m.conversation = ?2 AND m.sequence BETWEEN ?3 AND ?4
        AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.account = ?1
            AND h.conversation = m.conversation AND h.sequence = m.sequence)
    ORDER BY m.sequence DESC LIMIT ?5"
);

/// `?1` account, `?2` conversation, `?3` read, `?4` rows.
pub(super) const UNREAD: &str = select_messages!(
    "WHERE m.conversation = ?2 AND m.sequence > ?3 AND m.by_account <> ?1
        AND m.text IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.account = ?1
            AND h.conversation = m.conversation AND h.sequence = m.sequence)
    ORDER BY m.sequence LIMIT ?4"
);

/// `?1` position.
pub(super) const AT_POSITION: &str = select_messages!("WHERE m.position = ?1");

/// Positions after `?2`, and whether account `?1` may see them; `?3` rows.
pub(super) const STREAM: &str = "
SELECT m.position,
    EXISTS (SELECT 1 FROM members o WHERE o.conversation = m.conversation AND o.account = ?1)
    AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.account = ?1
        AND h.conversation = m.conversation AND h.sequence = m.sequence)
FROM messages m WHERE m.position > ?2 ORDER BY m.position LIMIT ?3";

impl Reader {
    /// A part of a conversation; `None` if there is none or the account is not in it. Deleted
    /// messages are there without their text; those that the account has hidden are left out.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn history(
        &self,
        account: AccountId,
        conversation: ConversationId,
        from: HistoryFrom,
        limit: usize,
    ) -> std::result::Result<Option<HistoryPage>, ReadError> {
        self.read(|c| history(c, account, conversation, from, page(limit)))
    }

    /// The first `limit` messages, by position, that an account has not read: of others, neither
    /// deleted nor hidden.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn unread(
        &self,
        account: AccountId,
        limit: usize,
    ) -> std::result::Result<Vec<MessageRow>, ReadError> {
        self.read(|c| unread(c, account, page(limit)))
    }

    /// Up to `limit` messages after `position` in the account's conversations, its own included.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn messages_after(
        &self,
        account: AccountId,
        position: Position,
        limit: usize,
    ) -> std::result::Result<MessagesAfter, ReadError> {
        self.read(|c| messages_after(c, account, position, page(limit)))
    }
}

fn history(
    connection: &Connection,
    account: AccountId,
    conversation: ConversationId,
    from: HistoryFrom,
    limit: usize,
) -> Result<Option<HistoryPage>> {
    let sql = "SELECT coalesce((SELECT max(sequence) FROM messages WHERE conversation = ?1), 0)
        FROM members WHERE conversation = ?1 AND account = ?2";
    let key = [sought(conversation.0), sought(account.0)];
    let mut statement = connection.prepare_cached(sql)?;
    let Some(last) = statement.query_row(key, |row| number(row, 0)).optional()? else {
        return Ok(None);
    };
    // Sequences have no gaps, so a range of them is a bounded number of rows.
    let (sql, low, high) = match from {
        HistoryFrom::After(after) => {
            let low = after.0.min(last) + 1;
            (HISTORY_UP, low, last.min(low + HISTORY_SCANNED_MAX - 1))
        }
        HistoryFrom::Before(Sequence(before)) => {
            let high = before.saturating_sub(1).min(last);
            (HISTORY_DOWN, low_of(high), high)
        }
        HistoryFrom::End => (HISTORY_DOWN, low_of(last), last),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let range = params![key[1], key[0], bound(low), bound(high), count(limit)];
    let rows = statement.query_map(range, message)?;
    let mut rows = rows.collect::<Result<Vec<MessageRow>>>()?;
    let is_full = rows.len() == limit;
    let is_up = matches!(from, HistoryFrom::After(_));
    if !is_up {
        rows.reverse();
    }
    // What was looked at: cut short where the page was full.
    let (mut first_seen, mut last_seen) = (low, high);
    if is_full && is_up {
        last_seen = rows.last().map_or(high, |row| row.sequence.0);
    } else if is_full {
        first_seen = rows.first().map_or(low, |row| row.sequence.0);
    }
    Ok(Some(HistoryPage {
        rows,
        older: (first_seen > 1).then_some(Sequence(first_seen)),
        newer: (last_seen < last).then_some(Sequence(last_seen)),
        sequence_last: Sequence(last),
    }))
}

fn low_of(high: u64) -> u64 {
    high.saturating_sub(HISTORY_SCANNED_MAX - 1).max(1)
}

fn unread(connection: &Connection, account: AccountId, limit: usize) -> Result<Vec<MessageRow>> {
    let sql = "SELECT conversation, read FROM members WHERE account = ?1";
    let mut conversations = connection.prepare_cached(sql)?;
    let mut of_conversation = connection.prepare_cached(UNREAD)?;
    let mut found = Vec::new();
    let mut rows = conversations.query([sought(account.0)])?;
    while let Some(row) = rows.next()? {
        let (id, read) = (number(row, 0)?, number(row, 1)?);
        let from = params![sought(account.0), sought(id), bound(read), count(limit)];
        for message in of_conversation.query_map(from, message)? {
            found.push(message?);
        }
        // No more than two pages are held, however many conversations there are.
        if found.len() > 2 * PAGE_MAX {
            keep_first(&mut found, limit);
        }
    }
    keep_first(&mut found, limit);
    Ok(found)
}

fn keep_first(found: &mut Vec<MessageRow>, limit: usize) {
    found.sort_by_key(|message| message.position);
    found.truncate(limit);
}

fn messages_after(
    connection: &Connection,
    account: AccountId,
    position: Position,
    limit: usize,
) -> Result<MessagesAfter> {
    let applied = Meta::load(connection)?.applied;
    let mut positions = connection.prepare_cached(STREAM)?;
    let mut at_position = connection.prepare_cached(AT_POSITION)?;
    let scan = count(STREAM_SCANNED_MAX);
    let mut scanned = positions.query(params![sought(account.0), bound(position.0), scan])?;
    let mut page = MessagesAfter {
        rows: Vec::new(),
        scanned_to: position,
        complete: false,
    };
    let mut seen = 0;
    while let Some(row) = scanned.next()? {
        seen += 1;
        let at = number(row, 0)?;
        page.scanned_to = Position(at);
        if row.get(1)? {
            page.rows.push(at_position.query_row([bound(at)], message)?);
        }
        if page.rows.len() == limit || seen == STREAM_SCANNED_MAX {
            return Ok(page);
        }
    }
    page.complete = true;
    if let Some(last) = applied {
        page.scanned_to = position.max(Position::end_of(last.index));
    }
    Ok(page)
}

fn message(row: &Row<'_>) -> Result<MessageRow> {
    let sequence = number(row, 2)?;
    let has = |far: Option<u64>| far.is_some_and(|far| far >= sequence);
    let (delivered, read) = (number_or_none(row, 9)?, number_or_none(row, 10)?);
    let is_to_oneself: bool = row.get(11)?;
    let delivery = if is_to_oneself || has(read) {
        Delivery::Read
    } else if has(delivered) {
        Delivery::Delivered
    } else {
        Delivery::Queued
    };
    Ok(MessageRow {
        position: Position(number(row, 0)?),
        conversation: ConversationId(number(row, 1)?),
        sequence: Sequence(sequence),
        by: AccountId(number(row, 3)?),
        by_name: row.get(4)?,
        recipient: AccountId(number(row, 5)?),
        recipient_name: row.get(6)?,
        sent_at: Timestamp(number(row, 7)?),
        text: row.get(8)?,
        delivery,
    })
}
