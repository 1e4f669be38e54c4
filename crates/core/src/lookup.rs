//! What a rule may read: the state as the log has made it, up to the command before.
//!
//! Every value is small and copied. Storage answers from memory in the steady state.

use crate::{
    AccountId, AccountLimits, AccountRole, AckPolicy, Allowance, Answer, AuthorityId,
    ClusterRetention, ClusterVersion, ConversationId, Digest, InviteId, JoinTokenId, MemberRole,
    MessageRef, NodeId, OnceId, OncePool, OperatorName, Progress, Reaction, RequestWindow,
    RoomRetention, Sequence, SessionId, ThrottleKey, Timestamp, TokenHash, WebhookId,
    limits::THROTTLE_MAX_MS,
};

/// The state cannot be read. Not an answer to a client: the node has to stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state cannot be read: {why}")]
pub struct Broken {
    /// Description of what was found.
    pub why: String,
    /// The number that the storage has for it, if it has one. Rules do not look at it.
    pub code: Option<i32>,
}

/// What rules know of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Number of the account.
    pub id: AccountId,
    /// Counts its passwords, from 1.
    pub password_version: u64,
    /// Role of the account.
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
    /// Number of the session.
    pub id: SessionId,
    /// The account that owns it.
    pub account: AccountId,
    /// Closed sessions give remembered answers and nothing else.
    pub closed: bool,
    /// When it ends (or, if closed, when it may be forgotten).
    pub expires_at: Timestamp,
    /// Log time of the opening.
    pub began_at: Timestamp,
    /// When it was used, in log time, as far as that was noted.
    pub used_at: Timestamp,
    /// The request numbers that it has used.
    pub requests: RequestWindow,
}

/// What rules know of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Number of the conversation.
    pub id: ConversationId,
    /// The kind: two people, or the members of a room.
    pub kind: Kind,
    /// The number of its last message; 0 if it has none.
    pub sequence_last: Sequence,
    /// Messages up to this number are forgotten; 0: none.
    pub forgotten: Sequence,
    /// What it has set for itself, if it is a room.
    pub retention: RoomRetention,
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
        /// Number of members.
        members: u64,
    },
}

/// What rules know of a member of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Positions of the member.
    pub progress: Progress,
    /// Role of the member, in a room.
    pub role: MemberRole,
    /// Number of messages that the member has sent here.
    pub sent: u64,
}

/// What rules know of an invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invite {
    /// Number of the invite.
    pub id: InviteId,
    /// End of the invite.
    pub expires_at: Timestamp,
    /// Number of accounts that it can still create.
    pub uses_left: u32,
}

/// What rules know of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Number of the webhook.
    pub id: WebhookId,
    /// The room.
    pub conversation: ConversationId,
    /// The account under which it posts.
    pub account: AccountId,
    /// The account that made it.
    pub by: AccountId,
}

/// What rules know of a join token, with which a machine can join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// End of the token.
    pub expires_at: Timestamp,
    /// Whether the machine becomes a voter.
    pub voter: bool,
}

/// The authority that peers trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerAuthority {
    /// Number of rotations of its key.
    pub generation: u64,
    /// The authority that will take its place, once all members are prepared.
    pub next: Option<AuthorityId>,
}

/// Failed log-ins held against a key: a name, an address, both together, a device, a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Failed log-ins since the last success or pause.
    pub failures: u32,
    /// Earliest time of the next attempt.
    pub not_before: Timestamp,
    /// Time of the last failure.
    pub failed_at: Timestamp,
}

impl Throttle {
    /// Returns how long the next attempt has to wait at `now`, in milliseconds. A failure that is
    /// in the future, because log time was set back since, makes nothing wait; its count stays.
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
    /// Account that sent the message.
    pub by: AccountId,
    /// Whether it was deleted for everyone.
    pub deleted: bool,
}

/// What rules know of one of the oldest messages of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldMessage {
    /// The number in the conversation.
    pub sequence: Sequence,
    /// Log time of its entry. Of a message from before cluster version 3: of the entry that raised
    /// the version, which is later.
    pub at: Timestamp,
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
    /// Returns the account with this number.
    fn account(&self, id: AccountId) -> Result<Option<Account>, Broken>;
    /// Returns the account whose name has this key (see [`crate::AccountName::key`]).
    fn account_by_key(&self, key: &str) -> Result<Option<Account>, Broken>;
    /// Returns the first account whose name has this skeleton (see
    /// [`crate::AccountName::skeleton`]).
    fn account_by_skeleton(&self, skeleton: &str) -> Result<Option<AccountId>, Broken>;
    /// Returns how many accounts there are.
    fn accounts(&self) -> Result<u64, Broken>;
    /// Returns the greatest account number ever given.
    fn account_last(&self) -> Result<AccountId, Broken>;
    /// Returns the session with this number, open or closed.
    fn session(&self, id: SessionId) -> Result<Option<Session>, Broken>;
    /// Returns whether a session, open or closed, has this token.
    fn token_in_use(&self, token: &TokenHash) -> Result<bool, Broken>;
    /// Returns the open sessions of an account, the oldest first.
    fn sessions_of(&self, account: AccountId) -> Result<Vec<SessionId>, Broken>;
    /// Returns up to `limit` sessions with `expires_at <= now`, in order of (expires_at, number).
    fn sessions_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<SessionId>, Broken>;
    /// Returns the greatest session number ever given.
    fn session_last(&self) -> Result<SessionId, Broken>;
    /// Returns the answer given to this request of this session.
    fn remembered(&self, session: SessionId, number: u64) -> Result<Option<Remembered>, Broken>;
    /// Returns the answer given to this request outside a session.
    fn remembered_once(&self, id: &OnceId) -> Result<Option<Remembered>, Broken>;
    /// Returns how many answers a pool of requests outside of sessions holds.
    fn once_answers(&self, pool: OncePool) -> Result<u64, Broken>;
    /// Returns the direct conversation of two accounts, the lower number first.
    fn direct(&self, members: (AccountId, AccountId)) -> Result<Option<ConversationId>, Broken>;
    /// Returns the conversation with this number.
    fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, Broken>;
    /// Returns the greatest conversation number ever given.
    fn conversation_last(&self) -> Result<ConversationId, Broken>;
    /// Returns an account's place in a conversation, if it is a member.
    fn membership(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<Option<Membership>, Broken>;
    /// Returns whether an edit has mentioned a member in what it had read already, and it has not
    /// read since.
    fn has_late_mention(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<bool, Broken>;
    /// Returns a message of a conversation.
    fn message(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
    ) -> Result<Option<MessageHead>, Broken>;
    /// Returns the first `limit` messages of a conversation that has members, in order.
    fn oldest_messages(
        &self,
        conversation: ConversationId,
        limit: usize,
    ) -> Result<Vec<OldMessage>, Broken>;
    /// Returns how many messages there are in all, deleted ones included.
    fn messages(&self) -> Result<u64, Broken>;
    /// Returns the first `limit` messages of all conversations, in the order of the log.
    fn oldest_of_all(&self, limit: usize) -> Result<Vec<MessageRef>, Broken>;
    /// Returns whether something that was deleted has rows left that are being removed.
    fn is_sweeping(&self) -> Result<bool, Broken>;
    /// Returns what the cluster keeps.
    fn cluster_retention(&self) -> Result<ClusterRetention, Broken>;
    /// Returns whether an account has deleted a message for itself.
    fn is_hidden(
        &self,
        conversation: ConversationId,
        sequence: Sequence,
        account: AccountId,
    ) -> Result<bool, Broken>;
    /// Returns how many administrators there are that are not suspended.
    fn admins(&self) -> Result<u64, Broken>;
    /// Returns whether `account` has blocked `other`.
    fn is_blocked(&self, account: AccountId, other: AccountId) -> Result<bool, Broken>;
    /// Returns how many accounts this one has blocked.
    fn blocks_of(&self, account: AccountId) -> Result<u64, Broken>;
    /// Returns the room whose name has this key (see [`crate::RoomName::key`]).
    fn room_by_key(&self, key: &str) -> Result<Option<ConversationId>, Broken>;
    /// Returns how many rooms there are.
    fn rooms(&self) -> Result<u64, Broken>;
    /// Returns the rooms that an account is in, in order of their numbers; at most
    /// [`crate::limits::ROOMS_PER_ACCOUNT_MAX`].
    fn rooms_of(&self, account: AccountId) -> Result<Vec<ConversationId>, Broken>;
    /// Returns the member with the greatest role, among those the one that joined first (of equals,
    /// the lowest number), and its role. `account` and the accounts of webhooks are left out.
    fn next_in_line(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> Result<Option<(AccountId, MemberRole)>, Broken>;
    /// Returns whether an account is invited to a room.
    fn is_invited(&self, room: ConversationId, account: AccountId) -> Result<bool, Broken>;
    /// Returns how many invitations a room has.
    fn invitations(&self, room: ConversationId) -> Result<u64, Broken>;
    /// Returns whether an account's reaction to a message is there.
    fn has_reacted(
        &self,
        message: MessageRef,
        account: AccountId,
        reaction: &Reaction,
    ) -> Result<bool, Broken>;
    /// Returns how many accounts give this reaction to a message.
    fn reaction_count(&self, message: MessageRef, reaction: &Reaction) -> Result<u64, Broken>;
    /// Returns how many different reactions a message has.
    fn reaction_kinds(&self, message: MessageRef) -> Result<u64, Broken>;
    /// Returns how many reactions of an account a message has.
    fn reactions_of(&self, message: MessageRef, account: AccountId) -> Result<u64, Broken>;
    /// Returns the hash of the setup token on offer; `None` while there is an administrator.
    fn setup_token(&self) -> Result<Option<TokenHash>, Broken>;
    /// Returns the invite with this code, even if it has run out.
    fn invite_by_code(&self, code: &TokenHash) -> Result<Option<Invite>, Broken>;
    /// Returns whether there is an invite with this number.
    fn has_invite(&self, id: InviteId) -> Result<bool, Broken>;
    /// Returns how many invites there are, those included that have run out and were not swept
    /// away.
    fn invites(&self) -> Result<u64, Broken>;
    /// Returns up to `limit` invites with `expires_at <= now`, in order of (expires_at, number).
    fn invites_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<InviteId>, Broken>;
    /// Returns the greatest invite number ever given.
    fn invite_last(&self) -> Result<InviteId, Broken>;
    /// Returns the webhook whose address has this secret.
    fn webhook_by_token(&self, token: &TokenHash) -> Result<Option<Webhook>, Broken>;
    /// Returns the webhook with this number.
    fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Broken>;
    /// Returns the webhook that posts under this account.
    fn webhook_of(&self, account: AccountId) -> Result<Option<Webhook>, Broken>;
    /// Returns the webhooks of a room in order of their numbers; at most
    /// [`crate::limits::WEBHOOKS_PER_ROOM_MAX`].
    fn webhooks(&self, room: ConversationId) -> Result<Vec<Webhook>, Broken>;
    /// Returns how many webhooks an account has made that are still there.
    fn webhooks_by(&self, account: AccountId) -> Result<u64, Broken>;
    /// Returns the greatest webhook number ever given.
    fn webhook_last(&self) -> Result<WebhookId, Broken>;
    /// Returns the failed log-ins that are held against a key.
    fn throttle(&self, key: &ThrottleKey) -> Result<Option<Throttle>, Broken>;
    /// Returns how many keys have failed log-ins held against them.
    fn throttles(&self) -> Result<u64, Broken>;
    /// Returns up to `limit` of these keys, in order of (failures, failed_at, key).
    fn throttles_first(&self, limit: usize) -> Result<Vec<ThrottleKey>, Broken>;
    /// Returns up to `limit` of these keys with `failed_at < before`, in order of (failed_at, key).
    fn throttles_old(&self, before: Timestamp, limit: usize) -> Result<Vec<ThrottleKey>, Broken>;
    /// Returns the places from which an account was logged in to, and when last, in order of the
    /// places; at most [`crate::limits::LOGIN_PLACES_MAX`].
    fn places_of(&self, account: AccountId) -> Result<Vec<(ThrottleKey, Timestamp)>, Broken>;
    /// Returns whether a place is a known place of any account. A place is the hash of the
    /// account's name, too.
    fn is_place(&self, place: &ThrottleKey) -> Result<bool, Broken>;
    /// Returns the greatest node number that was given out or retired; 0 if there is none.
    fn node_last(&self) -> Result<NodeId, Broken>;
    /// Returns whether this node number is retired.
    fn is_retired(&self, node: NodeId) -> Result<bool, Broken>;
    /// Returns the cluster version, or `None` if the log has said none: then it is
    /// [`ClusterVersion::FIRST`].
    fn cluster_version(&self) -> Result<Option<ClusterVersion>, Broken>;
    /// Returns the numbers of all members, learners included, in order.
    fn cluster_members(&self) -> Result<Vec<NodeId>, Broken>;
    /// Returns the node that leads while it is healthy.
    fn preferred_leader(&self) -> Result<Option<NodeId>, Broken>;
    /// Returns which voters acknowledgements wait for.
    fn ack_policy(&self) -> Result<AckPolicy, Broken>;
    /// Returns the authority that peers trust, and the one that takes its place next.
    fn authority(&self) -> Result<PeerAuthority, Broken>;
    /// Returns the limits of accounts.
    fn account_limits(&self) -> Result<AccountLimits, Broken>;
    /// Returns what an account has used of its limits.
    fn allowance(&self, account: AccountId) -> Result<Allowance, Broken>;
    /// Returns this join token, even if it has run out.
    fn join_token(&self, token: &TokenHash) -> Result<Option<JoinToken>, Broken>;
    /// Returns how many join tokens there are, those included that have run out and were not swept
    /// away.
    fn join_tokens(&self) -> Result<u64, Broken>;
    /// Returns the join token with this id, even if it has run out.
    fn join_token_by_id(&self, id: JoinTokenId) -> Result<Option<TokenHash>, Broken>;
    /// Returns the operator with this credential.
    fn operator_by_token(&self, token: &TokenHash) -> Result<Option<OperatorName>, Broken>;
    /// Returns all operators in order of the keys of their names; at most
    /// [`crate::limits::OPERATORS_MAX`].
    fn operators(&self) -> Result<Vec<OperatorName>, Broken>;
    /// Returns up to `limit` join tokens with `expires_at <= now`, in order of (expires_at, hash).
    fn join_tokens_expired(&self, now: Timestamp, limit: usize) -> Result<Vec<TokenHash>, Broken>;
}
