//! What has happened: the row that is kept and, for those who may see it, the item that is
//! streamed. There is no second kind of notification.
//!
//! Always true: an event is a fact. Storage writes it without deciding anything, and it cannot be
//! refused.

use crate::{
    AccountId, AccountLimits, AccountName, AccountRole, AuthorityId, ConversationId, DisplayName,
    InviteId, MemberRole, MessageText, NodeId, OperatorName, Progress, Reaction, RoomName,
    Sequence, SessionId, SessionLabel, ThrottleKey, Timestamp, TokenHash, Topic, WebhookId,
};

/// One fact. Events of one entry are numbered from 0 in the order in which they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An account exists.
    AccountCreated {
        /// Its number, the next one free.
        account: AccountId,
        /// Its name.
        name: AccountName,
        /// argon2id in PHC form; empty if nobody can log in with a password.
        password_hash: String,
        /// What it may do. An administrator ends the offer of the setup token.
        role: AccountRole,
        /// Since when.
        at: Timestamp,
    },
    /// An account has another password, and its version is one more.
    PasswordChanged {
        /// Which.
        account: AccountId,
        /// argon2id in PHC form.
        password_hash: String,
        /// Counts its passwords.
        password_version: u64,
    },
    /// The hash of an account's password is another one of the same password.
    PasswordRehashed {
        /// Whose.
        account: AccountId,
        /// argon2id in PHC form.
        password_hash: String,
    },
    /// An account was suspended, or reactivated.
    AccountSuspended {
        /// Which.
        account: AccountId,
        /// Whether it is suspended now.
        suspended: bool,
    },
    /// Something else is shown beside an account's name.
    DisplayNameChanged {
        /// Whose.
        account: AccountId,
        /// What.
        display_name: DisplayName,
    },
    /// An account may do something else.
    AccountRoleChanged {
        /// Which.
        account: AccountId,
        /// What.
        role: AccountRole,
    },
    /// An account has blocked another, or has ended that.
    BlockChanged {
        /// Who.
        account: AccountId,
        /// Whom.
        other: AccountId,
        /// Whether it is blocked now.
        blocked: bool,
    },
    /// The setup token is this one now.
    SetupOffered {
        /// Its hash.
        token: TokenHash,
    },
    /// Accounts can be created with a code.
    InviteCreated {
        /// Its number, the next one free.
        invite: InviteId,
        /// Hash of the code.
        code: TokenHash,
        /// Who made it.
        by: AccountId,
        /// Until when.
        expires_at: Timestamp,
        /// How often.
        uses: u32,
    },
    /// An account was created with an invite; with no uses left, the invite is gone.
    InviteUsed {
        /// Which.
        invite: InviteId,
        /// How often it can still be used.
        uses_left: u32,
    },
    /// An invite is gone: taken back, or run out and swept away.
    InviteRemoved {
        /// Which.
        invite: InviteId,
    },
    /// An attempt with a password was made. It counts as a failure until it is forgiven.
    LoginFailed {
        /// The name, the address, both together, a device or a session.
        key: ThrottleKey,
        /// How often since the last success or pause.
        failures: u32,
        /// When the next one may be tried.
        not_before: Timestamp,
        /// When it failed.
        at: Timestamp,
    },
    /// Nothing is held against a key any more.
    LoginForgiven {
        /// Which.
        key: ThrottleKey,
    },
    /// An account was logged in to from a place (an address, or a device).
    LoginKnown {
        /// Which account.
        account: AccountId,
        /// The place.
        place: ThrottleKey,
        /// When.
        at: Timestamp,
    },
    /// A place of an account is forgotten: others were used since.
    LoginForgotten {
        /// Which account.
        account: AccountId,
        /// The place.
        place: ThrottleKey,
    },
    /// An account is gone: its row, its password, its place in every conversation. Its messages
    /// stay with those who received them; a conversation without members goes with its messages.
    AccountDeleted {
        /// Which.
        account: AccountId,
    },
    /// A session may be used.
    SessionOpened {
        /// Its number, the next one free.
        session: SessionId,
        /// Whose it is.
        account: AccountId,
        /// Hash of its token.
        token: TokenHash,
        /// What its owner calls it.
        label: SessionLabel,
        /// Since which date.
        at: Timestamp,
        /// Since when in log time, which its end is counted from.
        began_at: Timestamp,
        /// Until when, unless renewed.
        expires_at: Timestamp,
    },
    /// A session was used, and may live longer.
    SessionRenewed {
        /// Which.
        session: SessionId,
        /// Until when.
        expires_at: Timestamp,
        /// When it was used.
        used_at: Timestamp,
    },
    /// A session cannot be used any more; its remembered answers stay a while.
    SessionClosed {
        /// Which.
        session: SessionId,
        /// When everything about it may be forgotten.
        forget_at: Timestamp,
    },
    /// Nothing is left of a session.
    SessionForgotten {
        /// Which.
        session: SessionId,
    },
    /// Two people (or one, with itself) have a conversation.
    ConversationOpened {
        /// Its number, the next one free.
        conversation: ConversationId,
        /// The members, the lower number first.
        members: (AccountId, AccountId),
        /// Since when.
        at: Timestamp,
    },
    /// A message has its place.
    MessageSent {
        /// In which conversation.
        conversation: ConversationId,
        /// Its number there: one more than the last.
        sequence: Sequence,
        /// Its sender.
        by: AccountId,
        /// When.
        at: Timestamp,
        /// What it says.
        text: MessageText,
        /// The message that it answers.
        reply_to: Option<Sequence>,
        /// Whether the text tells what the sender does.
        action: bool,
        /// It is the n-th message of its sender in this conversation, from 1: so that unread
        /// messages need not be counted.
        ordinal: u64,
        /// Members that the text names, in order of their numbers, each once.
        mentions: Vec<AccountId>,
    },
    /// A message has another text.
    MessageEdited {
        /// In which conversation.
        conversation: ConversationId,
        /// Which.
        sequence: Sequence,
        /// When.
        at: Timestamp,
        /// What it says now.
        text: MessageText,
        /// Members that the text names now.
        mentions: Vec<AccountId>,
    },
    /// A reaction is there, or is not any more.
    ReactionChanged {
        /// In which conversation.
        conversation: ConversationId,
        /// To which message.
        sequence: Sequence,
        /// Whose.
        account: AccountId,
        /// Which.
        reaction: Reaction,
        /// Whether it is there now.
        present: bool,
    },
    /// A room exists. It has no member yet: its creator joins with the next event.
    RoomCreated {
        /// Its number, the next one free of conversations.
        conversation: ConversationId,
        /// Its name.
        name: RoomName,
        /// What it is about.
        topic: Topic,
        /// Whether everybody may see and join it.
        public: bool,
        /// Since when.
        at: Timestamp,
    },
    /// An account has become a member of a room; its invitation is used up. It has read
    /// everything that is there already.
    MemberJoined {
        /// Which room.
        conversation: ConversationId,
        /// Who.
        account: AccountId,
        /// What it may do.
        role: MemberRole,
        /// How far it has come: to the last message there is.
        progress: Progress,
    },
    /// An account is no longer a member of a room; a room without members goes with its messages.
    MemberLeft {
        /// Which room.
        conversation: ConversationId,
        /// Who.
        account: AccountId,
        /// Who has done it.
        by: AccountId,
    },
    /// A member may do something else.
    MemberRoleChanged {
        /// In which room.
        conversation: ConversationId,
        /// Who.
        account: AccountId,
        /// What.
        role: MemberRole,
    },
    /// A room is about something else.
    TopicChanged {
        /// Which room.
        conversation: ConversationId,
        /// What.
        topic: Topic,
    },
    /// Somebody may join a room.
    MemberInvited {
        /// Which room.
        conversation: ConversationId,
        /// Who.
        account: AccountId,
        /// By whom.
        by: AccountId,
    },
    /// An invitation to a room is gone.
    InvitationRemoved {
        /// Which room.
        conversation: ConversationId,
        /// Whose.
        account: AccountId,
    },
    /// Programs can post to a room.
    WebhookCreated {
        /// Its number, the next one free.
        webhook: WebhookId,
        /// Hash of the secret in its address.
        token: TokenHash,
        /// Which room.
        conversation: ConversationId,
        /// The account under which it posts.
        account: AccountId,
        /// Who made it.
        by: AccountId,
        /// When.
        at: Timestamp,
    },
    /// A webhook is gone.
    WebhookDeleted {
        /// Which.
        webhook: WebhookId,
    },
    /// A member has come further. Neither value is less than it was.
    PositionAdvanced {
        /// In which conversation.
        conversation: ConversationId,
        /// Who.
        account: AccountId,
        /// How far.
        progress: Progress,
    },
    /// One member does not see a message any more.
    MessageHidden {
        /// In which conversation.
        conversation: ConversationId,
        /// Which.
        sequence: Sequence,
        /// For whom.
        account: AccountId,
    },
    /// A message keeps its place and its time, and has no text any more.
    MessageDeleted {
        /// In which conversation.
        conversation: ConversationId,
        /// Which.
        sequence: Sequence,
        /// When.
        at: Timestamp,
    },
    /// One machine can join with this token.
    JoinTokenCreated {
        /// Its hash.
        token: TokenHash,
        /// Until when.
        expires_at: Timestamp,
        /// Whether the machine shall vote.
        voter: bool,
        /// The operator that made it.
        by: OperatorName,
        /// When.
        at: Timestamp,
    },
    /// A token to join was used, was taken back or has run out.
    JoinTokenRemoved {
        /// Its hash.
        token: TokenHash,
    },
    /// There is another operator.
    OperatorCreated {
        /// Its name.
        name: OperatorName,
        /// Hash of its credential.
        token: TokenHash,
        /// The operator that made it; none: the cluster itself.
        by: Option<OperatorName>,
        /// When.
        at: Timestamp,
    },
    /// An operator is gone.
    OperatorRemoved {
        /// Which.
        name: OperatorName,
    },
    /// A machine has a number in the cluster, greater than every one before.
    NodeAdmitted {
        /// Which.
        node: NodeId,
    },
    /// A number of a node is used up: nobody with it is let in again.
    NodeRetired {
        /// Which.
        node: NodeId,
    },
    /// The key of the authority that peers believe is exchanged, or is about to be.
    AuthorityExchanged {
        /// How many exchanges there will have been.
        generation: u64,
        /// The authority.
        authority: AuthorityId,
        /// Whether the one before is not believed any more; otherwise this one is announced.
        is_final: bool,
    },
    /// Another node shall lead while it is well.
    LeaderPreferred {
        /// Which; none: whoever is elected.
        node: Option<NodeId>,
    },
    /// Accounts may do and keep something else.
    AccountLimitsChanged {
        /// What, all of it.
        limits: AccountLimits,
    },
}
