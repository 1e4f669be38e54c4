//! Rows that readers return, with names instead of numbers where people read them. The file is
//! long because it has all of them.

use std::collections::BTreeSet;

use conclave_core::{
    AccountId, AccountRole, AckPolicy, ClusterVersion, ConversationId, InviteId, JoinTokenId,
    MemberRole, MessageRef, NodeId, Position, Progress, Retention, RoomRetention, Sequence,
    SessionId, Timestamp, WebhookId, limits::MESSAGE_COST_BYTES, lookup::PeerAuthority,
};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Number of the account.
    pub id: AccountId,
    /// As its owner wrote it.
    pub name: String,
    /// argon2id in PHC form.
    pub password_hash: String,
    /// Counts its passwords, from 1.
    pub password_version: u64,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Role of the account.
    pub role: AccountRole,
    /// Display name; may be empty.
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
    /// Number of the session.
    pub id: SessionId,
    /// The account that owns it.
    pub account: AccountId,
    /// `None` if the account was deleted.
    pub account_name: Option<String>,
    /// Whether it is closed: it gives remembered answers and nothing else.
    pub closed: bool,
    /// Time of the opening.
    pub opened_at: Timestamp,
    /// When it ends; if closed: when it may be forgotten.
    pub expires_at: Timestamp,
    /// The owner's name for it; may be empty.
    pub label: String,
    /// What its account may do; [`AccountRole::User`] if the account was deleted.
    pub role: AccountRole,
    /// Whether its account is suspended: then it can do nothing.
    pub suspended: bool,
}

/// A conversation, as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationRow {
    /// Number of the conversation.
    pub id: ConversationId,
    /// The other person, or the room.
    pub with: Counterpart,
    /// The number of its last message; 0 if it has none.
    pub sequence_last: Sequence,
    /// Positions of the member.
    pub progress: Progress,
    /// Messages of others that the member has not read: those deleted or hidden are left out, as
    /// far as there are at most 1000 of them.
    pub unread: u64,
    /// Unread messages that mention the member: at most 1000 are counted.
    pub unread_mentions: u64,
    /// The newest message that the member has not hidden, if it was asked for.
    pub last: Option<PreviewRow>,
}

/// The beginning of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewRow {
    /// Number of the message in the conversation.
    pub sequence: Sequence,
    /// Position in the log.
    pub position: Position,
    /// Account that sent the message.
    pub by: AccountId,
    /// `None` if the account was deleted.
    pub by_name: Option<String>,
    /// Time of sending.
    pub sent_at: Timestamp,
    /// First characters of the text; `None` if it was deleted for everyone.
    pub text: Option<String>,
    /// Whether the text describes an action of the sender.
    pub action: bool,
}

/// A member that gave a reaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactorRow {
    /// Account of the member.
    pub account: AccountId,
    /// `None` if the account was deleted.
    pub name: Option<String>,
}

/// The other side of a conversation, as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counterpart {
    /// The other person (oneself, if one writes to oneself).
    Peer {
        /// Account of the other person, which may have been deleted.
        account: AccountId,
        /// `None` if the account was deleted.
        name: Option<String>,
        /// Positions of the other person.
        progress: Progress,
    },
    /// A room.
    Room {
        /// Name of the room.
        name: String,
        /// Topic of the room.
        topic: String,
    },
}

/// How far a message has come with its recipients; its sender does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// The message is kept, and has reached no device yet.
    Queued,
    /// The message has reached a device.
    Delivered,
    /// The message was shown. A message to oneself is read.
    Read,
}

/// A message, as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// Position in the log.
    pub position: Position,
    /// The conversation.
    pub conversation: ConversationId,
    /// Number of the message in the conversation.
    pub sequence: Sequence,
    /// Account that sent the message.
    pub by: AccountId,
    /// `None` if the account was deleted.
    pub by_name: Option<String>,
    /// The recipient: a person or a room.
    pub to: Destination,
    /// Time of sending.
    pub sent_at: Timestamp,
    /// `None` if it was deleted for everyone.
    pub text: Option<String>,
    /// Time of the last edit.
    pub edited_at: Option<Timestamp>,
    /// The message that it answers.
    pub reply_to: Option<Sequence>,
    /// Whether the text describes an action of the sender.
    pub action: bool,
    /// Members that it names, in order of their numbers.
    pub mentions: Vec<AccountId>,
    /// Reactions of members, in order of the reactions' bytes.
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

/// The recipient of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The other person of a direct conversation.
    Peer {
        /// Account of the other person, which may have been deleted.
        account: AccountId,
        /// `None` if the account was deleted.
        name: Option<String>,
        /// Delivery of the message.
        delivery: Delivery,
    },
    /// A room.
    Room {
        /// Name of the room.
        name: String,
    },
}

/// One kind of reaction to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactionRow {
    /// The reaction.
    pub reaction: String,
    /// How many members gave it.
    pub count: u64,
    /// Whether the reader is among them.
    pub mine: bool,
}

/// The requested part of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryFrom {
    /// What comes before this message, nearest last.
    Before(Sequence),
    /// What comes after this message, nearest first.
    After(Sequence),
    /// Half of the page before this message, the rest from it on.
    Around(Sequence),
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
    /// Messages up to this number are no longer kept; 0: all are.
    pub forgotten: Sequence,
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

/// Something that happened, as an account sees it that may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamItem {
    /// Position in the log.
    pub position: Position,
    /// What happened.
    pub what: StreamEvent,
}

/// The kinds of things that happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
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
        /// The message.
        message: MessageRef,
        /// The account that reacted.
        account: AccountId,
        /// `None` if the account was deleted.
        name: Option<String>,
        /// The reaction.
        reaction: String,
        /// Whether it was added.
        present: bool,
        /// Number of accounts that give this reaction: after the change, or later.
        count: u64,
    },
    /// The positions of an account have advanced: the reader's own, or those of the other one of a
    /// direct conversation. Only the last advance of each is given, at its position.
    Advanced {
        /// The conversation.
        conversation: ConversationId,
        /// The account.
        account: AccountId,
        /// The new position.
        progress: Progress,
    },
    /// The oldest messages of a conversation are no longer kept. Only the last time is given, at
    /// its position.
    Forgotten {
        /// The conversation.
        conversation: ConversationId,
        /// Messages up to this number are gone.
        through: Sequence,
    },
    /// A direct conversation was opened.
    Opened {
        /// Number of the conversation.
        conversation: ConversationId,
        /// The other person's name, for the account; `None` if the account was deleted.
        peer_name: Option<String>,
    },
    /// Something about a room or its members changed.
    Room(RoomChange),
    /// Something about the account itself changed; the row is as it is now.
    AccountChanged(AccountRow),
}

/// A change of a room or its members, with what a client needs to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomChange {
    /// An account has become a member of a room.
    Joined {
        /// The room.
        conversation: ConversationId,
        /// `None` if the room was removed.
        room_name: Option<String>,
        /// The new member.
        account: AccountId,
        /// `None` if the account was deleted.
        name: Option<String>,
    },
    /// An account is no longer a member of a room.
    Left {
        /// The room.
        conversation: ConversationId,
        /// `None` if the room was removed.
        room_name: Option<String>,
        /// The account that is no longer a member.
        account: AccountId,
        /// `None` if the account was deleted.
        name: Option<String>,
        /// The account that caused it: the member itself, or another one that removed it.
        by: AccountId,
    },
    /// A member has another role.
    RoleChanged {
        /// The room.
        conversation: ConversationId,
        /// The member.
        account: AccountId,
        /// The new role.
        role: MemberRole,
    },
    /// A room has another topic.
    TopicChanged {
        /// The room.
        conversation: ConversationId,
        /// The new topic.
        topic: String,
    },
    /// The account is invited to a room.
    Invited {
        /// The room.
        conversation: ConversationId,
        /// `None` if the room was removed.
        room_name: Option<String>,
        /// The account that invited it.
        by: AccountId,
    },
}

/// A room, as one account sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    /// Number of the conversation.
    pub id: ConversationId,
    /// Name of the room.
    pub name: String,
    /// Topic of the room.
    pub topic: String,
    /// Whether every account may see and join it.
    pub public: bool,
    /// Number of members.
    pub members: u64,
    /// The account's role; `None` if it is not in the room.
    pub role: Option<MemberRole>,
    /// Whether the account is invited.
    pub invited: bool,
    /// What the room keeps, as it and the cluster say.
    pub retention: Retention,
    /// What the room has set for itself.
    pub own_retention: RoomRetention,
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
    /// Account of the member.
    pub account: AccountRow,
    /// Role of the member.
    pub role: MemberRole,
}

/// What the log says of the nodes of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesRow {
    /// The greatest number that was given out or retired; 0 if there is none.
    pub last: NodeId,
    /// The node that leads while it is healthy.
    pub preferred_leader: Option<NodeId>,
    /// The voters that acknowledgements wait for.
    pub ack_policy: AckPolicy,
    /// The authority that peers trust, and the one that takes its place next.
    pub authority: PeerAuthority,
    /// The cluster version; `None` if the log has said none.
    pub version: Option<ClusterVersion>,
    /// Retired numbers: no node with one of them can join again.
    pub retired: BTreeSet<NodeId>,
}

/// An operator, without its credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorRow {
    /// Name of the operator.
    pub name: String,
    /// The operator that created it; `None`: the cluster itself.
    pub by_name: Option<String>,
    /// Time of creation.
    pub created_at: Timestamp,
}

/// A join token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTokenRow {
    /// Distinguishes it from other tokens.
    pub id: JoinTokenId,
    /// End of the token.
    pub expires_at: Timestamp,
    /// Whether the machine will vote.
    pub voter: bool,
    /// The operator that created it.
    pub by_name: String,
    /// Time of creation.
    pub created_at: Timestamp,
}

/// An invite, without its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteRow {
    /// Number of the invite.
    pub id: InviteId,
    /// `None` if the account was deleted.
    pub by_name: Option<String>,
    /// End of the invite.
    pub expires_at: Timestamp,
    /// Number of accounts that it can still create.
    pub uses_left: u32,
}

/// A webhook, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRow {
    /// Number of the webhook.
    pub id: WebhookId,
    /// The name of the account under which it posts.
    pub account_name: String,
    /// `None` if the account was deleted.
    pub by_name: Option<String>,
    /// Time of creation.
    pub created_at: Timestamp,
}

/// What a directory of names shows of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationInfo {
    /// Its members when it was opened, the lower number first.
    Direct(AccountId, AccountId),
    /// A room.
    Room {
        /// Name of the room.
        name: String,
        /// Topic of the room.
        topic: String,
    },
}
