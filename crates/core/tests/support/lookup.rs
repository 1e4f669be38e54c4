//! Answers the rules' questions from the maps, each by looking at everything.

use std::collections::{BTreeMap, BTreeSet};

use conclave_core::{
    Account, AccountId, AccountLimits, AckPolicy, Allowance, Broken, ClusterRetention,
    ClusterVersion, Conversation, ConversationId, Invite, InviteId, JoinTokenId, Kind, Lookup,
    MemberRole, Membership, MessageHead, MessageRef, NodeId, OldMessage, OnceId, OncePool,
    OperatorName, Reaction, Sequence, Session, SessionId, Throttle, ThrottleKey, Timestamp,
    TokenHash, Webhook, WebhookId,
    lookup::{JoinToken, PeerAuthority, Remembered},
};

use super::Memory;

impl Lookup for Memory {
    fn account(&self, id: AccountId) -> Result<Option<Account>, Broken> {
        Ok(self.accounts.get(&id).copied())
    }
    fn account_by_key(&self, key: &str) -> Result<Option<Account>, Broken> {
        Ok(self.names.get(key).map(|id| self.accounts[id]))
    }
    fn account_by_skeleton(&self, look: &str) -> Result<Option<AccountId>, Broken> {
        let is_like = |id: &&AccountId| self.looks.get(id).is_some_and(|of| of == look);
        Ok(self.names.values().filter(is_like).min().copied())
    }
    fn accounts(&self) -> Result<u64, Broken> {
        Ok(self.accounts.len() as u64 + self.pretended("accounts"))
    }
    fn account_last(&self) -> Result<AccountId, Broken> {
        Ok(self.account_last)
    }
    fn session(&self, id: SessionId) -> Result<Option<Session>, Broken> {
        Ok(self.sessions.get(&id).map(|(session, _)| *session))
    }
    fn token_in_use(&self, token: &TokenHash) -> Result<bool, Broken> {
        Ok(self.sessions.values().any(|(_, used)| used == token))
    }
    fn sessions_of(&self, account: AccountId) -> Result<Vec<SessionId>, Broken> {
        let open = |s: &&Session| s.account == account && !s.closed;
        let rows = self.sessions.values().map(|(session, _)| session);
        Ok(rows.filter(open).map(|session| session.id).collect())
    }
    fn sessions_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionId>, Broken> {
        let rows = self.sessions.values().map(|(session, _)| session);
        let expired = rows.filter(|session| session.expires_at <= now);
        let by_time: BTreeSet<_> = expired.map(|s| (s.expires_at, s.id)).collect();
        Ok(by_time.into_iter().map(|(_, id)| id).take(limit).collect())
    }
    fn session_last(&self) -> Result<SessionId, Broken> {
        Ok(self.session_last)
    }
    fn remembered(&self, session: SessionId, number: u64) -> Result<Option<Remembered>, Broken> {
        Ok(self.answers.get(&(session, number)).cloned())
    }
    fn remembered_once(&self, id: &OnceId) -> Result<Option<Remembered>, Broken> {
        Ok(self.once.get(id).cloned())
    }
    fn once_answers(&self, pool: OncePool) -> Result<u64, Broken> {
        let own = self.once_by_age.values().filter(|(of, ..)| *of == pool);
        Ok(own.count() as u64 + self.pretended("once"))
    }
    fn direct(&self, members: (AccountId, AccountId)) -> Result<Option<ConversationId>, Broken> {
        Ok(self.directs.get(&members).copied())
    }
    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, Broken> {
        let mut found = self.conversations.get(&id).copied();
        if let Some(Kind::Room { members, .. }) = found.as_mut().map(|found| &mut found.kind) {
            *members += self.pretended("members");
        }
        Ok(found)
    }
    fn conversation_last(&self) -> Result<ConversationId, Broken> {
        Ok(self.conversation_last)
    }
    fn membership(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<Option<Membership>, Broken> {
        Ok(self.members.get(&(conversation, account)).copied())
    }
    fn has_late_mention(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<bool, Broken> {
        let of =
            |(c, _, a): &(ConversationId, Sequence, AccountId)| (*c, *a) == (conversation, account);
        Ok(self.late.iter().any(of))
    }
    fn message(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
    ) -> Result<Option<MessageHead>, Broken> {
        Ok(self.messages.get(&(conversation, sequence)).copied())
    }
    fn oldest_messages(
        &self,
        conversation: ConversationId,
        limit: usize,
    ) -> Result<Vec<OldMessage>, Broken> {
        let all = self
            .sent_at
            .iter()
            .filter(|((of, _), _)| *of == conversation);
        let old = all.map(|((_, sequence), (at, _))| OldMessage {
            sequence: *sequence,
            at: at.or(self.aged_since).unwrap_or_default(),
        });
        Ok(old.take(limit).collect())
    }
    fn messages(&self) -> Result<u64, Broken> {
        Ok(self.sent_at.len() as u64)
    }
    fn oldest_of_all(&self, limit: usize) -> Result<Vec<MessageRef>, Broken> {
        let kept = self.order.iter().filter(|(conversation, sequence)| {
            self.sent_at.contains_key(&(*conversation, *sequence))
        });
        let named = kept.map(|(conversation, sequence)| MessageRef {
            conversation: *conversation,
            sequence: *sequence,
        });
        Ok(named.take(limit).collect())
    }
    fn is_sweeping(&self) -> Result<bool, Broken> {
        Ok(false)
    }
    fn cluster_retention(&self) -> Result<ClusterRetention, Broken> {
        Ok(self.nodes.retention)
    }
    fn is_hidden(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
        account: AccountId,
    ) -> Result<bool, Broken> {
        Ok(self.hidden.contains(&(conversation, sequence, account)))
    }
    fn admins(&self) -> Result<u64, Broken> {
        Ok(self.admins_now())
    }
    fn is_blocked(&self, account: AccountId, other: AccountId) -> Result<bool, Broken> {
        Ok(self.blocks.contains(&(account, other)))
    }
    fn blocks_of(&self, account: AccountId) -> Result<u64, Broken> {
        let own = self.blocks.iter().filter(|(by, _)| *by == account);
        Ok(own.count() as u64 + self.pretended("blocks"))
    }
    fn room_by_key(&self, key: &str) -> Result<Option<ConversationId>, Broken> {
        Ok(self.rooms.get(key).copied())
    }
    fn rooms(&self) -> Result<u64, Broken> {
        Ok(self.rooms.len() as u64 + self.pretended("rooms"))
    }
    fn rooms_of(&self, account: AccountId) -> Result<Vec<ConversationId>, Broken> {
        let of = |id: &ConversationId| self.members.contains_key(&(*id, account));
        let rooms: BTreeSet<ConversationId> = self.rooms.values().copied().filter(of).collect();
        Ok(rooms.into_iter().collect())
    }
    fn next_in_line(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<Option<(AccountId, MemberRole)>, Broken> {
        let others = self.members_of(conversation).into_iter().filter(|member| {
            *member != account && !self.webhooks.values().any(|(w, _)| w.account == *member)
        });
        let rank = |member: &AccountId| {
            let key = (conversation, *member);
            let role = self.members[&key].role;
            (std::cmp::Reverse(role), self.joined_at[&key], *member)
        };
        let first = others.min_by_key(rank);
        Ok(first.map(|member| (member, self.members[&(conversation, member)].role)))
    }
    fn is_invited(&self, room: ConversationId, account: AccountId) -> Result<bool, Broken> {
        Ok(self.invitations.contains(&(room, account)))
    }
    fn invitations(&self, room: ConversationId) -> Result<u64, Broken> {
        let of_room = self.invitations.iter().filter(|(of, _)| *of == room);
        Ok(of_room.count() as u64 + self.pretended("invitations"))
    }
    fn has_reacted(
        &self,
        message: MessageRef,
        account: AccountId,
        reaction: &Reaction,
    ) -> Result<bool, Broken> {
        let key = (message, account, reaction.clone());
        Ok(self.reactions.contains(&key))
    }
    fn reaction_count(&self, message: MessageRef, reaction: &Reaction) -> Result<u64, Broken> {
        let all = self.reactions.iter();
        let same = all.filter(|(of, _, kind)| *of == message && kind == reaction);
        Ok(same.count() as u64)
    }
    fn reaction_kinds(&self, message: MessageRef) -> Result<u64, Broken> {
        let of_message = self.reactions.iter().filter(|(of, ..)| *of == message);
        let kinds: BTreeSet<&Reaction> = of_message.map(|(.., kind)| kind).collect();
        Ok(kinds.len() as u64)
    }
    fn reactions_of(&self, message: MessageRef, account: AccountId) -> Result<u64, Broken> {
        let all = self.reactions.iter();
        let own = all.filter(|(of, by, _)| *of == message && *by == account);
        Ok(own.count() as u64)
    }
    fn setup_token(&self) -> Result<Option<TokenHash>, Broken> {
        Ok(self.setup_token)
    }
    fn invite_by_code(&self, code: &TokenHash) -> Result<Option<Invite>, Broken> {
        let mut all = self.invites.values();
        let found = all.find(|(_, of)| of == code);
        Ok(found.map(|(invite, _)| *invite))
    }
    fn has_invite(&self, id: InviteId) -> Result<bool, Broken> {
        Ok(self.invites.contains_key(&id))
    }
    fn invites(&self) -> Result<u64, Broken> {
        Ok(self.invites.len() as u64 + self.pretended("invites"))
    }
    fn invites_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<InviteId>, Broken> {
        let rows = self.invites.values().map(|(invite, _)| invite);
        let expired = rows.filter(|invite| invite.expires_at <= now);
        let by_time: BTreeSet<_> = expired.map(|i| (i.expires_at, i.id)).collect();
        Ok(by_time.into_iter().map(|(_, id)| id).take(limit).collect())
    }
    fn invite_last(&self) -> Result<InviteId, Broken> {
        Ok(self.invite_last)
    }
    fn webhook_by_token(&self, token: &TokenHash) -> Result<Option<Webhook>, Broken> {
        let mut all = self.webhooks.values();
        let found = all.find(|(_, of)| of == token);
        Ok(found.map(|(webhook, _)| *webhook))
    }
    fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Broken> {
        Ok(self.webhooks.get(&id).map(|(webhook, _)| *webhook))
    }
    fn webhook_of(&self, account: AccountId) -> Result<Option<Webhook>, Broken> {
        let mut all = self.webhooks.values().map(|(webhook, _)| *webhook);
        Ok(all.find(|webhook| webhook.account == account))
    }
    fn webhooks(&self, room: ConversationId) -> Result<Vec<Webhook>, Broken> {
        let all = self.webhooks.values().map(|(webhook, _)| *webhook);
        Ok(all.filter(|webhook| webhook.conversation == room).collect())
    }
    fn webhooks_by(&self, account: AccountId) -> Result<u64, Broken> {
        let all = self.webhooks.values();
        let own = all.filter(|(webhook, _)| webhook.by == account).count() as u64;
        Ok(own + self.pretended("webhooks"))
    }
    fn webhook_last(&self) -> Result<WebhookId, Broken> {
        Ok(self.webhook_last)
    }
    fn throttle(&self, key: &ThrottleKey) -> Result<Option<Throttle>, Broken> {
        Ok(self.throttles.get(key).copied())
    }
    fn throttles(&self) -> Result<u64, Broken> {
        Ok(self.throttles.len() as u64 + self.pretended("throttles"))
    }
    fn throttles_first(&self, limit: usize) -> Result<Vec<ThrottleKey>, Broken> {
        let all = self.throttles.iter();
        let by_time: BTreeMap<_, _> = all
            .map(|(key, row)| ((row.failures, row.failed_at, *key), *key))
            .collect();
        Ok(by_time.into_values().take(limit).collect())
    }
    fn throttles_old(&self, before: Timestamp, limit: usize) -> Result<Vec<ThrottleKey>, Broken> {
        let old = self.throttles.iter();
        let old = old.filter(|(_, row)| row.failed_at < before);
        let by_time: BTreeMap<_, _> = old
            .map(|(key, row)| ((row.failed_at, *key), *key))
            .collect();
        Ok(by_time.into_values().take(limit).collect())
    }
    fn places_of(&self, account: AccountId) -> Result<Vec<(ThrottleKey, Timestamp)>, Broken> {
        let all = self.places.iter();
        let own = all.filter(|(_, (of, _))| *of == account);
        Ok(own.map(|(place, (_, at))| (*place, *at)).collect())
    }
    fn is_place(&self, place: &ThrottleKey) -> Result<bool, Broken> {
        Ok(self.places.contains_key(place))
    }
    fn node_last(&self) -> Result<NodeId, Broken> {
        Ok(self.nodes.last.max(NodeId(self.pretended("nodes"))))
    }
    fn is_retired(&self, node: NodeId) -> Result<bool, Broken> {
        Ok(self.nodes.retired.contains(&node))
    }
    fn cluster_version(&self) -> Result<Option<ClusterVersion>, Broken> {
        Ok(self.nodes.version)
    }
    fn cluster_members(&self) -> Result<Vec<NodeId>, Broken> {
        Ok((1..=self.pretended("members")).map(NodeId).collect())
    }
    fn preferred_leader(&self) -> Result<Option<NodeId>, Broken> {
        Ok(self.nodes.preferred)
    }
    fn ack_policy(&self) -> Result<AckPolicy, Broken> {
        Ok(self.nodes.ack_policy)
    }
    fn authority(&self) -> Result<PeerAuthority, Broken> {
        Ok(self.nodes.authority)
    }
    fn account_limits(&self) -> Result<AccountLimits, Broken> {
        Ok(self.limits)
    }
    fn allowance(&self, account: AccountId) -> Result<Allowance, Broken> {
        let mut found = self.allowances.get(&account).copied().unwrap_or_default();
        found.stored_bytes += self.pretended("bytes");
        found.conversations += self.pretended("conversations");
        Ok(found)
    }
    fn join_token(&self, token: &TokenHash) -> Result<Option<JoinToken>, Broken> {
        Ok(self.nodes.tokens.get(token).copied())
    }
    fn join_tokens(&self) -> Result<u64, Broken> {
        Ok(self.nodes.tokens.len() as u64 + self.pretended("join-tokens"))
    }
    fn join_token_by_id(&self, id: JoinTokenId) -> Result<Option<TokenHash>, Broken> {
        let mut all = self.nodes.tokens.keys();
        Ok(all.find(|token| JoinTokenId::of(token) == id).copied())
    }
    fn operator_by_token(&self, token: &TokenHash) -> Result<Option<OperatorName>, Broken> {
        let mut all = self.nodes.operators.values();
        Ok(all
            .find(|(_, known)| known == token)
            .map(|(name, _)| name.clone()))
    }
    fn operators(&self) -> Result<Vec<OperatorName>, Broken> {
        let all = self.nodes.operators.values();
        Ok(all.map(|(name, _)| name.clone()).collect())
    }
    fn join_tokens_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<TokenHash>, Broken> {
        Ok(self.nodes.expired(now).into_iter().take(limit).collect())
    }
}
