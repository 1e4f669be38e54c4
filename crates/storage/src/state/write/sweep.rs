//! Removes what deletions left behind, a few rows per log entry: of accounts, of messages with
//! reactions, of forgotten messages, of empty rooms.
//!
//! Always true: how much goes depends on the entries only, never on how they are grouped into
//! transactions; and no entry removes more than `SWEEP_ROWS_PER_ENTRY` rows, of whatever tables.
//! What is left counts for the account that stored it until it is removed, and then no longer.

use conclave_core::{
    AccountId, ConversationId, Sequence,
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

/// The part of it that the state counts.
const OF_MESSAGES: &str = "DELETE FROM messages WHERE position IN
    (SELECT position FROM messages WHERE conversation = ?1 ORDER BY sequence LIMIT ?2)
    RETURNING by_account, ifnull(octet_length(text), 0)";

/// What goes with an account later than the account itself and its memberships.
const OF_AN_ACCOUNT: [Removal; 2] = [
    (
        "DELETE FROM invitations WHERE (conversation, account) IN
        (SELECT conversation, account FROM invitations WHERE account = ?1
            ORDER BY conversation LIMIT ?2)",
        None,
    ),
    (
        "DELETE FROM hidden WHERE (account, conversation, sequence) IN
        (SELECT account, conversation, sequence FROM hidden WHERE account = ?1
            ORDER BY conversation, sequence LIMIT ?2)",
        None,
    ),
];

/// Blocks by account `?1`, and of it; `?2` rows.
const BLOCKS: [&str; 2] = [
    "DELETE FROM blocks WHERE (account, other) IN
        (SELECT account, other FROM blocks WHERE account = ?1 ORDER BY other LIMIT ?2)
        RETURNING account, other",
    "DELETE FROM blocks WHERE (account, other) IN
        (SELECT account, other FROM blocks WHERE other = ?1 ORDER BY account LIMIT ?2)
        RETURNING account, other",
];

/// Something that was deleted and has left rows behind.
pub(super) enum Orphan {
    /// A conversation without members.
    Conversation(ConversationId),
    /// A deleted message with reactions.
    Message(ConversationId, Sequence),
    /// Messages of a conversation that are forgotten, up to a sequence.
    Forgotten(ConversationId, Sequence),
    /// A deleted account.
    Account(AccountId),
}

impl Writer {
    /// Notes for the sweep that something was deleted.
    pub(super) fn add_orphan(&mut self, orphan: Orphan) -> Result<(), ApplyError> {
        self.meta.orphan_last += 1;
        self.meta.orphans += 1;
        let number = stored(self.meta.orphan_last);
        let parts = match orphan {
            Orphan::Conversation(id) => [Some(id.0), None, None, None],
            Orphan::Message(id, sequence) => [Some(id.0), Some(sequence.0), None, None],
            Orphan::Account(account) => [None, None, Some(account.0), None],
            Orphan::Forgotten(id, through) => [Some(id.0), None, None, Some(through.0)],
        };
        let [conversation, sequence, account, through] = parts.map(|part| part.map(stored));
        let sql = "INSERT INTO orphans (number, conversation, sequence, account, through)
            VALUES (?1, ?2, ?3, ?4, ?5)";
        let row = params![number, conversation, sequence, account, through];
        self.change_one(sql, row)
    }

    /// Sweeps once; called at the end of every entry.
    pub(crate) fn sweep(&mut self) -> Result<(), ApplyError> {
        let mut left = SWEEP_ROWS_PER_ENTRY;
        while self.meta.orphans > 0 && left > 0 {
            let (number, orphan) = self.first_orphan()?;
            let is_done = match orphan {
                Orphan::Conversation(id) => self.sweep_conversation(id, &mut left)?,
                Orphan::Message(id, sequence) => self.sweep_reactions(id, sequence, &mut left)?,
                Orphan::Forgotten(id, through) => self.sweep_forgotten(id, through, &mut left)?,
                Orphan::Account(account) => self.sweep_account(account, &mut left)?,
            };
            if is_done {
                self.run("DELETE FROM orphans WHERE number = ?1", [stored(number)])?;
                self.meta.orphans -= 1;
                // What has left nothing behind costs a row, too.
                left = left.saturating_sub(1);
            }
        }
        Ok(())
    }

    fn first_orphan(&self) -> Result<(u64, Orphan), ApplyError> {
        let sql = "SELECT number, conversation, sequence, account, through FROM orphans
            ORDER BY number LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let row = statement.query_row([], |row| {
            let part = |column| number_or_none(row, column);
            Ok((number(row, 0)?, [part(1)?, part(2)?, part(3)?, part(4)?]))
        })?;
        let (first, parts) = row;
        let orphan = match parts {
            [Some(id), None, None, None] => Orphan::Conversation(ConversationId(id)),
            [Some(id), Some(sequence), None, None] => {
                Orphan::Message(ConversationId(id), Sequence(sequence))
            }
            [None, None, Some(id), None] => Orphan::Account(AccountId(id)),
            [Some(id), None, None, Some(through)] => {
                Orphan::Forgotten(ConversationId(id), Sequence(through))
            }
            _ => return Err(ApplyError::Contradiction("an orphan is not one thing")),
        };
        Ok((first, orphan))
    }

    /// Removes what is left of forgotten messages: their reactions, and what members have hidden.
    fn sweep_forgotten(
        &mut self,
        id: ConversationId,
        through: Sequence,
        left: &mut usize,
    ) -> Result<bool, ApplyError> {
        let sql = "DELETE FROM reactions WHERE (conversation, sequence, account, reaction) IN
            (SELECT conversation, sequence, account, reaction FROM reactions
                WHERE conversation = ?1 AND sequence <= ?2
                ORDER BY sequence, account, reaction LIMIT ?3)
            RETURNING account, 0";
        let key = params![stored(id.0), stored(through.0), count(*left)];
        *left -= self.run_and_free(sql, key, REACTION_COST_BYTES)?;
        if *left == 0 {
            return Ok(false);
        }
        let sql = "DELETE FROM hidden WHERE (account, conversation, sequence) IN
            (SELECT account, conversation, sequence FROM hidden INDEXED BY hidden_by_message
                WHERE conversation = ?1 AND sequence <= ?2
                ORDER BY sequence, account LIMIT ?3)";
        *left -= self.run(sql, params![stored(id.0), stored(through.0), count(*left)])?;
        Ok(*left > 0)
    }

    fn sweep_reactions(
        &mut self,
        id: ConversationId,
        sequence: Sequence,
        left: &mut usize,
    ) -> Result<bool, ApplyError> {
        let sql = "DELETE FROM reactions WHERE (conversation, sequence, account, reaction) IN
            (SELECT conversation, sequence, account, reaction FROM reactions
                WHERE conversation = ?1 AND sequence = ?2
                ORDER BY account, reaction LIMIT ?3)
            RETURNING account, 0";
        let key = params![stored(id.0), stored(sequence.0), count(*left)];
        *left -= self.run_and_free(sql, key, REACTION_COST_BYTES)?;
        Ok(*left > 0)
    }

    /// Removes the memberships of an account, which may leave conversations without members, and
    /// what else there is of it.
    fn sweep_account(&mut self, account: AccountId, left: &mut usize) -> Result<bool, ApplyError> {
        let sql = "SELECT conversation FROM members WHERE account = ?1
            ORDER BY conversation LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let key = params![stored(account.0), count(*left)];
        let found = statement.query_map(key, |row| number(row, 0).map(ConversationId))?;
        let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
        drop(statement);
        for conversation in &found {
            self.remove_member(*conversation, account)?;
        }
        *left -= found.len();
        for sql in BLOCKS {
            if *left == 0 {
                return Ok(false);
            }
            let mut statement = self.connection.prepare_cached(sql)?;
            let key = params![stored(account.0), count(*left)];
            let pair = |row: &Row<'_>| Ok((AccountId(number(row, 0)?), AccountId(number(row, 1)?)));
            let gone = statement.query_map(key, pair)?;
            let gone = gone.collect::<rusqlite::Result<Vec<_>>>()?;
            drop(statement);
            for pair in &gone {
                self.caches.get_mut().blocks.remove(pair);
            }
            *left -= gone.len();
        }
        Ok(*left > 0 && self.sweep_rows(&OF_AN_ACCOUNT, account.0, left)?)
    }

    /// Removes rows in the order of the statements; returns whether nothing is left.
    fn sweep_rows(
        &mut self,
        statements: &[Removal],
        id: u64,
        left: &mut usize,
    ) -> Result<bool, ApplyError> {
        for (sql, each) in statements {
            let key = params![stored(id), count(*left)];
            let removed = match each {
                Some(each) => self.run_and_free(sql, key, *each)?,
                None => self.run(sql, key)?,
            };
            if *sql == OF_MESSAGES {
                self.meta.messages -= removed as u64;
            }
            *left -= removed;
            if *left == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn sweep_conversation(
        &mut self,
        id: ConversationId,
        left: &mut usize,
    ) -> Result<bool, ApplyError> {
        self.caches.get_mut().conversations.remove(&id);
        if !self.sweep_rows(&OF_A_CONVERSATION, id.0, left)? {
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
