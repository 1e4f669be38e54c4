//! How the rules' questions are asked: from a cache, else from the tables.
//!
//! Always true: only what is there is kept, so a new row makes no cache wrong. That an account is
//! not blocked is kept too, and changes with its row.

use std::hash::Hash;

use conclave_core::{
    Account, AccountId, Broken, Conversation, ConversationId, Digest, Kind, Membership, MessageRef,
    OldMessage, Progress, RequestWindow, RoomRetention, Sequence, Session, SessionId, Timestamp,
    Webhook, WebhookId, answer, limits::ROOMS_PER_ACCOUNT_MAX, lookup::Remembered,
};
use rusqlite::{Error, OptionalExtension as _, Params, Result, Row, params, types::Type};

use crate::{
    RecentMap,
    state::{
        column::{
            account_role, count, from_bits, member_role, number, number_or_none, sought, stored,
        },
        sent::{sent, sent_up_to},
        write::{cache::Caches, writer::Writer},
    },
};

/// Rooms of account `?1`, found among all its conversations; `?2` rooms.
const ROOMS_OF: &str = "SELECT m.conversation
    FROM members m JOIN conversations c ON c.id = m.conversation
    WHERE m.account = ?1 AND c.direct_low IS NULL
    ORDER BY m.conversation LIMIT ?2";

pub(super) fn broken(error: &Error) -> Broken {
    Broken {
        why: error.to_string(),
        code: error.sqlite_extended_error_code(),
    }
}

impl Writer {
    /// Returns the value of a key: from its cache, else from the tables and then kept.
    pub(super) fn cached<K: Hash + Eq, V: Copy>(
        &self,
        cache: impl Fn(&mut Caches) -> &mut RecentMap<K, V>,
        key: K,
        load: impl FnOnce() -> Result<Option<V>, Broken>,
    ) -> Result<Option<V>, Broken> {
        let known = cache(&mut self.caches.borrow_mut()).get(&key);
        if known.is_some() {
            return Ok(known);
        }
        let found = load()?;
        if let Some(value) = found {
            cache(&mut self.caches.borrow_mut()).insert(key, value);
        }
        Ok(found)
    }

    /// Returns the value of a key that is text, which is copied only to be kept.
    pub(super) fn cached_by_text<V: Copy>(
        &self,
        cache: impl Fn(&mut Caches) -> &mut RecentMap<String, V>,
        key: &str,
        load: impl FnOnce() -> Result<Option<V>, Broken>,
    ) -> Result<Option<V>, Broken> {
        let known = cache(&mut self.caches.borrow_mut()).get(key);
        if known.is_some() {
            return Ok(known);
        }
        let found = load()?;
        if let Some(value) = found {
            cache(&mut self.caches.borrow_mut()).insert(key.to_owned(), value);
        }
        Ok(found)
    }

    /// Returns the one row of a query, or `None`.
    pub(super) fn one<T>(
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

    /// Returns whether a query has a row.
    pub(super) fn is_there(&self, sql: &str, params: impl Params) -> Result<bool, Broken> {
        Ok(self.one(sql, params, |_| Ok(()))?.is_some())
    }

    /// Returns all rows of a query, which has a limit.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>, Broken> {
        let ask = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_map(params, read)?.collect::<Result<_>>()
        };
        ask().map_err(|error| broken(&error))
    }

    /// Returns the numbers in the first column of a query.
    pub(super) fn numbers(&self, sql: &str, params: impl Params) -> Result<Vec<u64>, Broken> {
        self.all(sql, params, |row| number(row, 0))
    }

    /// Returns the number that a query counts.
    pub(super) fn count_of(&self, sql: &str, params: impl Params) -> Result<u64, Broken> {
        let found = self.one(sql, params, |row| number(row, 0))?;
        Ok(found.unwrap_or(0))
    }

    pub(super) fn load_account(&self, id: AccountId) -> Result<Option<Account>, Broken> {
        let sql = "SELECT password_version, role, suspended FROM accounts WHERE id = ?1";
        self.one(sql, [sought(id.0)], |row| {
            Ok(Account {
                id,
                password_version: number(row, 0)?,
                role: account_role(row, 1)?,
                suspended: row.get(2)?,
            })
        })
    }

    pub(super) fn load_session(&self, id: SessionId) -> Result<Option<Session>, Broken> {
        let sql = "SELECT account, closed, expires_at, began_at, used_at FROM sessions
            WHERE id = ?1";
        let found = self.one(sql, [sought(id.0)], |row| {
            Ok(Session {
                id,
                account: AccountId(number(row, 0)?),
                closed: row.get(1)?,
                expires_at: Timestamp(number(row, 2)?),
                began_at: Timestamp(number(row, 3)?),
                used_at: Timestamp(number(row, 4)?),
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

    pub(super) fn load_conversation(
        &self,
        id: ConversationId,
    ) -> Result<Option<Conversation>, Broken> {
        let sql = "SELECT direct_low, direct_high,
                coalesce((SELECT max(sequence) FROM messages WHERE conversation = ?1), forgotten),
                public, members, forgotten, keep_ms, keep_messages
            FROM conversations WHERE id = ?1";
        self.one(sql, [sought(id.0)], |row| {
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
                forgotten: Sequence(number(row, 5)?),
                retention: RoomRetention {
                    age_ms: number_or_none(row, 6)?,
                    messages: number_or_none(row, 7)?,
                },
            })
        })
    }

    /// See [`conclave_core::Lookup::rooms_of`].
    pub(super) fn load_rooms_of(&self, account: AccountId) -> Result<Vec<ConversationId>, Broken> {
        // One more than the bound, so that a broken bound is not hidden.
        let limit = stored(ROOMS_PER_ACCOUNT_MAX + 1);
        let numbers = self.numbers(ROOMS_OF, params![sought(account.0), limit])?;
        Ok(numbers.into_iter().map(ConversationId).collect())
    }

    /// See [`conclave_core::Lookup::oldest_messages`].
    pub(super) fn load_oldest(
        &self,
        id: ConversationId,
        limit: usize,
    ) -> Result<Vec<OldMessage>, Broken> {
        // What the sweep is about to remove is not forgotten as well.
        let sql = "SELECT 1 FROM members WHERE conversation = ?1 LIMIT 1";
        if !self.is_there(sql, [sought(id.0)])? {
            return Ok(Vec::new());
        }
        let sql = "SELECT sequence, coalesce(log_time, ?3, 0) FROM messages
            WHERE conversation = ?1 ORDER BY sequence LIMIT ?2";
        let since = self.meta.aged_since.map(|since| stored(since.0));
        let key = params![sought(id.0), count(limit), since];
        self.all(sql, key, |row| {
            Ok(OldMessage {
                sequence: Sequence(number(row, 0)?),
                at: Timestamp(number(row, 1)?),
            })
        })
    }

    /// See [`conclave_core::Lookup::oldest_of_all`].
    pub(super) fn load_oldest_of_all(&self, limit: usize) -> Result<Vec<MessageRef>, Broken> {
        let sql = "SELECT conversation, sequence FROM messages ORDER BY position LIMIT ?1";
        self.all(sql, [count(limit)], |row| {
            Ok(MessageRef {
                conversation: ConversationId(number(row, 0)?),
                sequence: Sequence(number(row, 1)?),
            })
        })
    }

    pub(super) fn load_membership(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<Option<Membership>, Broken> {
        let sql = concat!(
            "SELECT delivered, read, role, ",
            sent!("?1", "?2"),
            " FROM members WHERE conversation = ?1 AND account = ?2"
        );
        self.one(sql, [sought(conversation.0), sought(account.0)], |row| {
            let progress = Progress {
                delivered: Sequence(number(row, 0)?),
                read: Sequence(number(row, 1)?),
            };
            Ok(Membership {
                progress,
                role: member_role(row, 2)?,
                sent: number(row, 3)?,
            })
        })
    }
}

/// Reads the first three columns of a remembered answer: the digest of the request, the answer, and
/// the entry.
pub(super) fn first_answer(row: &Row<'_>) -> Result<Remembered> {
    let bytes = row.get_ref(1)?.as_blob()?;
    let answer = answer::decode(bytes)
        .map_err(|error| Error::FromSqlConversionFailure(1, Type::Blob, Box::new(error)))?;
    Ok(Remembered {
        digest: Digest(from_bits(row, 0)?),
        answer,
        decided_in: number(row, 2)?,
    })
}

pub(super) fn webhook(row: &Row<'_>) -> Result<Webhook> {
    Ok(Webhook {
        id: WebhookId(number(row, 0)?),
        conversation: ConversationId(number(row, 1)?),
        account: AccountId(number(row, 2)?),
        by: AccountId(number(row, 3)?),
    })
}

#[cfg(test)]
#[path = "rooms_tests.rs"]
mod tests;
