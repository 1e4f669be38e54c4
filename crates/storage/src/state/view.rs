//! What rules read: the state inside the open transaction, from memory where possible.

use conclave_core::{
    Account, AccountId, Answer, Broken, Conversation, ConversationId, Digest, Invite, InviteId,
    Kind, Lookup, MemberRole, Membership, MessageHead, MessageRef, OnceId, Progress, Reaction,
    RequestWindow, Sequence, Session, SessionId, Throttle, ThrottleKey, Timestamp, TokenHash,
    Webhook, WebhookId,
    limits::{
        ONCE_ANSWER_MS, REQUEST_WINDOW, ROOMS_PER_ACCOUNT_MAX, SESSIONS_PER_ACCOUNT_MAX,
        WEBHOOKS_PER_ROOM_MAX,
    },
    lookup::Remembered,
};
use rusqlite::{OptionalExtension as _, Params, Result, Row, params};

use super::{
    column::{
        account_role, bound, count, from_bits, member_role, number, number_or_none, sought, stored,
    },
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

    /// The number that a query counts.
    fn count_of(&self, sql: &str, params: impl Params) -> Result<u64, Broken> {
        let found = self.one(sql, params, |row| number(row, 0))?;
        Ok(found.unwrap_or(0))
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
        let sql = "SELECT password_version, role FROM accounts WHERE id = ?1";
        let found = self.one(sql, [sought(id.0)], |row| {
            Ok(Account {
                id,
                password_version: number(row, 0)?,
                role: account_role(row, 1)?,
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
                coalesce((SELECT max(sequence) FROM messages WHERE conversation = ?1), 0),
                public, members
            FROM conversations WHERE id = ?1";
        let found = self.one(sql, [sought(id.0)], |row| {
            let kind = match (number_or_none(row, 0)?, number_or_none(row, 1)?) {
                (Some(low), Some(high)) => Kind::Direct(AccountId(low), AccountId(high)),
                _ => Kind::Room {
                    public: row.get(3)?,
                    members: number(row, 4)?,
                },
            };
            Ok(Conversation {
                id,
                kind,
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
        let sql = "SELECT delivered, read, role,
                coalesce((SELECT ordinal FROM messages
                    WHERE conversation = ?1 AND by_account = ?2
                    ORDER BY sequence DESC LIMIT 1), 0)
            FROM members WHERE conversation = ?1 AND account = ?2";
        let found = self.one(sql, [sought(conversation.0), sought(account.0)], |row| {
            let progress = Progress {
                delivered: Sequence(number(row, 0)?),
                read: Sequence(number(row, 1)?),
            };
            Ok(Membership {
                progress,
                role: member_role(row, 2)?,
                sent: number(row, 3)?,
            })
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

    fn admins(&self) -> Result<u64, Broken> {
        Ok(self.meta.admins)
    }

    fn is_blocked(&self, account: AccountId, other: AccountId) -> Result<bool, Broken> {
        if let Some(blocked) = self.caches.borrow().blocks.get(&(account, other)) {
            return Ok(*blocked);
        }
        let sql = "SELECT 1 FROM blocks WHERE account = ?1 AND other = ?2";
        let key = [sought(account.0), sought(other.0)];
        let blocked = self.one(sql, key, |_| Ok(()))?.is_some();
        let mut caches = self.caches.borrow_mut();
        caches.blocks.insert((account, other), blocked);
        Ok(blocked)
    }

    fn blocks_of(&self, account: AccountId) -> Result<u64, Broken> {
        self.count_of(
            "SELECT count(*) FROM blocks WHERE account = ?1",
            [sought(account.0)],
        )
    }

    fn room_by_key(&self, key: &str) -> Result<Option<ConversationId>, Broken> {
        if let Some(id) = self.caches.borrow().room_keys.get(key) {
            return Ok(Some(*id));
        }
        let sql = "SELECT id FROM conversations WHERE key = ?1";
        let found = self.one(sql, [key], |row| number(row, 0).map(ConversationId))?;
        if let Some(id) = found {
            let mut caches = self.caches.borrow_mut();
            caches.room_keys.insert(key.to_owned(), id);
        }
        Ok(found)
    }

    fn rooms(&self) -> Result<u64, Broken> {
        Ok(self.meta.rooms)
    }

    fn rooms_of(&self, account: AccountId) -> Result<Vec<ConversationId>, Broken> {
        let sql = "SELECT m.conversation
            FROM members m JOIN conversations c ON c.id = m.conversation
            WHERE m.account = ?1 AND c.direct_low IS NULL
            ORDER BY m.conversation LIMIT ?2";
        // One more than the bound, so that a broken bound is not hidden.
        let limit = stored(ROOMS_PER_ACCOUNT_MAX + 1);
        let numbers = self.numbers(sql, params![sought(account.0), limit])?;
        Ok(numbers.into_iter().map(ConversationId).collect())
    }

    fn next_in_line(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<Option<(AccountId, MemberRole)>, Broken> {
        let sql = "SELECT m.account, m.role FROM members m
            WHERE m.conversation = ?1 AND m.account <> ?2
                AND NOT EXISTS (SELECT 1 FROM webhooks w WHERE w.account = m.account)
            ORDER BY m.role DESC, m.joined_at, m.account LIMIT 1";
        let key = [sought(conversation.0), sought(account.0)];
        self.one(sql, key, |row| {
            Ok((AccountId(number(row, 0)?), member_role(row, 1)?))
        })
    }

    fn is_invited(&self, room: ConversationId, account: AccountId) -> Result<bool, Broken> {
        let sql = "SELECT 1 FROM invitations WHERE conversation = ?1 AND account = ?2";
        let key = [sought(room.0), sought(account.0)];
        Ok(self.one(sql, key, |_| Ok(()))?.is_some())
    }

    fn invitations(&self, room: ConversationId) -> Result<u64, Broken> {
        self.count_of(
            "SELECT count(*) FROM invitations WHERE conversation = ?1",
            [sought(room.0)],
        )
    }

    fn has_reacted(
        &self,
        message: MessageRef,
        account: AccountId,
        reaction: &Reaction,
    ) -> Result<bool, Broken> {
        let sql = "SELECT 1 FROM reactions
            WHERE conversation = ?1 AND sequence = ?2 AND account = ?3 AND reaction = ?4";
        let [id, sequence, account] =
            [message.conversation.0, message.sequence.0, account.0].map(sought);
        let key = params![id, sequence, account, reaction.as_str()];
        Ok(self.one(sql, key, |_| Ok(()))?.is_some())
    }

    fn has_reaction(&self, message: MessageRef, reaction: &Reaction) -> Result<bool, Broken> {
        let sql = "SELECT 1 FROM reaction_counts
            WHERE conversation = ?1 AND sequence = ?2 AND reaction = ?3";
        let [id, sequence] = [message.conversation.0, message.sequence.0].map(sought);
        let found = self.one(sql, params![id, sequence, reaction.as_str()], |_| Ok(()))?;
        Ok(found.is_some())
    }

    fn reaction_kinds(&self, message: MessageRef) -> Result<u64, Broken> {
        self.count_of(
            "SELECT count(*) FROM reaction_counts WHERE conversation = ?1 AND sequence = ?2",
            [message.conversation.0, message.sequence.0].map(sought),
        )
    }

    fn reactions_of(&self, message: MessageRef, account: AccountId) -> Result<u64, Broken> {
        self.count_of(
            "SELECT count(*) FROM reactions
            WHERE conversation = ?1 AND sequence = ?2 AND account = ?3",
            [message.conversation.0, message.sequence.0, account.0].map(sought),
        )
    }

    fn setup_token(&self) -> Result<Option<TokenHash>, Broken> {
        Ok(self.meta.setup_token)
    }

    fn invite_by_code(&self, code: &TokenHash) -> Result<Option<Invite>, Broken> {
        let sql = "SELECT id, expires_at, uses_left FROM invites WHERE code = ?1";
        self.one(sql, [code.0], |row| {
            Ok(Invite {
                id: InviteId(number(row, 0)?),
                expires_at: Timestamp(number(row, 1)?),
                uses_left: row.get(2)?,
            })
        })
    }

    fn has_invite(&self, id: InviteId) -> Result<bool, Broken> {
        let sql = "SELECT 1 FROM invites WHERE id = ?1";
        Ok(self.one(sql, [sought(id.0)], |_| Ok(()))?.is_some())
    }

    fn invites(&self) -> Result<u64, Broken> {
        Ok(self.meta.invites)
    }

    fn invites_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<InviteId>, Broken> {
        let sql = "SELECT id FROM invites WHERE expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2";
        let numbers = self.numbers(sql, params![bound(now.0), count(limit)])?;
        Ok(numbers.into_iter().map(InviteId).collect())
    }

    fn invite_last(&self) -> Result<InviteId, Broken> {
        Ok(self.meta.invite_last)
    }

    fn webhook_by_token(&self, token: &TokenHash) -> Result<Option<Webhook>, Broken> {
        let sql = "SELECT id, conversation, account FROM webhooks WHERE token = ?1";
        self.one(sql, [token.0], webhook)
    }

    fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Broken> {
        let sql = "SELECT id, conversation, account FROM webhooks WHERE id = ?1";
        self.one(sql, [sought(id.0)], webhook)
    }

    fn webhook_of(&self, account: AccountId) -> Result<Option<Webhook>, Broken> {
        let sql = "SELECT id, conversation, account FROM webhooks WHERE account = ?1";
        self.one(sql, [sought(account.0)], webhook)
    }

    fn webhooks(&self, room: ConversationId) -> Result<Vec<Webhook>, Broken> {
        let sql = "SELECT id, conversation, account FROM webhooks
            WHERE conversation = ?1 ORDER BY id LIMIT ?2";
        let key = params![sought(room.0), stored(WEBHOOKS_PER_ROOM_MAX + 1)];
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_map(key, webhook)?.collect::<Result<Vec<_>>>()
        };
        read().map_err(|error| broken(&error))
    }

    fn webhook_last(&self) -> Result<WebhookId, Broken> {
        Ok(self.meta.webhook_last)
    }

    fn throttle(&self, key: &ThrottleKey) -> Result<Option<Throttle>, Broken> {
        let sql = "SELECT failures, not_before, failed_at FROM throttles WHERE key = ?1";
        self.one(sql, [key.0], |row| {
            Ok(Throttle {
                failures: row.get(0)?,
                not_before: Timestamp(number(row, 1)?),
                failed_at: Timestamp(number(row, 2)?),
            })
        })
    }

    fn throttles(&self) -> Result<u64, Broken> {
        Ok(self.meta.throttles)
    }

    fn throttles_first(&self, limit: usize) -> Result<Vec<ThrottleKey>, Broken> {
        let sql = "SELECT key FROM throttles ORDER BY not_before, key LIMIT ?1";
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map([count(limit)], |row| row.get(0).map(ThrottleKey))?;
            rows.collect::<Result<Vec<_>>>()
        };
        read().map_err(|error| broken(&error))
    }
}

fn webhook(row: &Row<'_>) -> Result<Webhook> {
    Ok(Webhook {
        id: WebhookId(number(row, 0)?),
        conversation: ConversationId(number(row, 1)?),
        account: AccountId(number(row, 2)?),
    })
}
