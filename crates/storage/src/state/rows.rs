//! What readers give: rows for people, with names instead of numbers where people look.

use conclave_core::{
    AccountId, ConversationId, Position, Progress, Sequence, SessionId, Timestamp,
};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Its number.
    pub id: AccountId,
    /// As its owner wrote it.
    pub name: String,
    /// argon2id in PHC form.
    pub password_hash: String,
    /// Counts its passwords, from 1.
    pub password_version: u64,
    /// Since when.
    pub created_at: Timestamp,
}

/// A part of the list of accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountsPage {
    /// Sorted by name, whatever its case.
    pub rows: Vec<AccountRow>,
    /// Where to go on; `None` at the end. A page may be short, even empty, and yet not the last:
    /// a pattern that matches little is searched for in steps.
    pub next_after_key: Option<String>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its number.
    pub id: SessionId,
    /// Whose it is.
    pub account: AccountId,
    /// `None` if the account was deleted.
    pub account_name: Option<String>,
    /// It gives remembered answers and nothing else.
    pub closed: bool,
    /// Since when.
    pub opened_at: Timestamp,
    /// Until when; if closed: when it may be forgotten.
    pub expires_at: Timestamp,
    /// The greatest request number that it has used.
    pub request_last: u64,
}

/// A conversation, as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationRow {
    /// Its number.
    pub id: ConversationId,
    /// The other person (oneself, if one writes to oneself).
    pub peer: Option<AccountId>,
    /// `None` if the account was deleted.
    pub peer_name: Option<String>,
    /// The number of its last message; 0 if it has none.
    pub sequence_last: Sequence,
    /// How far the member has come.
    pub progress: Progress,
    /// Messages of others that the member has not read: at most 1000 are counted.
    pub unread: u64,
}

/// How far a message has come: with whoever it is for, not with its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// It is kept, and has reached no device yet.
    Queued,
    /// It has reached a device.
    Delivered,
    /// It was shown. What one writes to oneself is read.
    Read,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// Where in the log.
    pub position: Position,
    /// In which conversation.
    pub conversation: ConversationId,
    /// Its number there.
    pub sequence: Sequence,
    /// Its sender.
    pub by: AccountId,
    /// `None` if the account was deleted.
    pub by_name: Option<String>,
    /// For whom it is.
    pub recipient: AccountId,
    /// `None` if the account was deleted.
    pub recipient_name: Option<String>,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// `None` if it was deleted for everyone.
    pub text: Option<String>,
    /// How far it has come.
    pub delivery: Delivery,
}

/// Which part of a conversation is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryFrom {
    /// What comes before this message, nearest last.
    Before(Sequence),
    /// What comes after this message, nearest first.
    After(Sequence),
    /// The newest messages.
    End,
}

/// A part of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// Ascending. A page may be short, even empty, while there is more: hidden messages are
    /// passed over in steps.
    pub rows: Vec<MessageRow>,
    /// Ask for what is `Before` this to go back; `None` at the beginning.
    pub older: Option<Sequence>,
    /// Ask for what is `After` this to go on; `None` at the end.
    pub newer: Option<Sequence>,
    /// The number of the conversation's last message.
    pub sequence_last: Sequence,
}

/// A part of the stream of an account's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessagesAfter {
    /// Ascending by position.
    pub rows: Vec<MessageRow>,
    /// Everything up to here was looked at: go on after it.
    pub scanned_to: Position,
    /// Whether that is everything that was applied.
    pub complete: bool,
}
