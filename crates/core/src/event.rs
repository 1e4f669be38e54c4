//! Events: each is the row that is kept and, for accounts that may see it, the item that is
//! streamed. There is no second kind of notification.
//!
//! Always true: an event is a fact. Storage writes it, decides nothing, and cannot refuse it.

use crate::{
    AccountId, AccountLimits, AccountName, AccountRole, AckPolicy, AuthorityId, ClusterRetention,
    ClusterVersion, ConversationId, DisplayName, InviteId, MemberRole, MessageText, NodeId,
    OperatorName, Progress, Reaction, RoomName, RoomRetention, Sequence, SessionId, SessionLabel,
    ThrottleKey, Timestamp, TokenHash, Topic, WebhookId,
};

/// One fact. Events of one entry are numbered from 0 in the order in which they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// About an account itself.
    Account(AccountEvent),
    /// About what allows log-ins and new accounts: the setup token, invites, failed log-ins.
    Access(AccessEvent),
    /// About a session.
    Session(SessionEvent),
    /// About any conversation, direct or a room.
    Conversation(ConversationEvent),
    /// About a message.
    Message(MessageEvent),
    /// About a room, its members, or its webhooks.
    Room(RoomEvent),
    /// About the cluster: join tokens, operators, nodes.
    Cluster(ClusterEvent),
}

/// A fact about an account itself, or about the limits of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountEvent {
    /// An account exists.
    Created {
        /// Number of the account: the next one free.
        account: AccountId,
        /// Name of the account.
        name: AccountName,
        /// argon2id in PHC form; empty if no password can log in to the account.
        password_hash: String,
        /// Role of the account. An administrator ends the offer of the setup token.
        role: AccountRole,
        /// Time of creation.
        at: Timestamp,
    },
    /// An account has another password, and its version is one more.
    PasswordChanged {
        /// The account.
        account: AccountId,
        /// argon2id in PHC form.
        password_hash: String,
        /// Version of the password: counts the account's passwords.
        password_version: u64,
    },
    /// The stored hash of an account's password has changed; the password is the same.
    PasswordRehashed {
        /// The account.
        account: AccountId,
        /// argon2id in PHC form.
        password_hash: String,
    },
    /// An account was suspended, or reactivated.
    Suspended {
        /// The account.
        account: AccountId,
        /// Whether it is suspended now.
        suspended: bool,
    },
    /// The display name of an account has changed.
    DisplayNameChanged {
        /// The account.
        account: AccountId,
        /// The new display name.
        display_name: DisplayName,
    },
    /// The role of an account has changed.
    RoleChanged {
        /// The account.
        account: AccountId,
        /// The new role.
        role: AccountRole,
    },
    /// An account has blocked another, or has ended that.
    BlockChanged {
        /// The account that blocks.
        account: AccountId,
        /// The account that is blocked, or is not any more.
        other: AccountId,
        /// Whether it is blocked now.
        blocked: bool,
    },
    /// An account is gone: its row, its password, its place in every conversation. Its messages
    /// stay with the accounts that received them; a conversation without members goes with its
    /// messages.
    Deleted {
        /// The account.
        account: AccountId,
    },
    /// The limits of accounts have changed.
    LimitsChanged {
        /// The new limits, all of them.
        limits: AccountLimits,
    },
}

/// A fact about what allows log-ins and new accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessEvent {
    /// The setup token has changed.
    SetupOffered {
        /// Hash of the new token.
        token: TokenHash,
    },
    /// Accounts can be created with a code.
    InviteCreated {
        /// Number of the invite: the next one free.
        invite: InviteId,
        /// Hash of the code.
        code: TokenHash,
        /// The administrator that created the invite.
        by: AccountId,
        /// End of the invite.
        expires_at: Timestamp,
        /// Number of accounts that it can create.
        uses: u32,
    },
    /// An account was created with an invite; with no uses left, the invite is gone.
    InviteUsed {
        /// The invite.
        invite: InviteId,
        /// Number of accounts that it can still create.
        uses_left: u32,
    },
    /// An invite is gone: taken back, or run out and swept away.
    InviteRemoved {
        /// The invite.
        invite: InviteId,
    },
    /// An attempt with a password was made. It counts as a failure until it is forgiven.
    LoginFailed {
        /// The name, the address, both together, a device or a session.
        key: ThrottleKey,
        /// Number of failures since the last success or pause.
        failures: u32,
        /// Earliest time of the next attempt.
        not_before: Timestamp,
        /// Time of the attempt.
        at: Timestamp,
    },
    /// Nothing is held against a key any more.
    LoginForgiven {
        /// The key.
        key: ThrottleKey,
    },
    /// A log-in to an account came from a place (an address, or a device).
    LoginKnown {
        /// The account.
        account: AccountId,
        /// The place.
        place: ThrottleKey,
        /// Time of the log-in.
        at: Timestamp,
    },
    /// A place of an account is forgotten: others were used since.
    LoginForgotten {
        /// The account.
        account: AccountId,
        /// The place.
        place: ThrottleKey,
    },
}

/// A fact about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A session may be used.
    Opened {
        /// Number of the session: the next one free.
        session: SessionId,
        /// The account that owns it.
        account: AccountId,
        /// Hash of the token.
        token: TokenHash,
        /// The owner's name for it.
        label: SessionLabel,
        /// Date of the opening.
        at: Timestamp,
        /// Log time of the opening, from which the end is counted.
        began_at: Timestamp,
        /// End of the session unless it is renewed.
        expires_at: Timestamp,
    },
    /// A session was used, and may live longer.
    Renewed {
        /// The session.
        session: SessionId,
        /// The new end.
        expires_at: Timestamp,
        /// Time of the use.
        used_at: Timestamp,
    },
    /// A session cannot be used any more; its remembered answers stay a while.
    Closed {
        /// The session.
        session: SessionId,
        /// Time from which everything about it may be forgotten.
        forget_at: Timestamp,
    },
    /// Nothing is left of a session.
    Forgotten {
        /// The session.
        session: SessionId,
    },
}

/// A fact about a conversation of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationEvent {
    /// Two people (or one, with itself) have a conversation.
    Opened {
        /// Number of the conversation: the next one free.
        conversation: ConversationId,
        /// The members, the lower number first.
        members: (AccountId, AccountId),
        /// Time of creation.
        at: Timestamp,
    },
    /// A member has come further. Neither value is less than it was.
    PositionAdvanced {
        /// The conversation.
        conversation: ConversationId,
        /// The member.
        account: AccountId,
        /// The new position.
        progress: Progress,
    },
    /// The oldest messages of a conversation are gone, and everything about them.
    Forgotten {
        /// The conversation.
        conversation: ConversationId,
        /// Number of the last message that is gone: at most
        /// [`crate::limits::FORGET_MESSAGES_MAX`] more than before.
        through: Sequence,
    },
}

/// A fact about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageEvent {
    /// A message was accepted and has its place in the conversation.
    Sent(SentMessage),
    /// A message has another text.
    Edited {
        /// The conversation.
        conversation: ConversationId,
        /// Number of the message.
        sequence: Sequence,
        /// Time of the edit.
        at: Timestamp,
        /// New text of the message.
        text: MessageText,
        /// Members that the text names now.
        mentions: Vec<AccountId>,
    },
    /// A reaction is there, or is not any more.
    ReactionChanged {
        /// The conversation.
        conversation: ConversationId,
        /// Number of the message.
        sequence: Sequence,
        /// The account that reacted.
        account: AccountId,
        /// The reaction.
        reaction: Reaction,
        /// Whether it is there now.
        present: bool,
        /// Number of accounts that give this reaction now.
        count: u64,
    },
    /// One member does not see a message any more.
    Hidden {
        /// The conversation.
        conversation: ConversationId,
        /// Number of the message.
        sequence: Sequence,
        /// The member.
        account: AccountId,
    },
    /// A message keeps its place and its time, and has no text any more.
    Deleted {
        /// The conversation.
        conversation: ConversationId,
        /// Number of the message.
        sequence: Sequence,
        /// Time of the deletion.
        at: Timestamp,
    },
}

/// A message with its place in the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// The conversation.
    pub conversation: ConversationId,
    /// Number of the message in the conversation: one more than the last.
    pub sequence: Sequence,
    /// Account that sent the message.
    pub by: AccountId,
    /// Time of the message.
    pub at: Timestamp,
    /// Text of the message.
    pub text: MessageText,
    /// The message that it answers.
    pub reply_to: Option<Sequence>,
    /// Whether the text describes an action of the sender.
    pub action: bool,
    /// It is the n-th message of its sender in this conversation, from 1: so that unread
    /// messages need not be counted.
    pub ordinal: u64,
    /// Members that the text names, in order of their numbers, each once.
    pub mentions: Vec<AccountId>,
}

/// A fact about a room, its members, or its webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomEvent {
    /// A room exists. It has no member yet: its creator joins with the next event.
    Created {
        /// Number of the room: the next one free of conversations.
        conversation: ConversationId,
        /// Name of the room.
        name: RoomName,
        /// Topic of the room.
        topic: Topic,
        /// Whether every account may see and join it.
        public: bool,
        /// Time of creation.
        at: Timestamp,
    },
    /// An account has become a member of a room; its invitation is used up. It has read
    /// everything that is there already.
    MemberJoined {
        /// The room.
        conversation: ConversationId,
        /// The new member.
        account: AccountId,
        /// Role of the member.
        role: MemberRole,
        /// Positions of the member: at the last message there is.
        progress: Progress,
    },
    /// An account is no longer a member of a room; a room without members goes with its messages.
    MemberLeft {
        /// The room.
        conversation: ConversationId,
        /// The account that is no longer a member.
        account: AccountId,
        /// The account that caused it: the member itself, or another one that removed it.
        by: AccountId,
    },
    /// The role of a member has changed.
    MemberRoleChanged {
        /// The room.
        conversation: ConversationId,
        /// The member.
        account: AccountId,
        /// The new role.
        role: MemberRole,
    },
    /// The topic of a room has changed.
    TopicChanged {
        /// The room.
        conversation: ConversationId,
        /// The new topic.
        topic: Topic,
    },
    /// A room keeps messages differently long, or another number of them.
    RetentionChanged {
        /// The room.
        conversation: ConversationId,
        /// What the room sets for itself.
        retention: RoomRetention,
    },
    /// An account may join a room.
    MemberInvited {
        /// The room.
        conversation: ConversationId,
        /// The invited account.
        account: AccountId,
        /// The account that invited it.
        by: AccountId,
    },
    /// An invitation to a room is gone.
    InvitationRemoved {
        /// The room.
        conversation: ConversationId,
        /// The account that was invited.
        account: AccountId,
    },
    /// Programs can post to a room.
    WebhookCreated {
        /// Number of the webhook: the next one free.
        webhook: WebhookId,
        /// Hash of the secret in the webhook's address.
        token: TokenHash,
        /// The room.
        conversation: ConversationId,
        /// The account under which it posts.
        account: AccountId,
        /// The account that created the webhook.
        by: AccountId,
        /// Time of creation.
        at: Timestamp,
    },
    /// A webhook is gone.
    WebhookDeleted {
        /// The webhook.
        webhook: WebhookId,
    },
}

/// A fact about the cluster: join tokens, operators, nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterEvent {
    /// One machine can join with this token.
    JoinTokenCreated {
        /// Hash of the token.
        token: TokenHash,
        /// End of the token.
        expires_at: Timestamp,
        /// Whether the machine becomes a voter.
        voter: bool,
        /// The operator that created it.
        by: OperatorName,
        /// Time of creation.
        at: Timestamp,
    },
    /// A join token was used, was revoked or has run out.
    JoinTokenRemoved {
        /// Hash of the token.
        token: TokenHash,
    },
    /// An operator was created.
    OperatorCreated {
        /// Name of the operator.
        name: OperatorName,
        /// Hash of the credential.
        token: TokenHash,
        /// The operator that created it; `None`: the cluster itself.
        by: Option<OperatorName>,
        /// Time of creation.
        at: Timestamp,
    },
    /// An operator is gone.
    OperatorRemoved {
        /// Name of the operator.
        name: OperatorName,
    },
    /// A machine has a number in the cluster, greater than every one before.
    NodeAdmitted {
        /// The node's number.
        node: NodeId,
    },
    /// A node number is retired: no node with it can join again.
    NodeRetired {
        /// The retired number.
        node: NodeId,
    },
    /// The key of the authority that peers trust is rotated, or is about to be.
    AuthorityRotated {
        /// Number of rotations, this one included.
        generation: u64,
        /// The authority.
        authority: AuthorityId,
        /// Whether the one before is not trusted any more; otherwise this one is announced.
        is_final: bool,
    },
    /// The cluster version was raised: it applies from the next command on.
    VersionRaised {
        /// The version.
        to: ClusterVersion,
    },
    /// The cluster keeps messages differently long, or another number of them.
    RetentionChanged {
        /// All of it.
        retention: ClusterRetention,
    },
    /// The preferred leader has changed: that node leads while it is healthy.
    LeaderPreferred {
        /// The preferred node; `None`: any node that is elected.
        node: Option<NodeId>,
    },
    /// Acknowledgements wait for other voters from now on.
    AckPolicyChanged {
        /// The voters.
        policy: AckPolicy,
    },
}
