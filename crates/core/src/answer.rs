//! The answer that a client gets to a command that went through the log.
//!
//! Always true: every retry of the same request gets the same answer, from whichever node.

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, ConversationId, InviteId, NodeId, Position, Rejection, Sequence, SessionId,
    Timestamp, WebhookId,
};

/// Done, or refused by the rules.
pub type Answer = Result<Accepted, Rejection>;

/// The result of an accepted command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accepted {
    /// The account exists now.
    AccountCreated {
        /// Number of the account.
        account: AccountId,
    },
    /// The account and its sessions are gone.
    AccountDeleted,
    /// The session may be used with its token until it expires.
    SessionOpened {
        /// Number of the session.
        session: SessionId,
        /// The account that owns it.
        account: AccountId,
        /// End of the session unless it is renewed by use, in log time.
        expires_at: Timestamp,
    },
    /// The session cannot be used any more.
    SessionClosed,
    /// The message was accepted and has its place in the conversation.
    MessageSent {
        /// The conversation.
        conversation: ConversationId,
        /// Number of the message in the conversation.
        sequence: Sequence,
        /// Log time of the message.
        sent_at: Timestamp,
        /// Position in the log.
        position: Position,
    },
    /// The positions are at least where they were asked to be.
    PositionAdvanced,
    /// The state is as the request asked, and the answer carries nothing more.
    Done,
    /// The caller is a member of the room: it created it, or joined it.
    RoomEntered {
        /// Number of the conversation.
        conversation: ConversationId,
    },
    /// The invite can be used.
    InviteCreated {
        /// Number of the invite.
        invite: InviteId,
        /// End of the invite, in log time.
        expires_at: Timestamp,
    },
    /// The bot's token can be used.
    BotCreated {
        /// Account of the bot.
        account: AccountId,
        /// The session behind its token.
        session: SessionId,
    },
    /// The webhook can be used.
    WebhookCreated {
        /// Number of the webhook.
        webhook: WebhookId,
        /// The account under which it posts.
        account: AccountId,
    },
    /// The attempt was counted: the password may be verified.
    PasswordTried,
    /// One machine can join with the token.
    JoinTokenCreated {
        /// End of the token, in log time.
        expires_at: Timestamp,
    },
    /// The machine has a number.
    NodeAdmitted {
        /// The machine's number.
        node: NodeId,
        /// Whether the machine becomes a voter.
        voter: bool,
    },
    /// The messages are deleted.
    MessagesDeleted {
        /// Number of the named messages that were not deleted before.
        count: u64,
    },
}
