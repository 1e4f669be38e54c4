//! What rules read: the state inside the open transaction, from memory where possible.

mod query;

use conclave_core::{
    Account, AccountId, AccountLimits, AckPolicy, Allowance, Broken, ClusterRetention,
    ClusterVersion, Conversation, ConversationId, Invite, InviteId, JoinToken, JoinTokenId, Lookup,
    MemberRole, Membership, MessageHead, MessageRef, NodeId, OldMessage, OnceId, OncePool,
    OperatorName, Reaction, Sequence, Session, SessionId, Throttle, ThrottleKey, Timestamp,
    TokenHash, Webhook, WebhookId,
    limits::{
        JOIN_TOKENS_MAX, LOGIN_PLACES_MAX, OPERATORS_MAX, REQUEST_WINDOW, SESSIONS_PER_ACCOUNT_MAX,
        WEBHOOKS_PER_ROOM_MAX,
    },
    lookup::{PeerAuthority, Remembered},
};
use rusqlite::{Row, params};

use self::query::{broken, first_answer, webhook};
use super::writer::Writer;
use crate::state::column::{bound, count, member_role, number, operator_name, sought, stored};

impl Lookup for Writer {
    fn account(&self, id: AccountId) -> Result<Option<Account>, Broken> {
        self.cached(|caches| &mut caches.accounts, id, || self.load_account(id))
    }

    fn account_by_key(&self, key: &str) -> Result<Option<Account>, Broken> {
        let sql = "SELECT id FROM accounts WHERE key = ?1";
        let load = || self.one(sql, [key], |row| number(row, 0).map(AccountId));
        match self.cached_by_text(|caches| &mut caches.keys, key, load)? {
            Some(id) => self.account(id),
            None => Ok(None),
        }
    }

    fn account_by_skeleton(&self, skeleton: &str) -> Result<Option<AccountId>, Broken> {
        let sql = "SELECT id FROM accounts WHERE skeleton = ?1 ORDER BY id LIMIT 1";
        self.one(sql, [skeleton], |row| number(row, 0).map(AccountId))
    }

    fn accounts(&self) -> Result<u64, Broken> {
        Ok(self.meta.accounts)
    }

    fn account_last(&self) -> Result<AccountId, Broken> {
        Ok(self.meta.account_last)
    }

    fn session(&self, id: SessionId) -> Result<Option<Session>, Broken> {
        self.cached(|caches| &mut caches.sessions, id, || self.load_session(id))
    }

    fn token_in_use(&self, token: &TokenHash) -> Result<bool, Broken> {
        let sql = "SELECT 1 FROM sessions WHERE token = ?1";
        self.is_there(sql, [token.0])
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
        let sql = "SELECT digest, answer, log_index FROM answers
            WHERE session = ?1 AND slot = ?2 AND number = ?3";
        let key = params![
            sought(session.0),
            sought(asked % REQUEST_WINDOW),
            sought(asked)
        ];
        self.one(sql, key, first_answer)
    }

    fn remembered_once(&self, id: &OnceId) -> Result<Option<Remembered>, Broken> {
        let sql = "SELECT digest, answer, log_index, forget_at FROM once_answers WHERE id = ?1";
        let read = |row: &Row<'_>| Ok((first_answer(row)?, Timestamp(number(row, 3)?)));
        match self.one(sql, [id.0], read)? {
            // Its row may stay a while; for the rules it is forgotten.
            Some((_, forget_at)) if forget_at <= self.meta.now.log_time => Ok(None),
            found => Ok(found.map(|(remembered, _)| remembered)),
        }
    }

    fn once_answers(&self, pool: OncePool) -> Result<u64, Broken> {
        self.once_answers_in(pool).map_err(|error| broken(&error))
    }

    fn direct(&self, members: (AccountId, AccountId)) -> Result<Option<ConversationId>, Broken> {
        let load = || {
            let sql = "SELECT id FROM conversations WHERE direct_low = ?1 AND direct_high = ?2";
            let key = [sought(members.0.0), sought(members.1.0)];
            self.one(sql, key, |row| number(row, 0).map(ConversationId))
        };
        self.cached(|caches| &mut caches.directs, members, load)
    }

    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, Broken> {
        self.cached(
            |caches| &mut caches.conversations,
            id,
            || self.load_conversation(id),
        )
    }

    fn conversation_last(&self) -> Result<ConversationId, Broken> {
        Ok(self.meta.conversation_last)
    }

    fn membership(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<Option<Membership>, Broken> {
        let load = || self.load_membership(conversation, account);
        self.cached(|caches| &mut caches.members, (conversation, account), load)
    }

    fn has_late_mention(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<bool, Broken> {
        let sql = "SELECT 1 FROM mentions
            WHERE account = ?1 AND conversation = ?2 AND late = 1 LIMIT 1";
        self.is_there(sql, [account.0, conversation.0].map(sought))
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

    fn oldest_messages(
        &self,
        conversation: ConversationId,
        limit: usize,
    ) -> Result<Vec<OldMessage>, Broken> {
        self.load_oldest(conversation, limit)
    }

    fn messages(&self) -> Result<u64, Broken> {
        Ok(self.meta.messages)
    }

    fn oldest_of_all(&self, limit: usize) -> Result<Vec<MessageRef>, Broken> {
        self.load_oldest_of_all(limit)
    }

    fn is_sweeping(&self) -> Result<bool, Broken> {
        Ok(self.meta.orphans > 0)
    }

    fn cluster_retention(&self) -> Result<ClusterRetention, Broken> {
        Ok(self.meta.retention)
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
        self.is_there(sql, key)
    }

    fn admins(&self) -> Result<u64, Broken> {
        Ok(self.meta.admins)
    }

    fn is_blocked(&self, account: AccountId, other: AccountId) -> Result<bool, Broken> {
        let load = || {
            let sql = "SELECT 1 FROM blocks WHERE account = ?1 AND other = ?2";
            self.is_there(sql, [sought(account.0), sought(other.0)])
                .map(Some)
        };
        let found = self.cached(|caches| &mut caches.blocks, (account, other), load)?;
        Ok(found == Some(true))
    }

    fn blocks_of(&self, account: AccountId) -> Result<u64, Broken> {
        self.count_of(
            "SELECT count(*) FROM blocks WHERE account = ?1",
            [sought(account.0)],
        )
    }

    fn room_by_key(&self, key: &str) -> Result<Option<ConversationId>, Broken> {
        let sql = "SELECT id FROM conversations WHERE key = ?1";
        let load = || self.one(sql, [key], |row| number(row, 0).map(ConversationId));
        self.cached_by_text(|caches| &mut caches.room_keys, key, load)
    }

    fn rooms(&self) -> Result<u64, Broken> {
        Ok(self.meta.rooms)
    }

    fn rooms_of(&self, account: AccountId) -> Result<Vec<ConversationId>, Broken> {
        if let Some(known) = self.caches.borrow_mut().rooms_of.get(&account) {
            return Ok(known);
        }
        let rooms = self.load_rooms_of(account)?;
        self.caches.borrow_mut().keep_rooms(account, &rooms);
        Ok(rooms)
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
        self.is_there(sql, key)
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
        self.is_there(sql, key)
    }

    fn reaction_count(&self, message: MessageRef, reaction: &Reaction) -> Result<u64, Broken> {
        let sql = "SELECT count FROM reaction_counts
            WHERE conversation = ?1 AND sequence = ?2 AND reaction = ?3";
        let [id, sequence] = [message.conversation.0, message.sequence.0].map(sought);
        let key = params![id, sequence, reaction.as_str()];
        let count = self.one(sql, key, |row| number(row, 0))?;
        Ok(count.unwrap_or(0))
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
        self.is_there(sql, [sought(id.0)])
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

    fn node_last(&self) -> Result<NodeId, Broken> {
        Ok(self.meta.node_last)
    }

    fn is_retired(&self, node: NodeId) -> Result<bool, Broken> {
        let sql = "SELECT 1 FROM retired_nodes WHERE node = ?1";
        self.is_there(sql, [sought(node.0)])
    }

    fn cluster_version(&self) -> Result<Option<ClusterVersion>, Broken> {
        Ok(self.meta.cluster_version)
    }

    fn cluster_members(&self) -> Result<Vec<NodeId>, Broken> {
        let members = self.member_numbers().map_err(|error| broken(&error))?;
        Ok(members.into_iter().map(NodeId).collect())
    }

    fn preferred_leader(&self) -> Result<Option<NodeId>, Broken> {
        Ok(self.meta.preferred_leader)
    }

    fn ack_policy(&self) -> Result<AckPolicy, Broken> {
        Ok(self.meta.ack_policy)
    }

    fn authority(&self) -> Result<PeerAuthority, Broken> {
        Ok(self.meta.authority)
    }

    fn account_limits(&self) -> Result<AccountLimits, Broken> {
        Ok(self.limits)
    }

    fn allowance(&self, account: AccountId) -> Result<Allowance, Broken> {
        let found = self.allowance_of(account);
        Ok(found.map_err(|error| broken(&error))?.unwrap_or_default())
    }

    fn join_token(&self, token: &TokenHash) -> Result<Option<JoinToken>, Broken> {
        let sql = "SELECT expires_at, voter FROM join_tokens WHERE token = ?1";
        self.one(sql, [token.0], |row| {
            Ok(JoinToken {
                expires_at: Timestamp(number(row, 0)?),
                voter: row.get(1)?,
            })
        })
    }

    fn join_tokens(&self) -> Result<u64, Broken> {
        // There are never more than this.
        let sql = "SELECT count(*) FROM (SELECT token FROM join_tokens ORDER BY token LIMIT ?1)";
        self.count_of(sql, [stored(JOIN_TOKENS_MAX)])
    }

    fn join_token_by_id(&self, id: JoinTokenId) -> Result<Option<TokenHash>, Broken> {
        let (mut first, mut last) = ([0; 32], [u8::MAX; 32]);
        first[..id.0.len()].copy_from_slice(&id.0);
        last[..id.0.len()].copy_from_slice(&id.0);
        // Of those that can be used no two have the same id.
        let sql = "SELECT token FROM join_tokens WHERE token BETWEEN ?1 AND ?2
            ORDER BY token LIMIT 1";
        self.one(sql, [first, last], |row| Ok(TokenHash(row.get(0)?)))
    }

    fn operator_by_token(&self, token: &TokenHash) -> Result<Option<OperatorName>, Broken> {
        let sql = "SELECT name FROM operators WHERE token = ?1";
        self.one(sql, [token.0], |row| operator_name(row, 0))
    }

    fn operators(&self) -> Result<Vec<OperatorName>, Broken> {
        let sql = "SELECT name FROM operators ORDER BY key LIMIT ?1";
        self.all(sql, [count(OPERATORS_MAX)], |row| operator_name(row, 0))
    }

    fn join_tokens_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<TokenHash>, Broken> {
        let sql = "SELECT token FROM join_tokens WHERE expires_at <= ?1
            ORDER BY expires_at, token LIMIT ?2";
        let key = params![bound(now.0), count(limit)];
        self.all(sql, key, |row| Ok(TokenHash(row.get(0)?)))
    }

    fn webhook_by_token(&self, token: &TokenHash) -> Result<Option<Webhook>, Broken> {
        let sql = "SELECT id, conversation, account, by_account FROM webhooks WHERE token = ?1";
        self.one(sql, [token.0], webhook)
    }

    fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Broken> {
        let sql = "SELECT id, conversation, account, by_account FROM webhooks WHERE id = ?1";
        self.one(sql, [sought(id.0)], webhook)
    }

    fn webhook_of(&self, account: AccountId) -> Result<Option<Webhook>, Broken> {
        let sql = "SELECT id, conversation, account, by_account FROM webhooks WHERE account = ?1";
        self.one(sql, [sought(account.0)], webhook)
    }

    fn webhooks(&self, room: ConversationId) -> Result<Vec<Webhook>, Broken> {
        let sql = "SELECT id, conversation, account, by_account FROM webhooks
            WHERE conversation = ?1 ORDER BY id LIMIT ?2";
        let key = params![sought(room.0), stored(WEBHOOKS_PER_ROOM_MAX + 1)];
        self.all(sql, key, webhook)
    }

    fn webhooks_by(&self, account: AccountId) -> Result<u64, Broken> {
        self.count_of(
            "SELECT count(*) FROM webhooks WHERE by_account = ?1",
            [sought(account.0)],
        )
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
        let sql = "SELECT key FROM throttles ORDER BY failures, failed_at, key LIMIT ?1";
        self.all(sql, [count(limit)], |row| row.get(0).map(ThrottleKey))
    }

    fn throttles_old(&self, before: Timestamp, limit: usize) -> Result<Vec<ThrottleKey>, Broken> {
        let sql = "SELECT key FROM throttles WHERE failed_at < ?1
            ORDER BY failed_at, key LIMIT ?2";
        let key = params![bound(before.0), count(limit)];
        self.all(sql, key, |row| row.get(0).map(ThrottleKey))
    }

    fn places_of(&self, account: AccountId) -> Result<Vec<(ThrottleKey, Timestamp)>, Broken> {
        let sql = "SELECT place, used_at FROM login_places WHERE account = ?1
            ORDER BY place LIMIT ?2";
        // One more than the bound, so that a broken bound is not hidden.
        let key = params![sought(account.0), count(LOGIN_PLACES_MAX + 1)];
        self.all(sql, key, |row| {
            Ok((ThrottleKey(row.get(0)?), Timestamp(number(row, 1)?)))
        })
    }

    fn is_place(&self, place: &ThrottleKey) -> Result<bool, Broken> {
        self.is_there("SELECT 1 FROM login_places WHERE place = ?1", [place.0])
    }
}
