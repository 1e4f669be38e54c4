//! Questions about conversations: which there are, and how far their members have come.

use conclave_core::{
    AccountId, ConversationId, Position, Progress, Sequence, Timestamp, limits::PAGE_MAX,
};
use rusqlite::{OptionalExtension as _, Result, Row, params};

use super::reader::page;
use crate::state::{
    ConversationInfo, ConversationRow, Counterpart, PreviewRow, ReadError, Reader,
    column::{bound, count, number, number_or_none, sought},
    sent::{sent, sent_up_to},
};

/// Deleted and as many hidden messages of one conversation that are counted to find how many are
/// unread before a page. Behind more of them the number is too high, never too low: a client then
/// marks less as read than it could.
const LEFT_OUT_MAX: usize = 50 * PAGE_MAX;

/// Conversations of one account in order of their numbers. `?1` account, `?2` after, `?3` rows,
/// `?4` how many deleted, hidden and mentioning messages are looked at.
///
/// Unread messages are not counted: the last number and the number read tell how many there are,
/// the ordinal of the account's last message and `sent_read` how many of them are its own. Those
/// that are forgotten count as read.
const CONVERSATIONS: &str = concat!(
    "
SELECT own.conversation, own.delivered, own.read, c.name, c.topic, peer.id, peer.name,
    other.delivered, other.read,
    iif(c.direct_low = ?1, c.direct_high, c.direct_low),
    coalesce((SELECT max(sequence) FROM messages WHERE conversation = own.conversation),
        c.forgotten),
    ",
    sent!("own.conversation", "?1"),
    " - max(own.sent_read, own.sent_forgotten),
    (SELECT count(*) FROM (SELECT by_account FROM messages
        WHERE conversation = own.conversation AND sequence > own.read AND text IS NULL
        LIMIT ?4) WHERE by_account <> ?1),
    (SELECT count(*) FROM (SELECT sequence FROM hidden
            WHERE account = ?1 AND conversation = own.conversation AND sequence > own.read
            LIMIT ?4) h
        CROSS JOIN messages m ON m.conversation = own.conversation AND m.sequence = h.sequence
        WHERE m.by_account <> ?1 AND m.text IS NOT NULL),
    (SELECT min(count(*), ?4) FROM (
            SELECT sequence FROM (SELECT sequence FROM mentions
                WHERE account = ?1 AND conversation = own.conversation AND sequence > own.read
                LIMIT ?4)
            UNION ALL SELECT sequence FROM (SELECT sequence FROM mentions
                WHERE account = ?1 AND conversation = own.conversation
                    AND sequence <= own.read AND late = 1
                LIMIT ?4)) n
        WHERE NOT EXISTS (SELECT 1 FROM hidden h WHERE h.account = ?1
            AND h.conversation = own.conversation AND h.sequence = n.sequence)),
    c.forgotten
FROM members own JOIN conversations c ON c.id = own.conversation
LEFT JOIN accounts peer ON peer.id = iif(c.direct_low = ?1, c.direct_high, c.direct_low)
LEFT JOIN members other ON other.conversation = own.conversation AND other.account = peer.id
WHERE own.account = ?1 AND own.conversation > ?2
ORDER BY own.conversation LIMIT ?3"
);

/// Number of unread messages of account `?1` in conversation `?2` before sequence `?3`; `?4`
/// deleted and `?4` hidden messages are looked at.
const UNREAD_BEFORE: &str = concat!(
    "
SELECT iif(max(own.read, c.forgotten) >= ?3 - 1, 0,
    max(0, ?3 - 1 - max(own.read, c.forgotten) - (",
    sent_up_to!("?2", "?1", "?3 - 1"),
    " - max(own.sent_read, own.sent_forgotten))
    - (SELECT count(*) FROM (SELECT by_account FROM messages INDEXED BY messages_deleted
        WHERE conversation = ?2 AND sequence > own.read AND sequence < ?3 AND text IS NULL
        LIMIT ?4) WHERE by_account <> ?1)
    - (SELECT count(*) FROM (SELECT sequence FROM hidden
            WHERE account = ?1 AND conversation = ?2 AND sequence > own.read AND sequence < ?3
            LIMIT ?4) h
        CROSS JOIN messages m ON m.conversation = ?2 AND m.sequence = h.sequence
        WHERE m.by_account <> ?1 AND m.text IS NOT NULL)))
FROM members own JOIN conversations c ON c.id = own.conversation
WHERE own.conversation = ?2 AND own.account = ?1"
);

/// Characters of the last message that a list shows.
const PREVIEW_CHARACTERS: usize = 200;
/// Hidden messages behind the last one that a list shows.
const PREVIEW_SCANNED_MAX: u64 = 64;

/// The newest message of conversation `?2` after sequence `?3` that account `?1` has not hidden;
/// `?4` characters of it.
const LAST_MESSAGE: &str = "
SELECT m.sequence, m.position, m.by_account, a.name, m.sent_at, substr(m.text, 1, ?4), m.action
FROM messages m LEFT JOIN accounts a ON a.id = m.by_account
WHERE m.conversation = ?2 AND m.sequence > ?3
    AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.account = ?1
        AND h.conversation = m.conversation AND h.sequence = m.sequence)
ORDER BY m.sequence DESC LIMIT 1";

impl Reader {
    /// Counts the messages of others before a sequence that a member has not read, without those
    /// deleted or hidden; 0 if the account is not a member. Behind more than 50 000 deleted or
    /// hidden ones the number is too high.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn unread_before(
        &self,
        account: AccountId,
        conversation: ConversationId,
        before: Sequence,
    ) -> std::result::Result<u64, ReadError> {
        self.read(|c| {
            let mut statement = c.prepare_cached(UNREAD_BEFORE)?;
            let from = params![
                sought(account.0),
                sought(conversation.0),
                bound(before.0),
                count(LEFT_OUT_MAX)
            ];
            let found = statement.query_row(from, |row| number(row, 0));
            Ok(found.optional()?.unwrap_or(0))
        })
    }

    /// Returns the direct conversation of an account with the account whose name has this key.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn direct_with(
        &self,
        account: AccountId,
        peer_key: &str,
    ) -> std::result::Result<Option<ConversationId>, ReadError> {
        let sql = "SELECT id FROM accounts WHERE key = ?1";
        self.read(|c| {
            let find = |row: &Row<'_>| number(row, 0);
            let Some(peer) = c
                .prepare_cached(sql)?
                .query_row([peer_key], find)
                .optional()?
            else {
                return Ok(None);
            };
            let pair = [account.0.min(peer), account.0.max(peer)].map(sought);
            let sql = "SELECT id FROM conversations WHERE direct_low = ?1 AND direct_high = ?2";
            let found = c.prepare_cached(sql)?.query_row(pair, find).optional()?;
            Ok(found.map(ConversationId))
        })
    }

    /// Returns up to `limit` conversations of an account, in order of their numbers, after `after`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn conversations(
        &self,
        account: AccountId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> std::result::Result<Vec<ConversationRow>, ReadError> {
        let after = after.map_or(-1, |id| bound(id.0));
        let rows = count(page(limit));
        self.read(|c| {
            let mut statement = c.prepare_cached(CONVERSATIONS)?;
            let from = params![sought(account.0), after, rows, count(PAGE_MAX)];
            statement.query_map(from, conversation)?.collect()
        })
    }

    /// Returns the same, each with its last message.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn conversations_with_last(
        &self,
        account: AccountId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> std::result::Result<Vec<ConversationRow>, ReadError> {
        let mut rows = self.conversations(account, after, limit)?;
        self.read(|c| {
            let mut statement = c.prepare_cached(LAST_MESSAGE)?;
            for row in &mut rows {
                let before = row.sequence_last.0.saturating_sub(PREVIEW_SCANNED_MAX);
                let from = params![
                    sought(account.0),
                    sought(row.id.0),
                    bound(before),
                    count(PREVIEW_CHARACTERS)
                ];
                row.last = statement.query_row(from, preview).optional()?;
            }
            Ok(rows)
        })
    }

    /// Returns the numbers of the first `limit` conversations of an account, without a look at what
    /// is in them.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(crate) fn conversation_ids(
        &self,
        account: AccountId,
        limit: usize,
    ) -> std::result::Result<Vec<ConversationId>, ReadError> {
        let sql = "SELECT conversation FROM members WHERE account = ?1
            ORDER BY conversation LIMIT ?2";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            let from = params![sought(account.0), count(page(limit))];
            let rows = statement.query_map(from, |row| number(row, 0).map(ConversationId))?;
            rows.collect()
        })
    }

    /// Returns what a conversation is, for any account; `None` also for a room that all members
    /// have left.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn conversation_of(
        &self,
        conversation: ConversationId,
    ) -> std::result::Result<Option<ConversationInfo>, ReadError> {
        let sql = "SELECT direct_low, direct_high, name, topic FROM conversations WHERE id = ?1";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            let found = statement.query_row([sought(conversation.0)], info);
            Ok(found.optional()?.flatten())
        })
    }
}

fn info(row: &Row<'_>) -> Result<Option<ConversationInfo>> {
    if let Some(low) = number_or_none(row, 0)? {
        let pair = (AccountId(low), AccountId(number(row, 1)?));
        return Ok(Some(ConversationInfo::Direct(pair.0, pair.1)));
    }
    let Some(name) = row.get(2)? else {
        return Ok(None);
    };
    let topic: Option<String> = row.get(3)?;
    let topic = topic.unwrap_or_default();
    Ok(Some(ConversationInfo::Room { name, topic }))
}

fn conversation(row: &Row<'_>) -> Result<ConversationRow> {
    let progress = Progress {
        delivered: Sequence(number(row, 1)?),
        read: Sequence(number(row, 2)?),
    };
    let with = match number_or_none(row, 9)?.map(AccountId) {
        Some(account) => Counterpart::Peer {
            account,
            name: row.get(6)?,
            progress: Progress {
                delivered: Sequence(number_or_none(row, 7)?.unwrap_or(0)),
                read: Sequence(number_or_none(row, 8)?.unwrap_or(0)),
            },
        },
        None => Counterpart::Room {
            name: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
            topic: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
        },
    };
    let sequence_last = number(row, 10)?;
    let left_out = number(row, 11)? + number(row, 12)? + number(row, 13)?;
    let after_read = sequence_last.saturating_sub(progress.read.0.max(number(row, 15)?));
    Ok(ConversationRow {
        id: ConversationId(number(row, 0)?),
        with,
        sequence_last: Sequence(sequence_last),
        progress,
        unread: after_read.saturating_sub(left_out),
        unread_mentions: number(row, 14)?,
        last: None,
    })
}

fn preview(row: &Row<'_>) -> Result<PreviewRow> {
    Ok(PreviewRow {
        sequence: Sequence(number(row, 0)?),
        position: Position(number(row, 1)?),
        by: AccountId(number(row, 2)?),
        by_name: row.get(3)?,
        sent_at: Timestamp(number(row, 4)?),
        text: row.get(5)?,
        action: row.get(6)?,
    })
}
