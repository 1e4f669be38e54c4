//! Questions about accounts and what belongs to them: sessions, blocks, invites, webhooks, and
//! failed log-ins.
//!
//! Always true: no secret is given, because none is kept.

use conclave_core::{
    AccountId, ConversationId, InviteId, OnceId, SessionId, Throttle, ThrottleKey, Timestamp,
    TokenHash, WebhookId,
    limits::{
        BLOCKS_PER_ACCOUNT_MAX, INVITES_MAX, REQUEST_WINDOW, SESSIONS_PER_ACCOUNT_MAX,
        WEBHOOKS_PER_ROOM_MAX,
    },
};
use rusqlite::{Error, OptionalExtension as _, Result, Row, params};

use super::reader::{account, select_accounts};
use crate::state::{
    AccountRow, InviteRow, ReadError, Reader, SessionRow, WebhookRow,
    column::{account_role, count, number, sought, stored},
};

/// What makes a [`SessionRow`], with the session as `s`.
macro_rules! select_sessions {
    ($rest:literal) => {
        concat!(
            "SELECT s.id, s.account, a.name, s.closed, s.opened_at, s.expires_at,
                s.label, coalesce(a.role, 0), coalesce(a.suspended, 0)
            FROM sessions s LEFT JOIN accounts a ON a.id = s.account ",
            $rest
        )
    };
}

impl Reader {
    /// Returns the session with this token, open or closed.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn session_by_token(
        &self,
        token: &TokenHash,
    ) -> std::result::Result<Option<SessionRow>, ReadError> {
        let sql = select_sessions!("WHERE s.token = ?1");
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            statement.query_row([token.0], session).optional()
        })
    }

    /// Returns the greatest request number that a session has used; 0 if none. It looks at all that
    /// is remembered of the session, so no call asks for it that does not need it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn request_last(&self, session: SessionId) -> std::result::Result<u64, ReadError> {
        let sql = "SELECT coalesce(max(number), 0) FROM answers WHERE session = ?1";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            statement.query_row([sought(session.0)], |row| number(row, 0))
        })
    }

    /// Returns the sessions of an account that can be used, the oldest first: neither closed nor,
    /// by log time, expired.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn sessions(&self, account: AccountId) -> std::result::Result<Vec<SessionRow>, ReadError> {
        let sql = select_sessions!(
            "WHERE s.account = ?1 AND s.closed = 0
                AND s.expires_at > (SELECT log_time FROM meta WHERE id = 1)
            ORDER BY s.id LIMIT ?2"
        );
        self.read(|c| {
            let of = params![sought(account.0), count(SESSIONS_PER_ACCOUNT_MAX)];
            c.prepare_cached(sql)?.query_map(of, session)?.collect()
        })
    }

    /// Returns the accounts that an account has blocked, in order of their numbers.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn blocks(&self, by: AccountId) -> std::result::Result<Vec<AccountRow>, ReadError> {
        let sql = select_accounts!(
            "FROM blocks b JOIN accounts a ON a.id = b.other
            WHERE b.account = ?1 ORDER BY b.other LIMIT ?2"
        );
        self.read(|c| {
            let of = params![sought(by.0), stored(BLOCKS_PER_ACCOUNT_MAX)];
            c.prepare_cached(sql)?.query_map(of, account)?.collect()
        })
    }

    /// Returns whether `account` has blocked `other`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn is_blocked(
        &self,
        account: AccountId,
        other: AccountId,
    ) -> std::result::Result<bool, ReadError> {
        let sql = "SELECT 1 FROM blocks WHERE account = ?1 AND other = ?2";
        self.read(|c| {
            c.prepare_cached(sql)?
                .exists([sought(account.0), sought(other.0)])
        })
    }

    /// Returns how many administrators there are.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn admins(&self) -> std::result::Result<u64, ReadError> {
        let sql = "SELECT admins FROM meta WHERE id = 1";
        self.read(|c| c.prepare_cached(sql)?.query_row([], |row| number(row, 0)))
    }

    /// Returns the invites that can be used, by log time, in order of their numbers.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn invites(&self) -> std::result::Result<Vec<InviteRow>, ReadError> {
        let sql = "SELECT i.id, a.name, i.expires_at, i.uses_left
            FROM invites i LEFT JOIN accounts a ON a.id = i.by_account
            WHERE i.expires_at > (SELECT log_time FROM meta WHERE id = 1)
            ORDER BY i.id LIMIT ?1";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            statement
                .query_map([stored(INVITES_MAX)], invite)?
                .collect()
        })
    }

    /// Returns the webhooks of a room in order of their numbers.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn webhooks(
        &self,
        room: ConversationId,
    ) -> std::result::Result<Vec<WebhookRow>, ReadError> {
        let sql = "SELECT w.id, a.name, b.name, w.created_at
            FROM webhooks w JOIN accounts a ON a.id = w.account
            LEFT JOIN accounts b ON b.id = w.by_account
            WHERE w.conversation = ?1 ORDER BY w.id LIMIT ?2";
        self.read(|c| {
            let of = params![sought(room.0), stored(WEBHOOKS_PER_ROOM_MAX)];
            c.prepare_cached(sql)?.query_map(of, webhook)?.collect()
        })
    }

    /// Returns the webhook whose address has this secret, its room, and the account under which it
    /// posts; `None` also if its maker may not make it any more, or if that account is suspended.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn webhook_by_token(
        &self,
        token: &TokenHash,
    ) -> std::result::Result<Option<(WebhookId, ConversationId, AccountId)>, ReadError> {
        let sql = "SELECT w.id, w.conversation, w.account FROM webhooks w
            JOIN accounts a ON a.id = w.by_account AND a.suspended = 0
            JOIN accounts own ON own.id = w.account AND own.suspended = 0
            JOIN members m ON m.conversation = w.conversation AND m.account = w.by_account
            WHERE w.token = ?1 AND m.role >= 1";
        let found = |row: &Row<'_>| {
            let id = WebhookId(number(row, 0)?);
            Ok((
                id,
                ConversationId(number(row, 1)?),
                AccountId(number(row, 2)?),
            ))
        };
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            statement.query_row([token.0], found).optional()
        })
    }

    /// Returns the first of these places that is known as one of an account, if any is.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn known_place(
        &self,
        places: &[ThrottleKey],
    ) -> std::result::Result<Option<ThrottleKey>, ReadError> {
        let sql = "SELECT 1 FROM login_places WHERE place = ?1";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            for place in places {
                if statement.exists([place.0])? {
                    return Ok(Some(*place));
                }
            }
            Ok(None)
        })
    }

    /// Returns whether there is an invite with this code that can be used, by log time.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn is_invite_usable(&self, code: &TokenHash) -> std::result::Result<bool, ReadError> {
        let sql = "SELECT 1 FROM invites WHERE code = ?1 AND uses_left > 0
            AND expires_at > (SELECT log_time FROM meta WHERE id = 1)";
        self.read(|c| c.prepare_cached(sql)?.exists([code.0]))
    }

    /// Returns the hash of the setup token on offer.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn setup_token(&self) -> std::result::Result<Option<TokenHash>, ReadError> {
        let sql = "SELECT setup_token FROM meta WHERE id = 1";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            let token = statement.query_row([], |row| row.get::<_, Option<[u8; 32]>>(0))?;
            Ok(token.map(TokenHash))
        })
    }

    /// Returns whether an answer to this request outside a session is remembered.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn is_answered_once(&self, id: &OnceId) -> std::result::Result<bool, ReadError> {
        let sql = "SELECT 1 FROM once_answers WHERE id = ?1";
        self.read(|c| c.prepare_cached(sql)?.exists([id.0]))
    }

    /// Returns whether an answer to this request of a session is remembered.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn is_answered(
        &self,
        session: SessionId,
        number: u64,
    ) -> std::result::Result<bool, ReadError> {
        let sql = "SELECT 1 FROM answers WHERE session = ?1 AND slot = ?2 AND number = ?3";
        let key = [session.0, number % REQUEST_WINDOW, number].map(sought);
        self.read(|c| c.prepare_cached(sql)?.exists(key))
    }

    /// Returns the failed log-ins that are held against a key.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn throttle(&self, key: &ThrottleKey) -> std::result::Result<Option<Throttle>, ReadError> {
        let sql = "SELECT failures, not_before, failed_at FROM throttles WHERE key = ?1";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            statement.query_row([key.0], throttle).optional()
        })
    }
}

fn session(row: &Row<'_>) -> Result<SessionRow> {
    Ok(SessionRow {
        id: SessionId(number(row, 0)?),
        account: AccountId(number(row, 1)?),
        account_name: row.get(2)?,
        closed: row.get(3)?,
        opened_at: Timestamp(number(row, 4)?),
        expires_at: Timestamp(number(row, 5)?),
        label: row.get(6)?,
        role: account_role(row, 7)?,
        suspended: row.get(8)?,
    })
}

/// Reads a count that the log keeps within 32 bits.
fn small(row: &Row<'_>, column: usize) -> Result<u32> {
    let value: i64 = row.get(column)?;
    u32::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(column, value))
}

fn invite(row: &Row<'_>) -> Result<InviteRow> {
    Ok(InviteRow {
        id: InviteId(number(row, 0)?),
        by_name: row.get(1)?,
        expires_at: Timestamp(number(row, 2)?),
        uses_left: small(row, 3)?,
    })
}

fn webhook(row: &Row<'_>) -> Result<WebhookRow> {
    Ok(WebhookRow {
        id: WebhookId(number(row, 0)?),
        account_name: row.get(1)?,
        by_name: row.get(2)?,
        created_at: Timestamp(number(row, 3)?),
    })
}

fn throttle(row: &Row<'_>) -> Result<Throttle> {
    Ok(Throttle {
        failures: small(row, 0)?,
        not_before: Timestamp(number(row, 1)?),
        failed_at: Timestamp(number(row, 2)?),
    })
}
