//! Refusals by the rules.
//!
//! A rejection is a normal answer: it is decided by the log, replicated, remembered and the same
//! on every node. Asking again with the same request number gives it again.

use serde::{Deserialize, Serialize};

use crate::{
    AccountLimit,
    limits::{DELETE_MESSAGES_MAX, NAME_BYTES_MAX, REQUEST_WINDOW, TEXT_BYTES_MAX},
};

/// The reason why a command was refused, in words for people. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The name has no character.
    #[error("the name is empty")]
    NameEmpty,
    /// The name is longer than allowed.
    #[error("the name has {bytes} bytes; at most {NAME_BYTES_MAX} are allowed")]
    NameTooLong {
        /// Length in bytes.
        bytes: u64,
    },
    /// The name has a character that names do not have.
    #[error("the name contains {character:?}; letters, digits, '.', '_' and '-' are allowed")]
    NameCharacter {
        /// The first such character.
        character: char,
    },
    /// Another account has this name, in whatever case.
    #[error("the name is taken")]
    NameTaken,
    /// Another account has a name that is easily taken for this one.
    #[error("the name looks like that of another account")]
    NameAlike,
    /// The cluster has as many accounts as it may have.
    #[error("the cluster has as many accounts as it can hold")]
    TooManyAccounts,
    /// A wildcard pattern with characters that no name has.
    #[error("a pattern consists of letters, digits, '.', '_', '-', '*' and '?'")]
    PatternInvalid,
    /// The password's hash is not one that a node of this version makes.
    #[error("the password hash is malformed")]
    PasswordHashInvalid,
    /// No such account, or a wrong password: the client does not learn which of the two.
    #[error("wrong name or password")]
    WrongCredentials,
    /// Too many attempts have failed. The answer is not remembered: the same request may be sent
    /// again after the wait.
    #[error("too many attempts have failed; wait {wait_ms} ms")]
    LoginThrottled {
        /// How long the client has to wait, in milliseconds.
        wait_ms: u64,
    },
    /// The account was suspended by an administrator. Only its owner gets this answer.
    #[error("the account is suspended")]
    AccountSuspended,
    /// The session has ended, or never was. Log in again; nothing was executed.
    #[error("the session has ended")]
    SessionExpired,
    /// A session, invite or webhook with this token, code or secret exists already.
    #[error("the token is in use; choose another")]
    TokenInUse,
    /// The request number was used before for another request, perhaps by another program with
    /// the same session. This request was not executed: take a greater number.
    #[error("the request number was used for another request")]
    RequestReused {
        /// The greatest number that the session has used.
        last: u64,
    },
    /// The number is so old that its answer is forgotten. Whether it was executed is not known.
    #[error("the request number is older than the last {REQUEST_WINDOW}")]
    RequestTooOld {
        /// The greatest number that the session has used.
        last: u64,
    },
    /// The number is zero or further ahead than a window.
    #[error("the request number must be between 1 and {last} + {REQUEST_WINDOW}")]
    RequestOutOfRange {
        /// The greatest number that the session has used.
        last: u64,
    },
    /// The operation belongs to a session, or must not have one.
    #[error("this request must {}come with a session", if *.needed { "" } else { "not " })]
    SessionMisplaced {
        /// Whether the operation needs a session.
        needed: bool,
    },
    /// The text has no character.
    #[error("the text is empty")]
    TextEmpty,
    /// The text is longer than allowed.
    #[error("the text has {bytes} bytes; at most {TEXT_BYTES_MAX} are allowed")]
    TextTooLong {
        /// Length in bytes.
        bytes: u64,
    },
    /// No account has this name.
    #[error("there is no such account")]
    NoSuchAccount,
    /// The other person's account was deleted.
    #[error("the recipient's account was deleted")]
    RecipientGone,
    /// The conversation does not exist, or the caller is not in it: the caller does not learn
    /// which.
    #[error("there is no such conversation")]
    NoSuchConversation,
    /// The conversation has no such message.
    #[error("there is no message {sequence} in conversation {conversation}")]
    NoSuchMessage {
        /// The conversation.
        conversation: u64,
        /// The number in it.
        sequence: u64,
    },
    /// Only the sender may delete a message for everyone.
    #[error("message {sequence} of conversation {conversation} was sent by another account")]
    NotYourMessage {
        /// The conversation.
        conversation: u64,
        /// The number in it.
        sequence: u64,
    },
    /// A short text is empty where it must not be, too long, or has a control character.
    #[error("{what} has at most {bytes_max} bytes and no control characters")]
    LineInvalid {
        /// Kind of the text.
        what: Line,
        /// Maximum length in bytes.
        bytes_max: u64,
    },
    /// One of the two has blocked the other. The blocked one does not learn which.
    #[error("this account does not accept messages from you")]
    Blocked,
    /// Oneself cannot be blocked, kicked or invited.
    #[error("an account cannot do this to itself")]
    Oneself,
    /// The caller's role does not allow it.
    #[error("your role does not allow this")]
    NotAllowed,
    /// The room would have no owner, or the cluster no administrator.
    #[error("the last {0} cannot be removed", if *.admin { "administrator" } else { "owner" })]
    LastOfItsKind {
        /// An administrator, or the owner of a room.
        admin: bool,
    },
    /// The account is not a member of the room.
    #[error("this account is not a member of the room")]
    NotAMember,
    /// A bound of [`crate::limits`] is reached.
    #[error("there can be no more {what}")]
    TooMany {
        /// The bounded thing.
        what: Bound,
    },
    /// The message was deleted.
    #[error("message {sequence} of conversation {conversation} was deleted")]
    MessageGone {
        /// The conversation.
        conversation: u64,
        /// The number in it.
        sequence: u64,
    },
    /// The cluster is not open: the request shows no invite, setup token or administrator.
    #[error("creating an account needs permission on this cluster")]
    RegistrationClosed,
    /// The invite does not exist, has run out, or was used up.
    #[error("the invite cannot be used")]
    InviteInvalid,
    /// The setup token is not the one that the server printed last, or was used.
    #[error("the setup token cannot be used")]
    SetupTokenInvalid,
    /// The webhook does not exist.
    #[error("there is no such webhook")]
    NoSuchWebhook,
    /// The session does not exist, or belongs to another account.
    #[error("there is no such session")]
    NoSuchSession,
    /// A time to live or a number of uses outside its bounds.
    #[error("the invite's time or number of uses is out of range")]
    InviteOutOfRange,
    /// The token does not exist, has run out, or was used.
    #[error("the join token cannot be used")]
    JoinTokenInvalid,
    /// A time to live outside its bounds.
    #[error("the join token's time is out of range")]
    JoinTokenOutOfRange,
    /// The account has asked for too much in a short time. Nothing was done, and the number was not
    /// used: the same request can be made again after the wait.
    #[error("too many {what} in a short time; wait {wait_ms} ms")]
    RateLimited {
        /// What there were too many of.
        what: String,
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
    /// The account keeps as much as it may.
    #[error("the account has reached its quota of {what}")]
    QuotaExceeded {
        /// The bounded thing, in words for people.
        what: String,
    },
    /// A limit of accounts that there is not, or a value outside its range.
    #[error("limit {} has no such value", limit_name(*.number))]
    AccountLimitInvalid {
        /// The limit's place in the order.
        number: u64,
    },
    /// The call needs a credential of an operator, and shows none that is valid.
    #[error("this needs the credential of an operator")]
    NotAnOperator,
    /// The cluster would have no operator.
    #[error("the last operator cannot be removed")]
    LastOperator,
    /// No node has or can have this number.
    #[error("there is no node {node}")]
    NoSuchNode {
        /// The number.
        node: u64,
    },
    /// The list has no item.
    #[error("the request names nothing")]
    ListEmpty,
    /// The list has too many items.
    #[error("at most {DELETE_MESSAGES_MAX} items may be named at once")]
    ListTooLong,
    /// The operation belongs to a later cluster version than the cluster has.
    #[error("this needs cluster version {needed}, which the cluster does not have yet")]
    VersionTooLow {
        /// The version that has the operation.
        needed: u32,
    },
    /// The machine cannot apply what the cluster writes.
    #[error("the machine applies cluster versions up to {newest}; this cluster has {needed}")]
    VersionUnsupported {
        /// The newest version that the machine can apply.
        newest: u32,
        /// The cluster's.
        needed: u32,
    },
    /// A member has not said whether it can apply the version: it has just joined.
    #[error("node {node} was not asked whether it can apply the version")]
    MemberNotAsked {
        /// Number of the node.
        node: u64,
    },
    /// An age or a number of messages outside its bounds.
    #[error("messages are kept for a minute to 36525 days, and up to a million million of them")]
    RetentionOutOfRange,
    /// The room would keep more than the cluster.
    #[error(
        "a room of this cluster cannot keep messages longer, or more of them, than the cluster"
    )]
    RetentionTooLong,
}

fn limit_name(number: u64) -> &'static str {
    AccountLimit::numbered(number).map_or("(unknown)", AccountLimit::name)
}

/// The kinds of short texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// A display name.
    DisplayName,
    /// A topic of a room.
    Topic,
    /// A label of a session.
    SessionLabel,
    /// A reaction to a message.
    Reaction,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DisplayName => "a display name",
            Self::Topic => "a topic",
            Self::SessionLabel => "a session's label",
            Self::Reaction => "a reaction",
        })
    }
}

/// What there can be no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// Rooms in the cluster.
    Rooms,
    /// Members in the room.
    Members,
    /// Rooms of the account.
    RoomsOfAccount,
    /// Invitations to the room.
    Invitations,
    /// Webhooks of the room.
    Webhooks,
    /// Webhooks of one maker.
    WebhooksOfAccount,
    /// Blocked accounts.
    Blocks,
    /// Reactions to the message.
    Reactions,
    /// Invites of the cluster.
    Invites,
    /// Tokens to join of the cluster.
    JoinTokens,
    /// Nodes that the cluster ever had.
    Nodes,
    /// Operators of the cluster.
    Operators,
    /// Idempotency keys of the webhook that are remembered.
    WebhookKeys,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rooms => "rooms",
            Self::Members => "members in this room",
            Self::RoomsOfAccount => "rooms for this account",
            Self::Invitations => "open invitations to this room",
            Self::Webhooks => "webhooks in this room",
            Self::WebhooksOfAccount => "webhooks for this account",
            Self::Blocks => "blocked accounts",
            Self::Reactions => "reactions to this message",
            Self::Invites => "open invites",
            Self::JoinTokens => "open join tokens",
            Self::Nodes => "numbers for nodes",
            Self::Operators => "operators",
            Self::WebhookKeys => "idempotency keys of this webhook within a day",
        })
    }
}
