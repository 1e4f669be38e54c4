//! Questions about conversations: which there are, and how far their members have come.

use conclave_core::{AccountId, ConversationId, Progress, Sequence, limits::PAGE_MAX};
use rusqlite::{OptionalExtension as _, Result, Row, params};

use super::{
    ConversationRow, ReadError, Reader,
    column::{bound, count, number, number_or_none, sought},
    reader::page,
};

/// Conversations of one account in order of their numbers. `?1` account, `?2` after, `?3` rows,
/// `?4` how far unread messages are counted.
pub(super) const CONVERSATIONS: &str = "
SELECT own.conversation, own.delivered, own.read,
    iif(c.direct_low = ?1, c.direct_high, c.direct_low) AS peer,
    (SELECT name FROM accounts
        WHERE id = iif(c.direct_low = ?1, c.direct_high, c.direct_low)),
    coalesce((SELECT max(sequence) FROM messages WHERE conversation = own.conversation), 0),
    (SELECT count(*) FROM (SELECT 1 FROM messages m
        WHERE m.conversation = own.conversation AND m.sequence > own.read
            AND m.by_account <> ?1 AND m.text IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM hidden h WHERE h.account = ?1
                AND h.conversation = m.conversation AND h.sequence = m.sequence)
        LIMIT ?4))
FROM members own JOIN conversations c ON c.id = own.conversation
WHERE own.account = ?1 AND own.conversation > ?2
ORDER BY own.conversation LIMIT ?3";

impl Reader {
    /// The direct conversation of an account with the one whose name has this key.
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

    /// Up to `limit` conversations of an account, in order of their numbers, after `after`.
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
}

fn conversation(row: &Row<'_>) -> Result<ConversationRow> {
    Ok(ConversationRow {
        id: ConversationId(number(row, 0)?),
        progress: Progress {
            delivered: Sequence(number(row, 1)?),
            read: Sequence(number(row, 2)?),
        },
        peer: number_or_none(row, 3)?.map(AccountId),
        peer_name: row.get(4)?,
        sequence_last: Sequence(number(row, 5)?),
        unread: number(row, 6)?,
    })
}
