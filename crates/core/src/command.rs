//! What clients ask for, after their bounds were checked and before the log has decided.
//!
//! A command carries everything that is not the same everywhere: password hashes, token hashes
//! and digests are made where the request arrives, the time is stamped by the leader that
//! proposes the [`Batch`]. Nothing is made up while applying.

use crate::{
    AccountId, AccountName, ConversationId, Digest, MessageText, OnceId, Sequence, SessionId,
    Timestamp, TokenHash,
};

/// One log entry's worth of commands, decided in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The proposing leader's clock. Log time is this or the log time before, whichever is later.
    pub proposed_at: Timestamp,
    /// At most [`crate::limits::BATCH_COMMANDS_MAX`].
    pub commands: Vec<Command>,
}

/// One request of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Who asks, and which of the asker's requests this is.
    pub origin: Origin,
    /// What the request says, in short: tells a retry from another request with the same number.
    pub digest: Digest,
    /// What is asked for.
    pub operation: Operation,
}

/// Who asks, and the name under which the answer is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A request of a session.
    Session {
        /// The session.
        session: SessionId,
        /// Chosen by the client: the same on every retry, new for every request.
        number: u64,
    },
    /// A request before there is a session, named by the client's random bits.
    Once(OnceId),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Create an account. Outside a session.
    CreateAccount {
        /// Its name.
        name: AccountName,
        /// argon2id in PHC form, made where the request arrived.
        password_hash: String,
    },
    /// Delete the session's account.
    DeleteAccount,
    /// Log in. Outside a session. The password was verified where the request arrived.
    OpenSession {
        /// Whose password was verified.
        account: AccountId,
        /// Which password of the account was verified: a change in between refuses the command.
        password_version: u64,
        /// Hash of the token that the client will show.
        token: TokenHash,
    },
    /// Log out: end this session and no other.
    CloseSession,
    /// Send a message.
    SendMessage {
        /// To whom.
        to: Recipient,
        /// What.
        text: MessageText,
    },
    /// Say what has reached a device of the session's account, and what was read.
    AdvancePosition {
        /// In which conversation.
        conversation: ConversationId,
        /// How far.
        progress: Progress,
    },
    /// Delete messages: all of them or, if one may not be deleted, none.
    DeleteMessages {
        /// 1 to [`crate::limits::DELETE_MESSAGES_MAX`].
        messages: Vec<MessageRef>,
        /// For all members (only one's own messages), or for oneself.
        for_everyone: bool,
    },
}

/// To whom a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The person with this name; the direct conversation is opened by the first message.
    Account(AccountName),
    /// A conversation that the sender is in.
    Conversation(ConversationId),
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
