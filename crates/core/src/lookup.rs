//! What a rule may read: the state as the log has made it, up to the command before.
//!
//! Every value is small and copied. Storage answers from memory in the steady state.

use crate::{
    AccountId, AccountLimits, AccountRole, Allowance, Answer, AuthorityId, ConversationId, Digest,
    InviteId, JoinTokenId, MemberRole, MessageRef, NodeId, OnceId, OncePool, OperatorName,
    Progress, Reaction, RequestWindow, Sequence, SessionId, ThrottleKey, Timestamp, TokenHash,
    WebhookId, limits::THROTTLE_MAX_MS,
};

/// The state cannot be read. Not an answer to a client: the node has to stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state cannot be read: {why}")]
pub struct Broken {
    /// What was found.
    pub why: String,
    /// The number that the storage has for it, if it has one. Rules do not look at it.
    pub code: Option<i32>,
}

/// What rules know of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Counts its passwords, from 1.
    pub password_version: u64,
    /// What it may do.
    pub role: AccountRole,
    /// Whether an administrator has suspended it.
    pub suspended: bool,
}

impl Account {
    /// Returns whether it is an administrator's, and not suspended.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.role == AccountRole::Admin && !self.suspended
    }
}

/// What rules know of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// The account that owns it.
    pub account: AccountId,
    /// Closed sessions give remembered answers and nothing else.
    pub closed: bool,
    /// When it ends (or, if closed, when it may be forgotten).
    pub expires_at: Timestamp,
    /// Since when it is open, in log time.
    pub began_at: Timestamp,
    /// When it was used, in log time, as far as that was noted.
    pub used_at: Timestamp,
    /// The request numbers that it has used.
    pub requests: RequestWindow,
}

/// What rules know of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its number.
    pub id: ConversationId,
    /// The kind: two people, or the members of a room.
    pub kind: Kind,
    /// The number of its last message; 0 if it has none.
    pub sequence_last: Sequence,
}

/// Kind of a conversation: between two people, or between the members of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The two people, as they were when it was opened; the lower number first.
    Direct(AccountId, AccountId),
    /// The members of a room.
    Room {
        /// Whether every account may see and join it.
        public: bool,
        /// How many members it has.
        members: u64,
    },
}

/// What rules know of a member of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// How far the member has come.
    pub progress: Progress,
    /// What it may do, in a room.
    pub role: MemberRole,
    /// How many messages it has sent here.
    pub sent: u64,
}

/// What rules know of an invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Its number.
    pub id: InviteId,
    /// End of the invite.
    pub expires_at: Timestamp,
    /// How often it can still be used.
    pub uses_left: u32,
}

/// What rules know of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its number.
    pub id: WebhookId,
    /// The room.
    pub conversation: ConversationId,
    /// The account under which it posts.
    pub account: AccountId,
    /// The account that made it.
    pub by: AccountId,
}

/// What rules know of a token with which a machine can join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// End of the token.
    pub expires_at: Timestamp,
    /// Whether the machine becomes a voter.
    pub voter: bool,
}

/// Which authority peers believe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerAuthority {
    /// How often its key was exchanged.
    pub generation: u64,
    /// The authority that will take its place, once all members are prepared.
    pub next: Option<AuthorityId>,
}

/// What is held against a key: a name, an address, both together, a device, a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Failed log-ins since the last success or pause.
    pub failures: u32,
    /// When the next one may be tried.
    pub not_before: Timestamp,
    /// When the last one failed.
    pub failed_at: Timestamp,
}

impl Throttle {
    /// How long the next attempt has to wait at `now`, in milliseconds. A failure that is in the
    /// future, because log time was set back since, makes nothing wait; its count stays.
    #[must_use]
    pub fn left_ms(&self, now: Timestamp) -> u64 {
        if self.failed_at > now {
            return 0;
        }
        self.not_before.0.saturating_sub(now.0).min(THROTTLE_MAX_MS)
    }
}

/// What rules know of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHead {
    /// Its sender.
    pub by: AccountId,
    /// Whether it was deleted for everyone.
    pub deleted: bool,
}

/// An answer that was given before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The request that it answered.
    pub digest: Digest,
    /// The answer.
    pub answer: Answer,
    /// The log index of the entry in which it was decided.
    pub decided_in: u64,
}

/// The state, as a rule reads it.
///
/// Every method fails only with [`Broken`]: what is not there is `None`.
pub trait Lookup {
    /// The account with this number.
    fn account(&self, id: AccountId) -> Result<Option<Account>, Broken>;
    /// The account whose name has this key (see [`crate::AccountName::key`]).
    fn account_by_key(&self, key: &str) -> Result<Option<Account>, Broken>;
    /// An account whose name looks like this (see [`crate::AccountName::look`]), the first one.
    fn account_by_look(&self, look: &str) -> Result<Option<AccountId>, Broken>;
    /// How many accounts there are.
    fn accounts(&self) -> Result<u64, Broken>;
    /// The greatest account number ever given.
    fn account_last(&self) -> Result<AccountId, Broken>;
    /// The session with this number, open or closed.
    fn session(&self, id: SessionId) -> Result<Option<Session>, Broken>;
    /// Whether a session, open or closed, has this token.
    fn token_in_use(&self, token: &TokenHash) -> Result<bool, Broken>;
    /// The open sessions of an account, the oldest first.
    fn sessions_of(&self, account: AccountId) -> Result<Vec<SessionId>, Broken>;
    /// Up to `limit` sessions with `expires_at <= now`, in order of (expires_at, number).
    fn sessions_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionId>, Broken>;
    /// The greatest session number ever given.
    fn session_last(&self) -> Result<SessionId, Broken>;
    /// The answer given to this request of this session.
    fn remembered(&self, session: SessionId, number: u64) -> Result<Option<Remembered>, Broken>;
    /// The answer given to this request outside a session.
    fn remembered_once(&self, id: &OnceId) -> Result<Option<Remembered>, Broken>;
    /// How many answers a pool of requests outside of sessions holds.
    fn once_answers(&self, pool: OncePool) -> Result<u64, Broken>;
    /// The direct conversation of two accounts, the lower number first.
    fn direct(&self, members: (AccountId, AccountId)) -> Result<Option<ConversationId>, Broken>;
    /// The conversation with this number.
    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, Broken>;
    /// The greatest conversation number ever given.
    fn conversation_last(&self) -> Result<ConversationId, Broken>;
    /// An account's place in a conversation, if it is a member.
    fn membership(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<Option<Membership>, Broken>;
    /// Whether an edit has mentioned a member in what it had read already, and it has not read
    /// since.
    fn has_late_mention(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<bool, Broken>;
    /// A message of a conversation.
    fn message(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
    ) -> Result<Option<MessageHead>, Broken>;
    /// Whether an account has deleted a message for itself.
    fn is_hidden(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
        account: AccountId,
    ) -> Result<bool, Broken>;
    /// How many administrators there are that are not suspended.
    fn admins(&self) -> Result<u64, Broken>;
    /// Whether `account` has blocked `other`.
    fn is_blocked(&self, account: AccountId, other: AccountId) -> Result<bool, Broken>;
    /// How many accounts this one has blocked.
    fn blocks_of(&self, account: AccountId) -> Result<u64, Broken>;
    /// The room whose name has this key (see [`crate::RoomName::key`]).
    fn room_by_key(&self, key: &str) -> Result<Option<ConversationId>, Broken>;
    /// How many rooms there are.
    fn rooms(&self) -> Result<u64, Broken>;
    /// The rooms that an account is in, in order of their numbers; at most
    /// [`crate::limits::ROOMS_PER_ACCOUNT_MAX`].
    fn rooms_of(&self, account: AccountId) -> Result<Vec<ConversationId>, Broken>;
    /// The member with the greatest role, among those the one that joined first (of equals, the
    /// lowest number), and its role. `account` and the accounts of webhooks are left out.
    fn next_in_line(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<Option<(AccountId, MemberRole)>, Broken>;
    /// Whether an account is invited to a room.
    fn is_invited(&self, room: ConversationId, account: AccountId) -> Result<bool, Broken>;
    /// How many invitations a room has.
    fn invitations(&self, room: ConversationId) -> Result<u64, Broken>;
    /// Whether an account's reaction to a message is there.
    fn has_reacted(
        &self,
        message: MessageRef,
        account: AccountId,
        reaction: &Reaction,
    ) -> Result<bool, Broken>;
    /// Whether any account's reaction of this kind is there.
    fn has_reaction(&self, message: MessageRef, reaction: &Reaction) -> Result<bool, Broken>;
    /// How many different reactions a message has.
    fn reaction_kinds(&self, message: MessageRef) -> Result<u64, Broken>;
    /// How many reactions of an account a message has.
    fn reactions_of(&self, message: MessageRef, account: AccountId) -> Result<u64, Broken>;
    /// The hash of the setup token on offer; none while there is an administrator.
    fn setup_token(&self) -> Result<Option<TokenHash>, Broken>;
    /// The invite with this code, even if it has run out.
    fn invite_by_code(&self, code: &TokenHash) -> Result<Option<Invite>, Broken>;
    /// Whether there is an invite with this number.
    fn has_invite(&self, id: InviteId) -> Result<bool, Broken>;
    /// How many invites there are, those included that have run out and were not swept away.
    fn invites(&self) -> Result<u64, Broken>;
    /// Up to `limit` invites with `expires_at <= now`, in order of (expires_at, number).
    fn invites_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<InviteId>, Broken>;
    /// The greatest invite number ever given.
    fn invite_last(&self) -> Result<InviteId, Broken>;
    /// The webhook whose address has this secret.
    fn webhook_by_token(&self, token: &TokenHash) -> Result<Option<Webhook>, Broken>;
    /// The webhook with this number.
    fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Broken>;
    /// The webhook that posts under this account.
    fn webhook_of(&self, account: AccountId) -> Result<Option<Webhook>, Broken>;
    /// The webhooks of a room in order of their numbers; at most
    /// [`crate::limits::WEBHOOKS_PER_ROOM_MAX`].
    fn webhooks(&self, room: ConversationId) -> Result<Vec<Webhook>, Broken>;
    /// How many webhooks an account has made that are still there.
    fn webhooks_by(&self, account: AccountId) -> Result<u64, Broken>;
    /// The greatest webhook number ever given.
    fn webhook_last(&self) -> Result<WebhookId, Broken>;
    /// What is held against a key.
    fn throttle(&self, key: &ThrottleKey) -> Result<Option<Throttle>, Broken>;
    /// How many keys something is held against.
    fn throttles(&self) -> Result<u64, Broken>;
    /// Up to `limit` of them, in order of (failures, failed_at, key).
    fn throttles_first(&self, limit: usize) -> Result<Vec<ThrottleKey>, Broken>;
    /// Up to `limit` of them with `failed_at < before`, in order of (failed_at, key).
    fn throttles_old(&self, before: Timestamp, limit: usize) -> Result<Vec<ThrottleKey>, Broken>;
    /// The places from which an account was logged in to, and when last, in order of the places;
    /// at most [`crate::limits::LOGIN_PLACES_MAX`].
    fn places_of(&self, account: AccountId) -> Result<Vec<(ThrottleKey, Timestamp)>, Broken>;
    /// Whether a place is one of some account's. A place is the hash of the account's name, too.
    fn is_place(&self, place: &ThrottleKey) -> Result<bool, Broken>;
    /// The greatest number of a node that was given out or used up; 0 if there is none.
    fn node_last(&self) -> Result<NodeId, Broken>;
    /// Whether this number of a node is used up.
    fn is_retired(&self, node: NodeId) -> Result<bool, Broken>;
    /// The node that leads while it is healthy.
    fn preferred_leader(&self) -> Result<Option<NodeId>, Broken>;
    /// Which authority peers believe, and which one they are about to.
    fn authority(&self) -> Result<PeerAuthority, Broken>;
    /// What accounts may do and keep.
    fn account_limits(&self) -> Result<AccountLimits, Broken>;
    /// What an account has used of that.
    fn allowance(&self, account: AccountId) -> Result<Allowance, Broken>;
    /// This token to join, even if it has run out.
    fn join_token(&self, token: &TokenHash) -> Result<Option<JoinToken>, Broken>;
    /// How many tokens to join there are, those included that have run out and were not swept away.
    fn join_tokens(&self) -> Result<u64, Broken>;
    /// The token to join with this id, even if it has run out.
    fn join_token_by_id(&self, id: JoinTokenId) -> Result<Option<TokenHash>, Broken>;
    /// The operator with this credential.
    fn operator_by_token(&self, token: &TokenHash) -> Result<Option<OperatorName>, Broken>;
    /// All operators in order of the keys of their names; at most
    /// [`crate::limits::OPERATORS_MAX`].
    fn operators(&self) -> Result<Vec<OperatorName>, Broken>;
    /// Up to `limit` tokens to join with `expires_at <= now`, in order of (expires_at, hash).
    fn join_tokens_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<TokenHash>, Broken>;
}
