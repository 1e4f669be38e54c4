//! What a rule may read: the state as the log has made it, up to the command before.
//!
//! Every value is small and copied. Storage answers from memory in the steady state.

use crate::{
    AccountId, Answer, ConversationId, Digest, OnceId, Progress, RequestWindow, Sequence,
    SessionId, Timestamp, TokenHash,
};

/// The state cannot be read. Not an answer to anybody: the node has to stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state cannot be read: {0}")]
pub struct Broken(pub String);

/// What rules know of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Counts its passwords, from 1.
    pub password_version: u64,
}

/// What rules know of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// Whose it is.
    pub account: AccountId,
    /// Closed sessions give remembered answers and nothing else.
    pub closed: bool,
    /// When it ends (or, if closed, when it may be forgotten).
    pub expires_at: Timestamp,
    /// The request numbers that it has used.
    pub requests: RequestWindow,
}

/// What rules know of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its number.
    pub id: ConversationId,
    /// The two people of a direct conversation, as they were when it was opened.
    pub direct: Option<(AccountId, AccountId)>,
    /// The number of its last message; 0 if it has none.
    pub sequence_last: Sequence,
}

/// What rules know of a member of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// How far the member has come.
    pub progress: Progress,
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
}

/// The state, as a rule reads it.
///
/// Every method fails only with [`Broken`]: what is not there is `None`.
pub trait Lookup {
    /// The account with this number.
    fn account(&self, id: AccountId) -> Result<Option<Account>, Broken>;
    /// The account whose name has this key (see [`crate::AccountName::key`]).
    fn account_by_key(&self, key: &str) -> Result<Option<Account>, Broken>;
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
}
