//! Removes the oldest messages of a conversation, which are forgotten.
//!
//! The messages go at once, and with them what readers count by: mentions and numbers of reactions.
//! Reactions themselves, and what members have hidden, may be many and go with the sweep; without
//! their messages nothing shows them.
//!
//! Always true: what is unread, the next sequence and the next ordinal are what they would be with
//! the messages still there, less what is gone.

use std::collections::BTreeMap;

use conclave_core::{AccountId, ConversationId, Position, Sequence, limits::MESSAGE_COST_BYTES};
use rusqlite::{Row, params};

use super::{sweep::Orphan, writer::Writer};
use crate::state::{
    ApplyError,
    column::{Stored, number, stored},
};

/// What is forgotten of one account.
#[derive(Default)]
struct Gone {
    messages: u64,
    bytes: u64,
    /// The greatest ordinal of its messages that go.
    ordinal: u64,
}

impl Writer {
    /// Removes the messages of a conversation up to `through`.
    pub(super) fn forget(
        &mut self,
        position: Position,
        conversation: ConversationId,
        through: Sequence,
    ) -> Result<(), ApplyError> {
        let key = [conversation.0, through.0].map(stored);
        for (account, gone) in self.remove_messages(key)? {
            self.meta.messages -= gone.messages;
            let bytes = gone.messages * MESSAGE_COST_BYTES + gone.bytes;
            self.count_stored(account, 0, bytes)?;
            // One that is not a member any more begins anew when it comes back.
            let sql = "UPDATE members SET sent_forgotten = ?3
                WHERE conversation = ?1 AND account = ?2";
            self.run(sql, [conversation.0, account.0, gone.ordinal].map(stored))?;
        }
        for sql in [
            "DELETE FROM mentions WHERE conversation = ?1 AND sequence <= ?2",
            "DELETE FROM reaction_counts WHERE conversation = ?1 AND sequence <= ?2",
        ] {
            self.run(sql, key)?;
        }
        let sql = "UPDATE conversations SET forgotten = ?2, forgotten_at = ?3 WHERE id = ?1";
        self.change_one(sql, params![key[0], key[1], stored(position.0)])?;
        let conversations = &mut self.caches.get_mut().conversations;
        if let Some(known) = conversations.get_mut(&conversation) {
            known.forgotten = through;
        }
        let sql = "SELECT EXISTS (SELECT 1 FROM reactions
                WHERE conversation = ?1 AND sequence <= ?2)
            OR EXISTS (SELECT 1 FROM hidden INDEXED BY hidden_by_message
                WHERE conversation = ?1 AND sequence <= ?2)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let is_left: bool = statement.query_row(key, |row| row.get(0))?;
        drop(statement);
        match is_left {
            true => self.add_orphan(Orphan::Forgotten(conversation, through)),
            false => Ok(()),
        }
    }

    fn remove_messages(&self, key: [Stored; 2]) -> Result<BTreeMap<AccountId, Gone>, ApplyError> {
        let sql = "DELETE FROM messages WHERE conversation = ?1 AND sequence <= ?2
            RETURNING by_account, ifnull(octet_length(text), 0), ordinal";
        let mut statement = self.connection.prepare_cached(sql)?;
        let read = |row: &Row<'_>| {
            let by = AccountId(number(row, 0)?);
            Ok((by, number(row, 1)?, number(row, 2)?))
        };
        let mut accounts: BTreeMap<AccountId, Gone> = BTreeMap::new();
        for row in statement.query_map(key, read)? {
            let (by, bytes, ordinal) = row?;
            let gone = accounts.entry(by).or_default();
            gone.messages += 1;
            gone.bytes += bytes;
            gone.ordinal = gone.ordinal.max(ordinal);
        }
        Ok(accounts)
    }
}
