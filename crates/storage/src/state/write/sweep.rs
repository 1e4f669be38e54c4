//! Removes what deleted accounts and empty rooms left behind, a few rows per log entry.
//!
//! Always true: how much goes depends on the entries only, never on how they are grouped into
//! transactions; and no entry removes more than `SWEEP_ROWS_PER_ENTRY` rows, of whatever tables.

use conclave_core::{
    AccountId, ConversationId,
    limits::{MESSAGE_COST_BYTES, REACTION_COST_BYTES, SWEEP_ROWS_PER_ENTRY},
};
use rusqlite::{Row, params};

use super::writer::Writer;
use crate::state::{
    ApplyError,
    column::{count, number, number_or_none, stored},
};

/// A statement that removes rows, and the bytes that each of them counts for besides its text; for
/// these the statement returns the row's account and the bytes of its text.
type Removal = (&'static str, Option<u64>);

/// What goes with a conversation before the conversation itself: the rows of `?1`, `?2` of them.
const OF_A_CONVERSATION: [Removal; 5] = [
    (
        "DELETE FROM mentions WHERE (conversation, sequence, account) IN
        (SELECT conversation, sequence, account FROM mentions WHERE conversation = ?1
            ORDER BY sequence, account LIMIT ?2)",
        None,
    ),
    (
        "DELETE FROM reactions WHERE (conversation, sequence, account, reaction) IN
        (SELECT conversation, sequence, account, reaction FROM reactions WHERE conversation = ?1
            ORDER BY sequence, account, reaction LIMIT ?2)
        RETURNING account, 0",
        Some(REACTION_COST_BYTES),
    ),
    (
        "DELETE FROM reaction_counts WHERE (conversation, sequence, reaction) IN
        (SELECT conversation, sequence, reaction FROM reaction_counts WHERE conversation = ?1
            ORDER BY sequence, reaction LIMIT ?2)",
        None,
    ),
    // Of accounts that left a room before it was empty.
    (
        "DELETE FROM hidden WHERE (account, conversation, sequence) IN
        (SELECT account, conversation, sequence FROM hidden WHERE conversation = ?1
            ORDER BY account, sequence LIMIT ?2)",
        None,
    ),
    (OF_MESSAGES, Some(MESSAGE_COST_BYTES)),
];

const OF_MESSAGES: &str = "DELETE FROM messages WHERE position IN
    (SELECT position FROM messages WHERE conversation = ?1 ORDER BY sequence LIMIT ?2)
    RETURNING by_account, ifnull(octet_length(text), 0)";

/// What goes with an account later than the account itself.
const OF_AN_ACCOUNT: [Removal; 1] = [(
    "DELETE FROM hidden WHERE (account, conversation, sequence) IN
        (SELECT account, conversation, sequence FROM hidden WHERE account = ?1
            ORDER BY conversation, sequence LIMIT ?2)",
    None,
)];

impl Writer {
    /// Sweeps once; called at the end of every entry.
    pub(crate) fn sweep(&mut self) -> Result<(), ApplyError> {
        if self.meta.orphans == 0 {
            return Ok(());
        }
        let sql = "SELECT number, conversation, account FROM orphans ORDER BY number LIMIT 1";
        let (first, conversation, account) =
            self.connection.prepare_cached(sql)?.query_row([], |row| {
                Ok((
                    number(row, 0)?,
                    number_or_none(row, 1)?,
                    number_or_none(row, 2)?,
                ))
            })?;
        let is_done = match (conversation, account) {
            (Some(id), None) => self.sweep_conversation(ConversationId(id))?,
            (None, Some(id)) => self.sweep_rows(&OF_AN_ACCOUNT, id)?,
            _ => return Err(ApplyError::Contradiction("an orphan is not one thing")),
        };
        if is_done {
            self.run("DELETE FROM orphans WHERE number = ?1", [stored(first)])?;
            self.meta.orphans -= 1;
        }
        Ok(())
    }

    /// Removes rows in the order of the statements; returns whether nothing is left.
    fn sweep_rows(&mut self, statements: &[Removal], id: u64) -> Result<bool, ApplyError> {
        let mut left = SWEEP_ROWS_PER_ENTRY;
        for (sql, each) in statements {
            let key = params![stored(id), count(left)];
            let removed = match each {
                Some(each) => self.run_and_free(sql, key, *each)?,
                None => self.run(sql, key)?,
            };
            if *sql == OF_MESSAGES {
                self.meta.messages -= removed as u64;
            }
            left -= removed;
            if left == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn sweep_conversation(&mut self, id: ConversationId) -> Result<bool, ApplyError> {
        self.caches.get_mut().conversations.remove(&id);
        if !self.sweep_rows(&OF_A_CONVERSATION, id.0)? {
            return Ok(false);
        }
        let sql = "DELETE FROM conversations WHERE id = ?1 RETURNING direct_low, direct_high";
        let pair = |row: &Row<'_>| Ok((number_or_none(row, 0)?, number_or_none(row, 1)?));
        let members = self
            .connection
            .prepare_cached(sql)?
            .query_row([stored(id.0)], pair)?;
        if let (Some(low), Some(high)) = members {
            let directs = &mut self.caches.get_mut().directs;
            directs.remove(&(AccountId(low), AccountId(high)));
        }
        Ok(true)
    }
}
