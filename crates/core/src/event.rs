//! What has happened: the row that is kept and, for those who may see it, the item that is
//! streamed. There is no second kind of notification.
//!
//! Always true: an event is a fact. Storage writes it without deciding anything, and it cannot be
//! refused.

use crate::{
    AccountId, AccountName, ConversationId, MessageText, Progress, Sequence, SessionId, Timestamp,
    TokenHash,
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
        /// argon2id in PHC form.
        password_hash: String,
        /// Since when.
        at: Timestamp,
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
        /// Since when.
        at: Timestamp,
        /// Until when, unless renewed.
        expires_at: Timestamp,
    },
    /// A session lives longer.
    SessionRenewed {
        /// Which.
        session: SessionId,
        /// Until when.
        expires_at: Timestamp,
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
}
