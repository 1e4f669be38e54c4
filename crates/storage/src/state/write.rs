//! Writes facts: each event becomes rows. Nothing is decided here.
//!
//! Always true: a cache changes with its row, in the same function.

use conclave_core::{
    Account, AccountId, Conversation, ConversationId, Event, Membership, Position, Sequence,
    Session, SessionId,
};
use rusqlite::{OptionalExtension as _, Params, params};

use super::{ApplyError, column::number, column::stored, writer::Writer};

impl Writer {
    /// Runs a statement that must change exactly one row.
    fn change_one(&self, sql: &str, params: impl Params) -> Result<(), ApplyError> {
        match self.connection.prepare_cached(sql)?.execute(params)? {
            1 => Ok(()),
            _ => Err(ApplyError::Contradiction(
                "an event is about a row that is not there",
            )),
        }
    }

    pub(super) fn run(&self, sql: &str, params: impl Params) -> Result<usize, ApplyError> {
        Ok(self.connection.prepare_cached(sql)?.execute(params)?)
    }

    /// Writes one event.
    pub(super) fn write(&mut self, position: Position, event: &Event) -> Result<(), ApplyError> {
        match event {
            Event::MessageSent { .. } => self.write_message(position, event),
            Event::AccountCreated { .. } => self.write_account(event),
            Event::AccountDeleted { account } => self.delete_account(*account),
            Event::SessionOpened { .. }
            | Event::SessionRenewed { .. }
            | Event::SessionClosed { .. }
            | Event::SessionForgotten { .. } => self.write_session(event),
            Event::ConversationOpened { .. } => self.write_conversation(event),
            Event::PositionAdvanced {
                conversation,
                account,
                progress,
            } => {
                let sql = "UPDATE members SET delivered = ?3, read = ?4
                    WHERE conversation = ?1 AND account = ?2";
                let (delivered, read) = (stored(progress.delivered.0), stored(progress.read.0));
                let key = (stored(conversation.0), stored(account.0));
                self.change_one(sql, params![key.0, key.1, delivered, read])?;
                let member = Membership {
                    progress: *progress,
                };
                let caches = self.caches.get_mut();
                caches.members.insert((*conversation, *account), member);
                Ok(())
            }
            Event::MessageHidden {
                conversation,
                sequence,
                account,
            } => {
                let sql = "INSERT INTO hidden (account, conversation, sequence)
                    VALUES (?1, ?2, ?3)";
                let row = [account.0, conversation.0, sequence.0].map(stored);
                self.change_one(sql, row)
            }
            Event::MessageDeleted {
                conversation,
                sequence,
                at,
            } => {
                let sql = "UPDATE messages SET text = NULL, deleted_at = ?3
                    WHERE conversation = ?1 AND sequence = ?2";
                let row = [conversation.0, sequence.0, at.0].map(stored);
                self.change_one(sql, row)
            }
        }
    }

    fn write_message(&mut self, position: Position, event: &Event) -> Result<(), ApplyError> {
        let Event::MessageSent {
            conversation,
            sequence,
            by,
            at,
            text,
        } = event
        else {
            unreachable!("the caller has looked");
        };
        let sql = "INSERT INTO messages
                (position, conversation, sequence, by_account, sent_at, text, deleted_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL)";
        self.change_one(
            sql,
            params![
                stored(position.0),
                stored(conversation.0),
                stored(sequence.0),
                stored(by.0),
                stored(at.0),
                text.as_str()
            ],
        )?;
        if let Some(known) = self.caches.get_mut().conversations.get_mut(conversation) {
            known.sequence_last = *sequence;
        }
        Ok(())
    }

    fn write_account(&mut self, event: &Event) -> Result<(), ApplyError> {
        let Event::AccountCreated {
            account,
            name,
            password_hash,
            at,
        } = event
        else {
            unreachable!("the caller has looked");
        };
        let sql = "INSERT INTO accounts
                (id, name, key, password_hash, password_version, created_at)
            VALUES (?1, ?2, ?3, ?4, 1, ?5)";
        let key = name.key();
        let (id, since) = (stored(account.0), stored(at.0));
        self.change_one(sql, params![id, name.as_str(), key, password_hash, since])?;
        self.meta.account_last = *account;
        self.meta.accounts += 1;
        let row = Account {
            id: *account,
            password_version: 1,
        };
        let caches = self.caches.get_mut();
        caches.accounts.insert(*account, row);
        caches.keys.insert(key, *account);
        Ok(())
    }

    /// Removes the account at once, and notes what is left of it for the sweep.
    fn delete_account(&mut self, account: AccountId) -> Result<(), ApplyError> {
        let id = stored(account.0);
        let sql = "SELECT key FROM accounts WHERE id = ?1";
        let key: String = self
            .connection
            .prepare_cached(sql)?
            .query_row([id], |row| row.get(0))?;
        self.change_one("DELETE FROM accounts WHERE id = ?1", [id])?;
        self.meta.accounts -= 1;
        let caches = self.caches.get_mut();
        caches.accounts.remove(&account);
        caches.keys.remove(key.as_str());
        for conversation in self.conversations_of(account)? {
            self.leave(conversation, account)?;
        }
        let sql = "SELECT 1 FROM hidden WHERE account = ?1 LIMIT 1";
        if self.exists(sql, id)? {
            self.add_orphan(None, Some(account))?;
        }
        Ok(())
    }

    fn conversations_of(&self, account: AccountId) -> Result<Vec<ConversationId>, ApplyError> {
        let sql = "SELECT conversation FROM members WHERE account = ?1 ORDER BY conversation";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([stored(account.0)], |row| number(row, 0))?;
        let ids = rows.map(|id| id.map(ConversationId));
        Ok(ids.collect::<rusqlite::Result<Vec<_>>>()?)
    }

    fn leave(&mut self, id: ConversationId, account: AccountId) -> Result<(), ApplyError> {
        let sql = "DELETE FROM members WHERE conversation = ?1 AND account = ?2";
        self.change_one(sql, [stored(id.0), stored(account.0)])?;
        self.caches.get_mut().members.remove(&(id, account));
        let sql = "SELECT 1 FROM members WHERE conversation = ?1 LIMIT 1";
        if !self.exists(sql, stored(id.0))? {
            self.add_orphan(Some(id), None)?;
        }
        Ok(())
    }

    fn exists(&self, sql: &str, key: i64) -> Result<bool, ApplyError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row([key], |_| Ok(())).optional()?.is_some())
    }

    fn add_orphan(
        &mut self,
        conversation: Option<ConversationId>,
        account: Option<AccountId>,
    ) -> Result<(), ApplyError> {
        self.meta.orphan_last += 1;
        self.meta.orphans += 1;
        let number = stored(self.meta.orphan_last);
        let conversation = conversation.map(|id| stored(id.0));
        let account = account.map(|id| stored(id.0));
        let sql = "INSERT INTO orphans (number, conversation, account) VALUES (?1, ?2, ?3)";
        self.change_one(sql, params![number, conversation, account])
    }

    fn write_conversation(&mut self, event: &Event) -> Result<(), ApplyError> {
        let Event::ConversationOpened {
            conversation,
            members,
            at,
        } = event
        else {
            unreachable!("the caller has looked");
        };
        let (low, high) = *members;
        let sql = "INSERT INTO conversations (id, direct_low, direct_high, opened_at)
            VALUES (?1, ?2, ?3, ?4)";
        let row = [conversation.0, low.0, high.0, at.0].map(stored);
        self.change_one(sql, row)?;
        // Somebody who writes to itself is one member.
        let members_distinct = if low == high {
            &[low][..]
        } else {
            &[low, high]
        };
        for member in members_distinct {
            let sql = "INSERT INTO members (conversation, account, delivered, read)
                VALUES (?1, ?2, 0, 0)";
            self.change_one(sql, [stored(conversation.0), stored(member.0)])?;
            let key = (*conversation, *member);
            self.caches
                .get_mut()
                .members
                .insert(key, Membership::default());
        }
        self.meta.conversation_last = *conversation;
        let row = Conversation {
            id: *conversation,
            direct: Some(*members),
            sequence_last: Sequence(0),
        };
        let caches = self.caches.get_mut();
        caches.conversations.insert(*conversation, row);
        caches.directs.insert(*members, *conversation);
        Ok(())
    }

    fn write_session(&mut self, event: &Event) -> Result<(), ApplyError> {
        match event {
            Event::SessionOpened {
                session,
                account,
                token,
                at,
                expires_at,
            } => {
                let sql = "INSERT INTO sessions (id, account, token, opened_at, expires_at, closed)
                    VALUES (?1, ?2, ?3, ?4, ?5, 0)";
                let [id, of, since, until] = [session.0, account.0, at.0, expires_at.0].map(stored);
                self.change_one(sql, params![id, of, token.0, since, until])?;
                self.meta.session_last = *session;
                let row = Session {
                    id: *session,
                    account: *account,
                    closed: false,
                    expires_at: *expires_at,
                    requests: Default::default(),
                };
                self.caches.get_mut().sessions.insert(*session, row);
                Ok(())
            }
            Event::SessionRenewed {
                session,
                expires_at,
            } => {
                let sql = "UPDATE sessions SET expires_at = ?2 WHERE id = ?1";
                self.change_one(sql, [stored(session.0), stored(expires_at.0)])?;
                self.in_cache(*session, |row| row.expires_at = *expires_at);
                Ok(())
            }
            Event::SessionClosed { session, forget_at } => {
                let sql = "UPDATE sessions SET expires_at = ?2, closed = 1 WHERE id = ?1";
                self.change_one(sql, [stored(session.0), stored(forget_at.0)])?;
                self.in_cache(*session, |row| {
                    row.expires_at = *forget_at;
                    row.closed = true;
                });
                Ok(())
            }
            Event::SessionForgotten { session } => {
                let id = stored(session.0);
                self.change_one("DELETE FROM sessions WHERE id = ?1", [id])?;
                self.run("DELETE FROM answers WHERE session = ?1", [id])?;
                self.caches.get_mut().sessions.remove(session);
                Ok(())
            }
            _ => unreachable!("the caller has looked"),
        }
    }

    /// Changes a session's cached row, if it is cached.
    pub(super) fn in_cache(&mut self, id: SessionId, change: impl FnOnce(&mut Session)) {
        if let Some(row) = self.caches.get_mut().sessions.get_mut(&id) {
            change(row);
        }
    }
}
