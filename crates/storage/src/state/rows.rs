//! What readers give: rows for people, with names instead of numbers where people look.

use std::collections::BTreeSet;

use conclave_core::{
    AccountId, AccountRole, ConversationId, InviteId, JoinTokenId, MemberRole, MessageRef, NodeId,
    Position, Progress, Sequence, SessionId, Timestamp, WebhookId, limits::MESSAGE_COST_BYTES,
    lookup::PeerAuthority,
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
    /// What it may do.
    pub role: AccountRole,
    /// What is shown beside the name; may be empty.
    pub display_name: String,
    /// Whether an administrator has suspended it.
    pub suspended: bool,
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
    /// What its owner calls it; may be empty.
    pub label: String,
    /// What its account may do; [`AccountRole::User`] if the account was deleted.
    pub role: AccountRole,
    /// Whether its account is suspended: then it can do nothing.
    pub suspended: bool,
}

/// A conversation, as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationRow {
    /// Its number.
    pub id: ConversationId,
    /// Between whom it is.
    pub with: With,
    /// The number of its last message; 0 if it has none.
    pub sequence_last: Sequence,
    /// How far the member has come.
    pub progress: Progress,
    /// Messages of others that the member has not read: those deleted or hidden are left out, as
    /// far as there are at most 1000 of them.
    pub unread: u64,
    /// Unread messages that mention the member: at most 1000 are counted.
    pub unread_mentions: u64,
}

/// Between whom a conversation is, as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum With {
    /// The other person (oneself, if one writes to oneself).
    Peer {
        /// Its account, which may have been deleted.
        account: AccountId,
        /// `None` if the account was deleted.
        name: Option<String>,
        /// How far the other person has come.
        progress: Progress,
    },
    /// A room.
    Room {
        /// Its name.
        name: String,
        /// What it is about.
        topic: String,
    },
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

/// A message, as one member sees it.
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
    pub to: To,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// `None` if it was deleted for everyone.
    pub text: Option<String>,
    /// When it was edited last.
    pub edited_at: Option<Timestamp>,
    /// The message that it answers.
    pub reply_to: Option<Sequence>,
    /// Whether the text tells what the sender does.
    pub action: bool,
    /// Members that it names, in order of their numbers.
    pub mentions: Vec<AccountId>,
    /// What members think of it, in order of the reactions' bytes.
    pub reactions: Vec<ReactionRow>,
}

/// Bytes that a mention adds to a message, at most: a number.
const MENTION_BYTES: usize = 10;

/// Bytes that a kind of reaction adds to a message beside its name, at most: two numbers, and where
/// it begins and ends.
const REACTION_BYTES: usize = 16;

impl MessageRow {
    /// Returns how much it adds to a page, about: its text, and what is shown beside it. It counts
    /// the mentions and reactions that the row has by now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let reactions = self.reactions.iter();
        let reactions = reactions.map(|row| REACTION_BYTES + row.reaction.len());
        let text = self.text.as_ref().map_or(0, String::len);
        MESSAGE_COST_BYTES as usize
            + text
            + MENTION_BYTES * self.mentions.len()
            + reactions.sum::<usize>()
    }
}

/// For whom a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// The other person of a direct conversation.
    Peer {
        /// Its account, which may have been deleted.
        account: AccountId,
        /// `None` if the account was deleted.
        name: Option<String>,
        /// How far the message has come.
        delivery: Delivery,
    },
    /// A room.
    Room {
        /// Its name.
        name: String,
    },
}

/// One kind of reaction to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactionRow {
    /// Which.
    pub reaction: String,
    /// How many members gave it.
    pub count: u64,
    /// Whether the one who reads is among them.
    pub mine: bool,
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

/// A part of the stream of everything that an account may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPage {
    /// Ascending by position.
    pub items: Vec<StreamItem>,
    /// Everything up to here was looked at: go on after it.
    pub scanned_to: Position,
    /// Whether that is everything that was applied.
    pub complete: bool,
    /// Whether changes (never messages) after the position asked for were forgotten.
    pub gap: bool,
    /// If `complete`: the rooms that the account is in at that moment, in order of their numbers.
    pub rooms: Vec<ConversationId>,
}

/// Something that happened, as those see it who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamItem {
    /// Where in the log.
    pub position: Position,
    /// What.
    pub what: Happened,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A message was sent.
    Sent(MessageRow),
    /// A message was edited; the row is as it is now.
    Edited(MessageRow),
    /// A message was deleted for everyone.
    Deleted(MessageRef),
    /// The account has deleted a message for itself.
    Hidden(MessageRef),
    /// A reaction was added or taken away.
    Reaction {
        /// To which message.
        message: MessageRef,
        /// Whose.
        account: AccountId,
        /// `None` if the account was deleted.
        name: Option<String>,
        /// Which.
        reaction: String,
        /// Whether it was added.
        present: bool,
    },
    /// Somebody has come further: the account itself, or the other one of a direct conversation.
    /// Only the last advance of each is told, at its position.
    Advanced {
        /// Where.
        conversation: ConversationId,
        /// Who.
        account: AccountId,
        /// How far.
        progress: Progress,
    },
    /// A direct conversation was opened.
    Opened {
        /// Its number.
        conversation: ConversationId,
        /// The other person's name, for the account; `None` if the account was deleted.
        peer_name: Option<String>,
    },
    /// Somebody has become a member of a room.
    Joined {
        /// Which room.
        conversation: ConversationId,
        /// `None` if the room was removed.
        room_name: Option<String>,
        /// Who.
        account: AccountId,
        /// `None` if the account was deleted.
        name: Option<String>,
    },
    /// Somebody is no longer a member of a room.
    Left {
        /// Which room.
        conversation: ConversationId,
        /// `None` if the room was removed.
        room_name: Option<String>,
        /// Who.
        account: AccountId,
        /// `None` if the account was deleted.
        name: Option<String>,
        /// Who has done it.
        by: AccountId,
    },
    /// A member has another role.
    RoleChanged {
        /// In which room.
        conversation: ConversationId,
        /// Who.
        account: AccountId,
        /// Which.
        role: MemberRole,
    },
    /// A room has another topic.
    TopicChanged {
        /// Which room.
        conversation: ConversationId,
        /// What.
        topic: String,
    },
    /// The account is invited to a room.
    Invited {
        /// Which room.
        conversation: ConversationId,
        /// `None` if the room was removed.
        room_name: Option<String>,
        /// By whom.
        by: AccountId,
    },
    /// Something about the account itself changed; the row is as it is now.
    AccountChanged(AccountRow),
}

/// A room, as one account sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    /// Its number.
    pub id: ConversationId,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// Whether everybody may see and join it.
    pub public: bool,
    /// How many members it has.
    pub members: u64,
    /// The account's role; `None` if it is not in the room.
    pub role: Option<MemberRole>,
    /// Whether the account is invited.
    pub invited: bool,
}

/// A part of the list of rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomsPage {
    /// Sorted by name, whatever its case.
    pub rows: Vec<RoomRow>,
    /// Where to go on; `None` at the end. A page may be short, even empty, and yet not the last.
    pub next_after_key: Option<String>,
}

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// Its account.
    pub account: AccountRow,
    /// What it may do.
    pub role: MemberRole,
}

/// What the log says of the nodes of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesRow {
    /// The greatest number that was given out or used up; 0 if there is none.
    pub last: NodeId,
    /// The node that shall lead while it is well.
    pub preferred_leader: Option<NodeId>,
    /// Which authority peers believe, and which one they are about to.
    pub authority: PeerAuthority,
    /// Numbers that nobody is let in with any more.
    pub retired: BTreeSet<NodeId>,
}

/// An operator, without its credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorRow {
    /// Its name.
    pub name: String,
    /// The operator that made it; `None`: the cluster itself.
    pub by_name: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
}

/// A token to join, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTokenRow {
    /// By what it is told from others.
    pub id: JoinTokenId,
    /// Until when.
    pub expires_at: Timestamp,
    /// Whether the machine will vote.
    pub voter: bool,
    /// The operator that made it.
    pub by_name: String,
    /// When.
    pub created_at: Timestamp,
}

/// An invite, without its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteRow {
    /// Its number.
    pub id: InviteId,
    /// `None` if the account was deleted.
    pub by_name: Option<String>,
    /// Until when.
    pub expires_at: Timestamp,
    /// How often it can still be used.
    pub uses_left: u32,
}

/// A webhook, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRow {
    /// Its number.
    pub id: WebhookId,
    /// The name of the account under which it posts.
    pub account_name: String,
    /// `None` if the account was deleted.
    pub by_name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a directory of names tells of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationInfo {
    /// Its members when it was opened, the lower number first.
    Direct(AccountId, AccountId),
    /// A room.
    Room {
        /// Its name.
        name: String,
        /// What it is about.
        topic: String,
    },
}
