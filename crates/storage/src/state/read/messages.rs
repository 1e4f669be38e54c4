//! Questions about messages: a conversation's history, and single messages by their names.
//!
//! Always true: a message is given only to accounts that are in its conversation and have not
//! hidden it. What many have in common, mentions and reactions, is read in ranges and not one by
//! one.

use conclave_core::{
    AccountId, ConversationId, MessageRef, Position, Reaction, Sequence, Timestamp,
    limits::{PAGE_BYTES_MAX, PAGE_MAX},
};
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use super::reader::page;
use crate::state::{
    Delivery, Destination, HistoryFrom, HistoryPage, MessageRow, ReactionRow, ReactorRow,
    ReadError, Reader,
    column::{bound, count, number, number_or_none, sought},
};

/// Sequence numbers that one page of history looks at, so that a long run of hidden messages
/// does not make one slow.
const HISTORY_SCANNED_MAX: u64 = 4 * PAGE_MAX as u64;

/// Messages this near to each other get their mentions and reactions together.
const NEIGHBOURS_WITHIN: u64 = 16;

/// What makes a [`MessageRow`], with the conversation as `c` and the message as `m`.
macro_rules! select_messages {
    ($rest:literal) => {
        concat!(
            "SELECT m.position, m.conversation, m.sequence, m.by_account, a.name, m.sent_at,
                m.text, m.edited_at, m.reply_to, m.action, c.name,
                iif(c.direct_low = m.by_account, c.direct_high, c.direct_low), r.name,
                o.delivered, o.read
            FROM messages m JOIN conversations c ON c.id = m.conversation
            LEFT JOIN accounts a ON a.id = m.by_account
            LEFT JOIN accounts r ON r.id =
                iif(c.direct_low = m.by_account, c.direct_high, c.direct_low)
            LEFT JOIN members o ON o.conversation = m.conversation AND o.account = r.id ",
            $rest
        )
    };
}

/// `?1` account, `?2` conversation, `?3` first and `?4` last sequence, `?5` rows.
const HISTORY_UP: &str = select_messages!(
    "WHERE m.conversation = ?2 AND m.sequence BETWEEN ?3 AND ?4
        AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.account = ?1
            AND h.conversation = m.conversation AND h.sequence = m.sequence)
    ORDER BY m.sequence LIMIT ?5"
);

/// The same from the end.
const HISTORY_DOWN: &str = select_messages!(
    "WHERE m.conversation = ?2 AND m.sequence BETWEEN ?3 AND ?4
        AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.account = ?1
            AND h.conversation = m.conversation AND h.sequence = m.sequence)
    ORDER BY m.sequence DESC LIMIT ?5"
);

/// `?1` account, `?2` position: if the account may see it now.
const AT_POSITION: &str = select_messages!(
    "WHERE m.position = ?2
        AND EXISTS (SELECT 1 FROM members own
            WHERE own.conversation = m.conversation AND own.account = ?1)
        AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.account = ?1
            AND h.conversation = m.conversation AND h.sequence = m.sequence)"
);

/// `?1` account, `?2` conversation, `?3` sequence: if the account may see it now.
const NAMED: &str = select_messages!(
    "WHERE m.conversation = ?2 AND m.sequence = ?3
        AND EXISTS (SELECT 1 FROM members own
            WHERE own.conversation = m.conversation AND own.account = ?1)
        AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.account = ?1
            AND h.conversation = m.conversation AND h.sequence = m.sequence)"
);

/// `?1` is no account, `?2` conversation, `?3` sequence: for every account that may see it.
const FOR_ALL: &str =
    select_messages!("WHERE m.conversation = ?2 AND m.sequence = ?3 AND ?1 IS NOT NULL");

/// `?1` conversation, `?2` first and `?3` last sequence.
const MENTIONS: &str = "
SELECT sequence, account FROM mentions
WHERE conversation = ?1 AND sequence BETWEEN ?2 AND ?3 ORDER BY sequence, account";

/// `?1` conversation, `?2` first and `?3` last sequence, `?4` account.
const REACTIONS: &str = "
SELECT n.sequence, n.reaction, n.count,
    EXISTS (SELECT 1 FROM reactions r WHERE r.conversation = n.conversation
        AND r.sequence = n.sequence AND r.account = ?4 AND r.reaction = n.reaction)
FROM reaction_counts n
WHERE n.conversation = ?1 AND n.sequence BETWEEN ?2 AND ?3 ORDER BY n.sequence, n.reaction";

/// `?1` conversation, `?2` sequence, `?3` after this account, `?4` reaction, `?5` rows.
const REACTORS: &str = "
SELECT r.account, a.name FROM reactions r LEFT JOIN accounts a ON a.id = r.account
WHERE r.conversation = ?1 AND r.sequence = ?2 AND r.account > ?3 AND r.reaction = ?4
ORDER BY r.account LIMIT ?5";

impl Reader {
    /// Returns a part of a conversation; `None` if there is none or the account is not in it.
    /// Deleted messages are there without their text; those that the account has hidden are left
    /// out.
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

    /// Returns the messages at these positions, in this order, the first [`PAGE_MAX`] of them:
    /// those that the account may see now and that are not deleted.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn messages_at(
        &self,
        account: AccountId,
        positions: &[Position],
    ) -> std::result::Result<Vec<MessageRow>, ReadError> {
        self.read(|c| {
            let mut found = Vec::new();
            for position in positions.iter().take(PAGE_MAX) {
                let row = at_position(c, account, *position)?;
                found.extend(row.filter(|row| row.text.is_some()));
            }
            add_mentions_and_reactions(c, account, found.iter_mut())?;
            Ok(found)
        })
    }

    /// Returns one message as it is now, perhaps deleted; `None` if the account may not see it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn message(
        &self,
        account: AccountId,
        message: MessageRef,
    ) -> std::result::Result<Option<MessageRow>, ReadError> {
        self.read(|c| {
            let mut found = named(c, account, message)?;
            add_mentions_and_reactions(c, account, found.iter_mut())?;
            Ok(found)
        })
    }

    /// Returns up to `limit` members that gave a reaction to a message, in order of their numbers,
    /// after `after`; `None` if the account may not see the message.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn reactors(
        &self,
        account: AccountId,
        message: MessageRef,
        reaction: &Reaction,
        after: Option<AccountId>,
        limit: usize,
    ) -> std::result::Result<Option<Vec<ReactorRow>>, ReadError> {
        let after = after.map_or(-1, |id| bound(id.0));
        self.read(|c| {
            if named(c, account, message)?.is_none() {
                return Ok(None);
            }
            let mut statement = c.prepare_cached(REACTORS)?;
            let from = params![
                sought(message.conversation.0),
                sought(message.sequence.0),
                after,
                reaction.as_str(),
                count(page(limit))
            ];
            let reactor = |row: &Row<'_>| {
                let account = AccountId(number(row, 0)?);
                let name = row.get(1)?;
                Ok(ReactorRow { account, name })
            };
            let rows = statement.query_map(from, reactor)?;
            rows.collect::<Result<_>>().map(Some)
        })
    }

    /// Returns one message in the form that is the same for all its readers: as it is now, perhaps
    /// deleted, and without a reader's own view of its reactions; `None` if there is none.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn message_for_all(
        &self,
        name: MessageRef,
    ) -> std::result::Result<Option<MessageRow>, ReadError> {
        let no_account = AccountId(0);
        self.read(|c| {
            let mut statement = c.prepare_cached(FOR_ALL)?;
            let key = [no_account.0, name.conversation.0, name.sequence.0].map(sought);
            let mut found = statement.query_row(key, message).optional()?;
            add_mentions_and_reactions(c, no_account, found.iter_mut())?;
            Ok(found)
        })
    }
}

fn history(
    connection: &Connection,
    account: AccountId,
    conversation: ConversationId,
    from: HistoryFrom,
    limit: usize,
) -> Result<Option<HistoryPage>> {
    let sql = "SELECT c.forgotten, coalesce((SELECT max(sequence) FROM messages
            WHERE conversation = ?1), c.forgotten)
        FROM members own JOIN conversations c ON c.id = own.conversation
        WHERE own.conversation = ?1 AND own.account = ?2";
    let key = [sought(conversation.0), sought(account.0)];
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| Ok((number(row, 0)?, number(row, 1)?));
    let Some((forgotten, last)) = statement.query_row(key, read).optional()? else {
        return Ok(None);
    };
    // Sequences have no gaps, so a range of them is a bounded number of rows.
    let (sql, low, high) = match from {
        HistoryFrom::Around(at) => return around(connection, account, conversation, at, limit),
        HistoryFrom::After(after) => {
            let low = after.0.max(forgotten).min(last) + 1;
            (HISTORY_UP, low, last.min(low + HISTORY_SCANNED_MAX - 1))
        }
        HistoryFrom::Before(Sequence(before)) => {
            let high = before.saturating_sub(1).min(last);
            (HISTORY_DOWN, low_of(high, forgotten), high)
        }
        HistoryFrom::End => (HISTORY_DOWN, low_of(last, forgotten), last),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let range = params![key[1], key[0], bound(low), bound(high), count(limit)];
    let mut rows = Vec::new();
    let mut bytes = 0;
    for row in statement.query_map(range, message)? {
        let row = row?;
        bytes += row.bytes();
        rows.push(row);
        if bytes >= PAGE_BYTES_MAX {
            break;
        }
    }
    let is_whole = rows.len() == limit || bytes >= PAGE_BYTES_MAX;
    add_mentions_and_reactions(connection, account, rows.iter_mut())?;
    let is_full = cut(&mut rows) || is_whole;
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
        older: (first_seen > forgotten + 1).then_some(Sequence(first_seen)),
        newer: (last_seen < last).then_some(Sequence(last_seen)),
        sequence_last: Sequence(last),
        forgotten: Sequence(forgotten),
    }))
}

/// Returns the part of a conversation around a message. If it has too many bytes, it has less of
/// what is before the message.
fn around(
    connection: &Connection,
    account: AccountId,
    conversation: ConversationId,
    at: Sequence,
    limit: usize,
) -> Result<Option<HistoryPage>> {
    let part = |from, limit| history(connection, account, conversation, from, limit);
    let from_it_on = HistoryFrom::After(Sequence(at.0.saturating_sub(1)));
    let Some(mut page) = part(from_it_on, limit - limit / 2)? else {
        return Ok(None);
    };
    let before = match limit / 2 {
        0 => None,
        limit => part(HistoryFrom::Before(at), limit)?,
    };
    let first = Sequence(at.0.min(page.sequence_last.0 + 1));
    page.older = (first.0 > page.forgotten.0 + 1).then_some(first);
    let Some(mut before) = before else {
        return Ok(Some(page));
    };
    let mut bytes: usize = page.rows.iter().map(MessageRow::bytes).sum();
    let fits = |row: &&MessageRow| {
        bytes += row.bytes();
        bytes < PAGE_BYTES_MAX
    };
    let kept = before.rows.iter().rev().take_while(fits).count();
    let left_out = before.rows.len() - kept;
    let mut rows = before.rows.split_off(left_out);
    page.older = match left_out {
        0 => before.older,
        _ => rows.first().map(|row| row.sequence).or(page.older),
    };
    rows.append(&mut page.rows);
    page.rows = rows;
    Ok(Some(page))
}

/// Ends a page with the message that reaches its bytes, mentions and reactions included; returns
/// whether one does.
pub(crate) fn cut(rows: &mut Vec<MessageRow>) -> bool {
    let mut bytes = 0;
    let last = rows.iter().position(|row| {
        bytes += row.bytes();
        bytes >= PAGE_BYTES_MAX
    });
    if let Some(last) = last {
        rows.truncate(last + 1);
    }
    last.is_some()
}

fn low_of(high: u64, forgotten: u64) -> u64 {
    high.saturating_sub(HISTORY_SCANNED_MAX - 1)
        .max(forgotten + 1)
}

/// Returns the message at a position, if the account may see it; without mentions and reactions.
pub(crate) fn at_position(
    connection: &Connection,
    account: AccountId,
    position: Position,
) -> Result<Option<MessageRow>> {
    let mut statement = connection.prepare_cached(AT_POSITION)?;
    let key = [sought(account.0), sought(position.0)];
    statement.query_row(key, message).optional()
}

/// Returns the message with this name, if the account may see it; without mentions and reactions.
pub(crate) fn named(
    connection: &Connection,
    account: AccountId,
    name: MessageRef,
) -> Result<Option<MessageRow>> {
    let mut statement = connection.prepare_cached(NAMED)?;
    let key = [account.0, name.conversation.0, name.sequence.0].map(sought);
    statement.query_row(key, message).optional()
}

/// Adds mentions and reactions, as `account` sees them, to messages that have none yet.
pub(crate) fn add_mentions_and_reactions<'m>(
    connection: &Connection,
    account: AccountId,
    messages: impl Iterator<Item = &'m mut MessageRow>,
) -> Result<()> {
    let mut messages: Vec<_> = messages.collect();
    messages.sort_by_key(|message| (message.conversation, message.sequence));
    let are_neighbours = |left: &&mut MessageRow, right: &&mut MessageRow| {
        left.conversation == right.conversation
            && right.sequence.0 - left.sequence.0 <= NEIGHBOURS_WITHIN
    };
    for run in messages.chunk_by_mut(are_neighbours) {
        adorn_run(connection, account, run)?;
    }
    Ok(())
}

fn adorn_run(
    connection: &Connection,
    account: AccountId,
    run: &mut [&mut MessageRow],
) -> Result<()> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else {
        return Ok(());
    };
    let of = sought(first.conversation.0);
    let (low, high) = (bound(first.sequence.0), bound(last.sequence.0));
    let mut statement = connection.prepare_cached(MENTIONS)?;
    let mut rows = statement.query([of, low, high])?;
    while let Some(row) = rows.next()? {
        let mentioned = AccountId(number(row, 1)?);
        for message in of_sequence(run, number(row, 0)?) {
            message.mentions.push(mentioned);
        }
    }
    let mut statement = connection.prepare_cached(REACTIONS)?;
    let mut rows = statement.query([of, low, high, sought(account.0)])?;
    while let Some(row) = rows.next()? {
        for message in of_sequence(run, number(row, 0)?) {
            message.reactions.push(ReactionRow {
                reaction: row.get(1)?,
                count: number(row, 2)?,
                mine: row.get(3)?,
            });
        }
    }
    Ok(())
}

/// Returns the messages of a sorted run with this number: none, one, or one more than once.
fn of_sequence<'r, 'm>(
    run: &'r mut [&'m mut MessageRow],
    sequence: u64,
) -> &'r mut [&'m mut MessageRow] {
    let from = run.partition_point(|message| message.sequence.0 < sequence);
    let to = run.partition_point(|message| message.sequence.0 <= sequence);
    &mut run[from..to]
}

fn message(row: &Row<'_>) -> Result<MessageRow> {
    let sequence = number(row, 2)?;
    let by = AccountId(number(row, 3)?);
    Ok(MessageRow {
        position: Position(number(row, 0)?),
        conversation: ConversationId(number(row, 1)?),
        sequence: Sequence(sequence),
        by,
        by_name: row.get(4)?,
        to: recipient(row, sequence, by)?,
        sent_at: Timestamp(number(row, 5)?),
        text: row.get(6)?,
        edited_at: number_or_none(row, 7)?.map(Timestamp),
        reply_to: number_or_none(row, 8)?.map(Sequence),
        action: row.get(9)?,
        mentions: Vec::new(),
        reactions: Vec::new(),
    })
}

fn recipient(row: &Row<'_>, sequence: u64, by: AccountId) -> Result<Destination> {
    let Some(account) = number_or_none(row, 11)?.map(AccountId) else {
        let name: Option<String> = row.get(10)?;
        let name = name.unwrap_or_default();
        return Ok(Destination::Room { name });
    };
    let has = |far: Option<u64>| far.is_some_and(|far| far >= sequence);
    let (delivered, read) = (number_or_none(row, 13)?, number_or_none(row, 14)?);
    let delivery = if account == by || has(read) {
        Delivery::Read
    } else if has(delivered) {
        Delivery::Delivered
    } else {
        Delivery::Queued
    };
    Ok(Destination::Peer {
        account,
        name: row.get(12)?,
        delivery,
    })
}
