//! What rules read: the state inside the open transaction, from memory where possible.

use conclave_core::{
    Account, AccountId, Answer, Broken, Conversation, ConversationId, Digest, Lookup, Membership,
    MessageHead, OnceId, Progress, RequestWindow, Sequence, Session, SessionId, Timestamp,
    TokenHash,
    limits::{ONCE_ANSWER_MS, REQUEST_WINDOW, SESSIONS_PER_ACCOUNT_MAX},
    lookup::Remembered,
};
use rusqlite::{OptionalExtension as _, Params, Result, Row, params};

use super::{
    column::{bound, count, from_bits, number, sought},
    writer::Writer,
};

fn broken(error: &impl std::fmt::Display) -> Broken {
    Broken(error.to_string())
}

impl Writer {
    /// The one row of a query, or `None`.
    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>, Broken> {
        let found = self.connection.prepare_cached(sql);
        found
            .and_then(|mut statement| statement.query_row(params, read).optional())
            .map_err(|error| broken(&error))
    }

    /// The numbers in the first column of a query.
    fn numbers(&self, sql: &str, params: impl Params) -> Result<Vec<u64>, Broken> {
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map(params, |row| number(row, 0))?;
            rows.collect::<Result<Vec<_>>>()
        };
        read().map_err(|error| broken(&error))
    }

    fn load_session(&self, id: SessionId) -> Result<Option<Session>, Broken> {
        let sql = "SELECT account, closed, expires_at FROM sessions WHERE id = ?1";
        let found = self.one(sql, [sought(id.0)], |row| {
            Ok(Session {
                id,
                account: AccountId(number(row, 0)?),
                closed: row.get(1)?,
                expires_at: Timestamp(number(row, 2)?),
                requests: RequestWindow::default(),
            })
        })?;
        let Some(mut session) = found else {
            return Ok(None);
        };
        let sql = "SELECT number FROM answers WHERE session = ?1";
        for used in self.numbers(sql, [sought(id.0)])? {
            session.requests.record(used);
        }
        Ok(Some(session))
    }
}

fn remembered(digest: u64, json: &str) -> Result<Remembered, Broken> {
    let answer: Answer = serde_json::from_str(json).map_err(|error| broken(&error))?;
    Ok(Remembered {
        digest: Digest(digest),
        answer,
    })
}

impl Lookup for Writer {
    fn account(&self, id: AccountId) -> Result<Option<Account>, Broken> {
        if let Some(account) = self.caches.borrow().accounts.get(&id) {
            return Ok(Some(*account));
        }
        let sql = "SELECT password_version FROM accounts WHERE id = ?1";
        let found = self.one(sql, [sought(id.0)], |row| {
            Ok(Account {
                id,
                password_version: number(row, 0)?,
            })
        })?;
        if let Some(account) = found {
            self.caches.borrow_mut().accounts.insert(id, account);
        }
        Ok(found)
    }

    fn account_by_key(&self, key: &str) -> Result<Option<Account>, Broken> {
        let known = self.caches.borrow().keys.get(key).copied();
        if let Some(id) = known {
            return self.account(id);
        }
        let sql = "SELECT id FROM accounts WHERE key = ?1";
        let Some(id) = self.one(sql, [key], |row| number(row, 0).map(AccountId))? else {
            return Ok(None);
        };
        self.caches.borrow_mut().keys.insert(key.to_owned(), id);
        self.account(id)
    }

    fn accounts(&self) -> Result<u64, Broken> {
        Ok(self.meta.accounts)
    }

    fn account_last(&self) -> Result<AccountId, Broken> {
        Ok(self.meta.account_last)
    }

    fn session(&self, id: SessionId) -> Result<Option<Session>, Broken> {
        if let Some(session) = self.caches.borrow().sessions.get(&id) {
            return Ok(Some(*session));
        }
        let found = self.load_session(id)?;
        if let Some(session) = found {
            self.caches.borrow_mut().sessions.insert(id, session);
        }
        Ok(found)
    }

    fn token_in_use(&self, token: &TokenHash) -> Result<bool, Broken> {
        let sql = "SELECT 1 FROM sessions WHERE token = ?1";
        Ok(self.one(sql, [token.0], |_| Ok(()))?.is_some())
    }

    fn sessions_of(&self, account: AccountId) -> Result<Vec<SessionId>, Broken> {
        let sql = "SELECT id FROM sessions WHERE account = ?1 AND closed = 0 ORDER BY id LIMIT ?2";
        // One more than the bound, so that a broken bound is not hidden.
        let limit = count(SESSIONS_PER_ACCOUNT_MAX + 1);
        let numbers = self.numbers(sql, params![sought(account.0), limit])?;
        Ok(numbers.into_iter().map(SessionId).collect())
    }

    fn sessions_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionId>, Broken> {
        let sql = "SELECT id FROM sessions WHERE expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2";
        let numbers = self.numbers(sql, params![bound(now.0), count(limit)])?;
        Ok(numbers.into_iter().map(SessionId).collect())
    }

    fn session_last(&self) -> Result<SessionId, Broken> {
        Ok(self.meta.session_last)
    }

    fn remembered(&self, session: SessionId, asked: u64) -> Result<Option<Remembered>, Broken> {
        let sql = "SELECT digest, answer FROM answers
            WHERE session = ?1 AND slot = ?2 AND number = ?3";
        let key = params![
            sought(session.0),
            sought(asked % REQUEST_WINDOW),
            sought(asked)
        ];
        let read = |row: &Row<'_>| Ok((from_bits(row, 0)?, row.get::<_, String>(1)?));
        let found = self.one(sql, key, read)?;
        found
            .map(|(digest, json)| remembered(digest, &json))
            .transpose()
    }

    fn remembered_once(&self, id: &OnceId) -> Result<Option<Remembered>, Broken> {
        let sql = "SELECT digest, answer, at FROM once_answers WHERE id = ?1";
        let read = |row: &Row<'_>| {
            let at = Timestamp(number(row, 2)?);
            Ok((from_bits(row, 0)?, row.get::<_, String>(1)?, at))
        };
        match self.one(sql, [id.0], read)? {
            // Its row may stay a while; for the rules it is forgotten.
            Some((.., at)) if at.plus_ms(ONCE_ANSWER_MS) <= self.meta.log_time => Ok(None),
            Some((digest, json, _)) => remembered(digest, &json).map(Some),
            None => Ok(None),
        }
    }

    fn direct(&self, members: (AccountId, AccountId)) -> Result<Option<ConversationId>, Broken> {
        if let Some(id) = self.caches.borrow().directs.get(&members) {
            return Ok(Some(*id));
        }
        let sql = "SELECT id FROM conversations WHERE direct_low = ?1 AND direct_high = ?2";
        let key = [sought(members.0.0), sought(members.1.0)];
        let found = self.one(sql, key, |row| number(row, 0).map(ConversationId))?;
        if let Some(id) = found {
            self.caches.borrow_mut().directs.insert(members, id);
        }
        Ok(found)
    }

    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, Broken> {
        if let Some(conversation) = self.caches.borrow().conversations.get(&id) {
            return Ok(Some(*conversation));
        }
        let sql = "SELECT direct_low, direct_high,
                coalesce((SELECT max(sequence) FROM messages WHERE conversation = ?1), 0)
            FROM conversations WHERE id = ?1";
        let found = self.one(sql, [sought(id.0)], |row| {
            Ok(Conversation {
                id,
                direct: Some((AccountId(number(row, 0)?), AccountId(number(row, 1)?))),
                sequence_last: Sequence(number(row, 2)?),
            })
        })?;
        if let Some(conversation) = found {
            self.caches
                .borrow_mut()
                .conversations
                .insert(id, conversation);
        }
        Ok(found)
    }

    fn conversation_last(&self) -> Result<ConversationId, Broken> {
        Ok(self.meta.conversation_last)
    }

    fn membership(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<Option<Membership>, Broken> {
        let key = (conversation, account);
        if let Some(membership) = self.caches.borrow().members.get(&key) {
            return Ok(Some(*membership));
        }
        let sql = "SELECT delivered, read FROM members WHERE conversation = ?1 AND account = ?2";
        let found = self.one(sql, [sought(conversation.0), sought(account.0)], |row| {
            let progress = Progress {
                delivered: Sequence(number(row, 0)?),
                read: Sequence(number(row, 1)?),
            };
            Ok(Membership { progress })
        })?;
        if let Some(membership) = found {
            self.caches.borrow_mut().members.insert(key, membership);
        }
        Ok(found)
    }

    fn message(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
    ) -> Result<Option<MessageHead>, Broken> {
        let sql = "SELECT by_account, text IS NULL FROM messages
            WHERE conversation = ?1 AND sequence = ?2";
        self.one(sql, [sought(conversation.0), sought(sequence.0)], |row| {
            Ok(MessageHead {
                by: AccountId(number(row, 0)?),
                deleted: row.get(1)?,
            })
        })
    }

    fn is_hidden(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
        account: AccountId,
    ) -> Result<bool, Broken> {
        let sql = "SELECT 1 FROM hidden
            WHERE account = ?1 AND conversation = ?2 AND sequence = ?3";
        let key = [
            sought(account.0),
            sought(conversation.0),
            sought(sequence.0),
        ];
        Ok(self.one(sql, key, |_| Ok(()))?.is_some())
    }
}
