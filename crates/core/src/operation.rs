//! What a command can ask for, and what it says to ask for it.
//!
//! A new operation does not build until it has a rule, a price, an encoding and the cluster version
//! that introduces it: they match without a wildcard. The file is long because it has all of them.

use crate::{
    AccountId, AccountLimit, AccountName, ActNote, AuthorityId, ClusterVersion, ConversationId,
    DisplayName, InviteId, JoinTokenId, MessageText, NodeId, OperatorName, Reaction,
    RetentionChange, RoomName, RoomRetention, Sequence, SessionId, SessionLabel, ThrottleKey,
    TokenHash, Topic, WebhookId,
};

/// An operation that a client can request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Outside a session, by a client: what gives access, or needs no account.
    Access(AccessOperation),
    /// Outside a session, by a node or an operator.
    Cluster(ClusterOperation),
    /// In a session: about its own account.
    Account(AccountOperation),
    /// In a session: about messages.
    Message(MessageOperation),
    /// In a session: about rooms.
    Room(RoomOperation),
    /// In a session of an administrator.
    Admin(AdminOperation),
}

/// An operation that a client requests outside a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessOperation {
    /// Create an account.
    CreateAccount {
        /// Name of the account.
        name: AccountName,
        /// argon2id in PHC form, made where the request arrived.
        password_hash: String,
        /// What allows it. Whether one is needed was decided where the request arrived.
        grant: Grant,
    },
    /// Log in. The password was verified where the request arrived.
    OpenSession {
        /// The account whose password was verified.
        account: AccountId,
        /// Version of the password that was verified: a change in between refuses the command.
        password_version: u64,
        /// Hash of the token that the client will show.
        token: TokenHash,
        /// The owner's name for the session.
        label: SessionLabel,
        /// Keys under which the attempt was counted: the success forgives it.
        keys: LoginKeys,
        /// The same password's hash with the parameters of today, if the stored one is older.
        renewed_hash: Option<String>,
    },
    /// Count an attempt with a password before the password is verified, so that attempts under
    /// way count on whichever node they are. Success forgives it.
    TryPassword {
        /// Keys under which the attempt is counted.
        keys: LoginKeys,
    },
    /// Offer the role of an administrator to the person who shows this token when creating an
    /// account.
    OfferSetup {
        /// Hash of the token that the leader prints.
        token: TokenHash,
    },
    /// Post a message through a webhook.
    PostByWebhook {
        /// Hash of the secret in the webhook's address.
        token: TokenHash,
        /// Text of the message.
        text: MessageText,
        /// Whether the program has sent an idempotency key, from which the origin follows.
        keyed: bool,
    },
}

/// An operation that a node or an operator requests, outside a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterOperation {
    /// Admit a machine to the cluster, and give it a number.
    AdmitNode {
        /// The credential that allows it.
        credential: JoinCredential,
        /// The greatest node number that the leader knows of: initial members are not admitted.
        known_last: NodeId,
        /// The newest cluster version that the machine can apply; `None` before the log can say it.
        newest: Option<ClusterVersion>,
    },
    /// Raise the cluster version. Only the leader proposes it.
    RaiseVersion {
        /// The version from this entry on.
        to: ClusterVersion,
        /// The members that have said that they can apply it: at most
        /// [`crate::limits::MEMBERS_ASKED_MAX`].
        asked: Vec<NodeId>,
    },
    /// Forget what these conversations keep too long or too much of, as far as one command may.
    /// Only the leader proposes it.
    ForgetMessages {
        /// At most [`crate::limits::FORGET_CONVERSATIONS_MAX`]; none: the oldest of all together.
        conversations: Vec<ConversationId>,
    },
    /// Record an act that was carried out outside the log, or refused there. It changes nothing.
    NoteAct {
        /// Hash of the credential of the operator that asked for it; `None`: the node itself.
        by: Option<TokenHash>,
        /// The act.
        note: ActNote,
    },
    /// Retire the number of a removed node: no node with it can join again.
    RetireNode {
        /// Number of the removed node.
        node: NodeId,
    },
    /// Rotate the key of the authority that peers trust, in two steps. Only a leader proposes
    /// it; a step that is not the next one changes nothing.
    RotateAuthority {
        /// Number of rotations, this one included.
        generation: u64,
        /// The authority that peers will trust.
        authority: AuthorityId,
        /// Whether the one before is not trusted any more; otherwise this one is announced.
        is_final: bool,
    },
    /// Execute an operator's request.
    ByOperator {
        /// Hash of the credential that was shown.
        credential: TokenHash,
        /// The request.
        request: OperatorRequest,
    },
    /// Create the first operator of a cluster that has none. Only a leader proposes it.
    MakeFirstOperator {
        /// Hash of the credential.
        token: TokenHash,
    },
    /// Replace all operators by one. Only a voter proposes it, for the owner of its directory.
    ResetOperators {
        /// Hash of the credential of the operator that is left.
        token: TokenHash,
    },
}

/// An operation on the session's own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountOperation {
    /// Delete the session's account. Its password was verified where the request arrived.
    DeleteAccount {
        /// Version of the password that was verified; of no meaning for a program, which has none.
        password_version: u64,
    },
    /// Change the password and end all other sessions. The old one was verified where the
    /// request arrived.
    ChangePassword {
        /// Version of the old password, which was verified.
        password_version: u64,
        /// argon2id in PHC form.
        password_hash: String,
    },
    /// Set what is shown beside the name.
    SetDisplayName {
        /// The new display name.
        display_name: DisplayName,
    },
    /// Block an account, or end the block.
    SetBlock {
        /// Name of the other account.
        name: AccountName,
        /// Whether the account is blocked from now on.
        blocked: bool,
    },
    /// Log out: end this session and no other.
    CloseSession,
    /// End another session of the account.
    EndSession {
        /// Number of the session.
        session: SessionId,
    },
}

/// An operation on messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageOperation {
    /// Send a message.
    SendMessage {
        /// The recipient.
        to: Recipient,
        /// Text of the message.
        text: MessageText,
        /// The message that it answers.
        reply_to: Option<Sequence>,
        /// Whether the text describes an action of the sender.
        action: bool,
    },
    /// Edit one of the account's own messages.
    EditMessage {
        /// The message.
        message: MessageRef,
        /// The new text.
        text: MessageText,
    },
    /// Add a reaction, or take it away.
    SetReaction {
        /// The message that gets or loses the reaction.
        message: MessageRef,
        /// The reaction.
        reaction: Reaction,
        /// Whether the message has the reaction from now on.
        present: bool,
    },
    /// Report what has reached a device of the session's account, and what was read.
    AdvancePositions {
        /// 1 to [`crate::limits::POSITIONS_PER_REQUEST_MAX`]; all of them or none.
        positions: Vec<(ConversationId, Progress)>,
    },
    /// Delete messages: all of them or, if one may not be deleted, none.
    DeleteMessages {
        /// 1 to [`crate::limits::DELETE_MESSAGES_MAX`].
        messages: Vec<MessageRef>,
        /// For all members (one's own messages, or as a moderator), or for oneself.
        for_everyone: bool,
    },
}

/// An operation on rooms, their members and their webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomOperation {
    /// Create a room and own it.
    CreateRoom {
        /// Name of the room.
        name: RoomName,
        /// Topic of the room.
        topic: Topic,
        /// Whether every account may see and join it.
        public: bool,
    },
    /// Join a room.
    JoinRoom {
        /// Name of the room.
        name: RoomName,
    },
    /// Leave a room.
    LeaveRoom {
        /// Name of the room.
        name: RoomName,
    },
    /// Allow an account to join a room, and notify that account.
    InviteToRoom {
        /// Name of the room.
        name: RoomName,
        /// Name of the account that may join.
        account: AccountName,
    },
    /// Remove a member or an invitation.
    KickFromRoom {
        /// Name of the room.
        name: RoomName,
        /// Name of the account that is removed.
        account: AccountName,
    },
    /// Set the topic of a room.
    SetTopic {
        /// Name of the room.
        name: RoomName,
        /// The new topic.
        topic: Topic,
    },
    /// Set how long a room keeps messages, and how many.
    SetRoomRetention {
        /// Name of the room.
        name: RoomName,
        /// What the room sets for itself.
        retention: RoomRetention,
    },
    /// Set the role of a member.
    SetMemberRole {
        /// Name of the room.
        name: RoomName,
        /// Name of the member's account.
        account: AccountName,
        /// The new role.
        role: MemberRole,
    },
    /// Create an address for programs, with an account that is a member of the room.
    CreateWebhook {
        /// Name of the room.
        name: RoomName,
        /// The name of the new account.
        account: AccountName,
        /// Hash of the secret in the webhook's address.
        token: TokenHash,
    },
    /// Remove a webhook and its account.
    DeleteWebhook {
        /// Number of the webhook.
        webhook: WebhookId,
    },
}

/// An operation that only an administrator can request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminOperation {
    /// Set the role of an account: administrator or user.
    SetAccountRole {
        /// Name of the account.
        name: AccountName,
        /// [`AccountRole::User`] or [`AccountRole::Admin`].
        role: AccountRole,
    },
    /// Suspend an account, or reactivate it. Nothing of it is deleted.
    SetSuspended {
        /// Name of the account.
        name: AccountName,
        /// Whether it is suspended from now on.
        suspended: bool,
    },
    /// End all sessions of an account.
    EndSessions {
        /// Name of the account.
        name: AccountName,
    },
    /// Set another password of an account, and end all its sessions.
    ResetPassword {
        /// Name of the account.
        name: AccountName,
        /// argon2id in PHC form.
        password_hash: String,
    },
    /// Delete another account.
    RemoveAccount {
        /// Name of the account.
        name: AccountName,
    },
    /// Create an account for a program, with a session that does not expire.
    CreateBot {
        /// Name of the account.
        name: AccountName,
        /// Hash of the token.
        token: TokenHash,
    },
    /// Create an invite.
    CreateInvite {
        /// Hash of the code.
        code: TokenHash,
        /// How long it can be used, in milliseconds: 1 to [`crate::limits::INVITE_MS_MAX`].
        ttl_ms: u64,
        /// How often: 1 to [`crate::limits::INVITE_USES_MAX`].
        uses: u32,
    },
    /// Revoke an invite.
    RevokeInvite {
        /// Number of the invite.
        invite: InviteId,
    },
    /// Set limits of accounts.
    SetAccountLimits {
        /// The limits and their values: 1 to [`crate::allowance::limit_table::ACCOUNT_LIMITS`].
        values: Vec<(AccountLimit, u64)>,
    },
}

/// A request of an operator: it touches machines, and no account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorRequest {
    /// Create a token with which one machine can join the cluster.
    CreateJoinToken {
        /// Hash of the token.
        token: TokenHash,
        /// How long it can be used, in milliseconds: 1 to [`crate::limits::JOIN_TOKEN_MS_MAX`].
        ttl_ms: u64,
        /// Whether the machine becomes a voter once it has caught up.
        voter: bool,
    },
    /// Revoke a join token.
    RevokeJoinToken {
        /// The token's id.
        id: JoinTokenId,
    },
    /// Set the preferred leader: the node that leads while it is healthy.
    PreferLeader {
        /// The preferred node; `None`: any node that is elected.
        node: Option<NodeId>,
    },
    /// Set which voters an acknowledgement waits for.
    SetAckPolicy {
        /// The voters.
        policy: AckPolicy,
    },
    /// Set how long the cluster keeps messages, and how many.
    SetRetention {
        /// What is set; the rest stays as it is.
        change: RetentionChange,
    },
    /// Add an operator.
    CreateOperator {
        /// Name of the operator, which no other operator has.
        name: OperatorName,
        /// Hash of the credential.
        token: TokenHash,
    },
    /// Remove an operator: its credential is invalid from then on.
    RevokeOperator {
        /// Name of the operator.
        name: OperatorName,
    },
}

/// The voters that must have an entry on disk before it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckPolicy {
    /// A majority: what decides the entry.
    #[default]
    Majority,
    /// All that a committed membership names, so that whichever is left has all that was
    /// acknowledged.
    All,
}

/// Keys under which an attempt with a password is counted. All are hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginKeys {
    /// The account's name.
    pub account: ThrottleKey,
    /// The network address.
    pub address: ThrottleKey,
    /// The account's name from this address.
    pub pair: ThrottleKey,
    /// The account's name and the secret of a device, if the client shows one.
    pub device: Option<ThrottleKey>,
    /// The session in which the client shows the password again, as was verified where the request
    /// arrived.
    pub session: Option<ThrottleKey>,
}

/// What allows a machine to join the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinCredential {
    /// A token, which is used up by it.
    Token(TokenHash),
    /// The cluster's secret, as was verified where the request arrived.
    Secret {
        /// Whether the machine becomes a voter.
        voter: bool,
    },
}

/// What allows an account to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// No permission is needed: on this node anyone may create an account.
    Open,
    /// An invite.
    Invite(TokenHash),
    /// The setup token: the account becomes an administrator's.
    Setup(TokenHash),
    /// The session of an administrator.
    Admin(SessionId),
}

/// What an account may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccountRole {
    /// A person.
    #[default]
    User,
    /// A person that also governs accounts.
    Admin,
    /// A program. It has no password.
    Bot,
}

/// What a member may do in a room; a greater one may do all that a lesser one may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberRole {
    /// Reads and writes.
    #[default]
    Member,
    /// Also invites, removes members and messages, and sets the topic.
    Moderator,
    /// Also gives roles.
    Owner,
}

/// The recipient of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The person with this name; the direct conversation is opened by the first message.
    Account(AccountName),
    /// A conversation that the sender is in.
    Conversation(ConversationId),
    /// The room with this name, which the sender is in.
    Room(RoomName),
}

/// How far a member has come in a conversation. Both only ever grow; read implies delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here has reached a device of the member.
    pub delivered: Sequence,
    /// Everything up to here was shown to the member.
    pub read: Sequence,
}

/// One message of one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageRef {
    /// The conversation.
    pub conversation: ConversationId,
    /// The number in it.
    pub sequence: Sequence,
}
