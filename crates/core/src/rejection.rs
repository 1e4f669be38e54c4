//! The rules said no.
//!
//! A rejection is a normal answer: it is decided by the log, replicated, remembered and the same
//! on every node. Asking again with the same request number gives it again.

use serde::{Deserialize, Serialize};

use crate::limits::{
    DELETE_MESSAGES_MAX, NAME_BYTES_MAX, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN, REQUEST_WINDOW,
    TEXT_BYTES_MAX,
};

/// Why a command was refused, in words for people. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The name has no character.
    #[error("the name is empty")]
    NameEmpty,
    /// The name is longer than allowed.
    #[error("the name has {bytes} bytes; at most {NAME_BYTES_MAX} are allowed")]
    NameTooLong {
        /// Its length.
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
    /// The cluster has as many accounts as it may have.
    #[error("the cluster has as many accounts as it can hold")]
    TooManyAccounts,
    /// A wildcard pattern with characters that no name has.
    #[error("a pattern consists of letters, digits, '.', '_', '-', '*' and '?'")]
    PatternInvalid,
    /// The password is too short.
    #[error("the password is shorter than {PASSWORD_BYTES_MIN} bytes")]
    PasswordTooShort,
    /// The password is too long.
    #[error("the password is longer than {PASSWORD_BYTES_MAX} bytes")]
    PasswordTooLong,
    /// The password's hash is not one that a node of this version makes.
    #[error("the password hash is malformed")]
    PasswordHashInvalid,
    /// No such account, or not this password: which of the two is not told.
    #[error("wrong name or password")]
    WrongCredentials,
    /// The session has ended, or never was. Log in again; nothing was executed.
    #[error("the session has ended")]
    SessionExpired,
    /// A session with this token exists already.
    #[error("the session token is in use; choose another")]
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
        /// Its length.
        bytes: u64,
    },
    /// Nobody has this name.
    #[error("there is no such account")]
    NoSuchAccount,
    /// The other person's account was deleted.
    #[error("the recipient's account was deleted")]
    RecipientGone,
    /// The conversation does not exist, or the asker is not in it: which is not told.
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
    #[error("message {sequence} of conversation {conversation} is somebody else's")]
    NotYourMessage {
        /// The conversation.
        conversation: u64,
        /// The number in it.
        sequence: u64,
    },
    /// The list has no item.
    #[error("nothing was named")]
    ListEmpty,
    /// The list has too many items.
    #[error("at most {DELETE_MESSAGES_MAX} items may be named at once")]
    ListTooLong,
}

impl Rejection {
    /// The reason as a stable word for programs: part of the protocol.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NameEmpty => "NAME_EMPTY",
            Self::NameTooLong { .. } => "NAME_TOO_LONG",
            Self::NameCharacter { .. } => "NAME_CHARACTER",
            Self::NameTaken => "NAME_TAKEN",
            Self::TooManyAccounts => "TOO_MANY_ACCOUNTS",
            Self::PatternInvalid => "PATTERN_INVALID",
            Self::PasswordTooShort => "PASSWORD_TOO_SHORT",
            Self::PasswordTooLong => "PASSWORD_TOO_LONG",
            Self::PasswordHashInvalid => "PASSWORD_HASH_INVALID",
            Self::WrongCredentials => "WRONG_CREDENTIALS",
            Self::SessionExpired => "SESSION_EXPIRED",
            Self::TokenInUse => "TOKEN_IN_USE",
            Self::RequestReused { .. } => "REQUEST_REUSED",
            Self::RequestTooOld { .. } => "REQUEST_TOO_OLD",
            Self::RequestOutOfRange { .. } => "REQUEST_OUT_OF_RANGE",
            Self::SessionMisplaced { .. } => "SESSION_MISPLACED",
            Self::TextEmpty => "TEXT_EMPTY",
            Self::TextTooLong { .. } => "TEXT_TOO_LONG",
            Self::NoSuchAccount => "NO_SUCH_ACCOUNT",
            Self::RecipientGone => "RECIPIENT_GONE",
            Self::NoSuchConversation => "NO_SUCH_CONVERSATION",
            Self::NoSuchMessage { .. } => "NO_SUCH_MESSAGE",
            Self::NotYourMessage { .. } => "NOT_YOUR_MESSAGE",
            Self::ListEmpty => "LIST_EMPTY",
            Self::ListTooLong => "LIST_TOO_LONG",
        }
    }
}
