//! Writes messages, their edits, deletions and reactions, and the positions of members.

use std::collections::BTreeSet;

use conclave_core::{
    AccountId, ConversationId, Kind, MessageEvent, MessageText, Position, Progress, Reaction,
    SentMessage, Sequence,
    limits::{MESSAGE_COST_BYTES, REACTION_COST_BYTES},
};
use rusqlite::{OptionalExtension as _, params};

use crate::state::{
    ApplyError,
    column::{number, stored},
    sent::sent_up_to,
    write::{sweep::Orphan, writer::Writer},
};

impl Writer {
    fn write_sent(&mut self, position: Position, message: &SentMessage) -> Result<(), ApplyError> {
        let SentMessage {
            conversation,
            sequence,
            by,
            at,
            text,
            reply_to,
            action,
            ordinal,
            mentions,
        } = message;
        let sql = "INSERT INTO messages
                (position, conversation, sequence, by_account, sent_at, text, deleted_at,
                edited_at, reply_to, action, ordinal, in_room, log_time)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, NULL, ?7, ?8, ?9, ?10, ?11)";
        let in_room = self.is_room(*conversation)?;
        // Builds without retention leave it out.
        let log_time = self
            .meta
            .aged_since
            .map(|_| stored(self.meta.now.log_time.0));
        self.change_one(
            sql,
            params![
                stored(position.0),
                stored(conversation.0),
                stored(sequence.0),
                stored(by.0),
                stored(at.0),
                text.as_str(),
                reply_to.map(|sequence| stored(sequence.0)),
                action,
                stored(*ordinal),
                in_room,
                log_time,
            ],
        )?;
        let sql = "UPDATE conversations SET message_last = ?2 WHERE id = ?1";
        self.run(sql, [conversation.0, position.0].map(stored))?;
        self.meta.messages += 1;
        self.count_stored(*by, MESSAGE_COST_BYTES + bytes(text), 0)?;
        self.write_mentions(*conversation, *sequence, mentions)?;
        let caches = self.caches.get_mut();
        if let Some(known) = caches.conversations.get_mut(conversation) {
            known.sequence_last = *sequence;
        }
        if let Some(known) = caches.members.get_mut(&(*conversation, *by)) {
            known.sent = *ordinal;
        }
        Ok(())
    }

    /// Counts that a message has a text of another size, for the account that sent it.
    fn count_other_text(
        &mut self,
        conversation: ConversationId,
        sequence: Sequence,
        bytes: u64,
    ) -> Result<(), ApplyError> {
        let sql = "SELECT by_account, ifnull(octet_length(text), 0) FROM messages
            WHERE conversation = ?1 AND sequence = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let key = [conversation.0, sequence.0].map(stored);
        let (by, before) =
            statement.query_row(key, |row| Ok((AccountId(number(row, 0)?), number(row, 1)?)))?;
        drop(statement);
        self.count_stored(by, bytes, before)
    }

    /// Returns whether a conversation is a room; one that does not exist is none.
    fn is_room(&self, conversation: ConversationId) -> Result<bool, ApplyError> {
        if let Some(known) = self.caches.borrow_mut().conversations.get(&conversation) {
            return Ok(matches!(known.kind, Kind::Room { .. }));
        }
        let sql = "SELECT direct_low IS NULL FROM conversations WHERE id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row([stored(conversation.0)], |row| row.get(0));
        Ok(found.optional()?.unwrap_or(false))
    }

    fn write_mentions(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
        mentions: &[AccountId],
    ) -> Result<(), ApplyError> {
        let sql = "INSERT INTO mentions (conversation, sequence, account, late)
            VALUES (?1, ?2, ?3, 0)";
        for account in mentions {
            self.change_one(sql, [conversation.0, sequence.0, account.0].map(stored))?;
        }
        Ok(())
    }

    /// Writes the mentions of an edited message. What stays is not touched, so that it counts once;
    /// what is new to a member that has read the message is late.
    fn rewrite_mentions(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
        mentions: &[AccountId],
    ) -> Result<(), ApplyError> {
        let key = [conversation.0, sequence.0].map(stored);
        let sql = "SELECT account FROM mentions WHERE conversation = ?1 AND sequence = ?2
            ORDER BY account";
        let mut statement = self.connection.prepare_cached(sql)?;
        let before = statement.query_map(key, |row| number(row, 0).map(AccountId))?;
        let before = before.collect::<Result<BTreeSet<AccountId>, _>>()?;
        let after = BTreeSet::from_iter(mentions.iter().copied());
        let sql = "DELETE FROM mentions WHERE conversation = ?1 AND sequence = ?2 AND account = ?3";
        for account in before.difference(&after) {
            self.change_one(sql, [conversation.0, sequence.0, account.0].map(stored))?;
        }
        let sql = "INSERT INTO mentions (conversation, sequence, account, late)
            VALUES (?1, ?2, ?3, EXISTS (SELECT 1 FROM members
                WHERE conversation = ?1 AND account = ?3 AND read >= ?2))";
        for account in after.difference(&before) {
            self.change_one(sql, [conversation.0, sequence.0, account.0].map(stored))?;
        }
        Ok(())
    }

    /// Notes that a member has read what came late, up to a sequence.
    pub(super) fn read_late_mentions(
        &self,
        conversation: ConversationId,
        account: AccountId,
        read: Sequence,
    ) -> Result<(), ApplyError> {
        let sql = "UPDATE mentions SET late = 0
            WHERE account = ?1 AND conversation = ?2 AND sequence <= ?3 AND late = 1";
        self.run(sql, [account.0, conversation.0, read.0].map(stored))?;
        Ok(())
    }

    fn forget_mentions(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
    ) -> Result<(), ApplyError> {
        let sql = "DELETE FROM mentions WHERE conversation = ?1 AND sequence = ?2";
        self.run(sql, [conversation.0, sequence.0].map(stored))?;
        Ok(())
    }

    pub(super) fn write_message(
        &mut self,
        position: Position,
        event: &MessageEvent,
    ) -> Result<(), ApplyError> {
        match event {
            MessageEvent::Sent(message) => self.write_sent(position, message),
            MessageEvent::Edited {
                conversation,
                sequence,
                at,
                text,
                mentions,
            } => {
                self.count_other_text(*conversation, *sequence, bytes(text))?;
                let sql = "UPDATE messages SET text = ?3, edited_at = ?4
                    WHERE conversation = ?1 AND sequence = ?2";
                let [id, place, since] = [conversation.0, sequence.0, at.0].map(stored);
                self.change_one(sql, params![id, place, text.as_str(), since])?;
                self.rewrite_mentions(*conversation, *sequence, mentions)
            }
            MessageEvent::Deleted {
                conversation,
                sequence,
                at,
            } => {
                self.count_other_text(*conversation, *sequence, 0)?;
                let sql = "UPDATE messages SET text = NULL, deleted_at = ?3
                    WHERE conversation = ?1 AND sequence = ?2";
                self.change_one(sql, [conversation.0, sequence.0, at.0].map(stored))?;
                self.forget_mentions(*conversation, *sequence)?;
                // There are few kinds of reactions to a message, and perhaps many reactions.
                // Without their counts nothing shows them.
                let sql = "DELETE FROM reaction_counts WHERE conversation = ?1 AND sequence = ?2";
                let key = [conversation.0, sequence.0].map(stored);
                if self.run(sql, key)? > 0 {
                    self.add_orphan(Orphan::Message(*conversation, *sequence))?;
                }
                Ok(())
            }
            MessageEvent::Hidden {
                conversation,
                sequence,
                account,
            } => {
                let sql = "INSERT INTO hidden (account, conversation, sequence)
                    VALUES (?1, ?2, ?3)";
                self.change_one(sql, [account.0, conversation.0, sequence.0].map(stored))
            }
            MessageEvent::ReactionChanged {
                conversation,
                sequence,
                account,
                reaction,
                present,
                count: _,
            } => self.write_reaction(*conversation, *sequence, *account, reaction, *present),
        }
    }

    fn write_reaction(
        &mut self,
        conversation: ConversationId,
        sequence: Sequence,
        account: AccountId,
        reaction: &Reaction,
        present: bool,
    ) -> Result<(), ApplyError> {
        let [id, place, by] = [conversation.0, sequence.0, account.0].map(stored);
        let (row, count) = match present {
            true => (
                "INSERT INTO reactions (conversation, sequence, account, reaction)
                VALUES (?1, ?2, ?3, ?4)",
                "INSERT INTO reaction_counts (conversation, sequence, reaction, count)
                VALUES (?1, ?2, ?3, 1)
                ON CONFLICT (conversation, sequence, reaction)
                    DO UPDATE SET count = count + 1",
            ),
            false => (
                "DELETE FROM reactions WHERE conversation = ?1 AND sequence = ?2
                    AND account = ?3 AND reaction = ?4",
                "UPDATE reaction_counts SET count = count - 1
                WHERE conversation = ?1 AND sequence = ?2 AND reaction = ?3",
            ),
        };
        self.change_one(row, params![id, place, by, reaction.as_str()])?;
        match present {
            true => self.count_stored(account, REACTION_COST_BYTES, 0)?,
            false => self.count_stored(account, 0, REACTION_COST_BYTES)?,
        }
        self.change_one(count, params![id, place, reaction.as_str()])?;
        if !present {
            let sql = "DELETE FROM reaction_counts WHERE conversation = ?1
                AND sequence = ?2 AND reaction = ?3 AND count = 0";
            self.run(sql, params![id, place, reaction.as_str()])?;
        }
        Ok(())
    }

    pub(super) fn write_progress(
        &mut self,
        position: Position,
        conversation: ConversationId,
        account: AccountId,
        progress: Progress,
    ) -> Result<(), ApplyError> {
        // How many of its own messages the member has read: the number of the last of them, so that
        // no reader counts what is unread.
        let sql = concat!(
            "UPDATE members SET delivered = ?3, read = ?4, advanced_at = ?5, sent_read = ",
            sent_up_to!("?1", "?2", "?4"),
            " WHERE conversation = ?1 AND account = ?2"
        );
        let row = [
            conversation.0,
            account.0,
            progress.delivered.0,
            progress.read.0,
            position.0,
        ];
        self.change_one(sql, row.map(stored))?;
        self.read_late_mentions(conversation, account, progress.read)?;
        if let Some(known) = self
            .caches
            .get_mut()
            .members
            .get_mut(&(conversation, account))
        {
            known.progress = progress;
        }
        Ok(())
    }

    /// Returns how many of its messages in a conversation an account had sent up to a sequence.
    pub(super) fn sent_up_to(
        &self,
        conversation: ConversationId,
        account: AccountId,
        sequence: Sequence,
    ) -> Result<u64, ApplyError> {
        let sql = concat!("SELECT ", sent_up_to!("?1", "?2", "?3"));
        let key = [conversation.0, account.0, sequence.0].map(stored);
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row(key, |row| number(row, 0))?)
    }
}

fn bytes(text: &MessageText) -> u64 {
    text.as_str().len() as u64
}
