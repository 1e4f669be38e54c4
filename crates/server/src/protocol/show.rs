//! Converts rows to the messages that clients receive: the only place where stored data becomes
//! sent data.
//!
//! Always true: a name that is gone is empty, never made up; secrets and hashes are never sent.

use conclave_core::{AccountRole, ClusterRetention, MemberRole, MessageRef, Retention, SessionId};
use conclave_storage::state::{
    AccountRow, ConversationRow, Counterpart, Delivery, Destination, MemberRow, MessageRow,
    PreviewRow, ReactionRow, ReactorRow, RoomChange, RoomRow, SessionRow, StreamEvent, StreamItem,
    WebhookRow,
};
use conclave_wire::v1::{self, event::Event};

/// Converts an account.
pub(crate) fn account(row: AccountRow) -> v1::Account {
    v1::Account {
        id: row.id.0,
        name: row.name,
        created_at_ms: row.created_at.0,
        display_name: row.display_name,
        role: account_role(row.role).into(),
        suspended: row.suspended,
    }
}

/// Converts the role of an account.
pub(crate) fn account_role(role: AccountRole) -> v1::AccountRole {
    match role {
        AccountRole::User => v1::AccountRole::User,
        AccountRole::Admin => v1::AccountRole::Admin,
        AccountRole::Bot => v1::AccountRole::Bot,
    }
}

/// Converts a session; `current` is the session of the caller.
pub(crate) fn session(row: SessionRow, current: SessionId) -> v1::Session {
    v1::Session {
        session_id: row.id.0,
        label: row.label,
        opened_at_ms: row.opened_at.0,
        expires_at_ms: row.expires_at.0,
        current: row.id == current,
    }
}

/// Converts a message.
pub(crate) fn message(row: MessageRow) -> v1::Message {
    let (recipient_name, room_name, delivery) = match row.to {
        Destination::Peer { name, delivery, .. } => {
            (name.unwrap_or_default(), String::new(), progress(delivery))
        }
        Destination::Room { name } => (String::new(), name, v1::Delivery::Unspecified),
    };
    v1::Message {
        conversation_id: row.conversation.0,
        sequence: row.sequence.0,
        position: row.position.0,
        sender_id: row.by.0,
        sender_name: row.by_name.unwrap_or_default(),
        recipient_name,
        sent_at_ms: row.sent_at.0,
        deleted: row.text.is_none(),
        text: row.text.unwrap_or_default(),
        delivery: delivery.into(),
        room_name,
        edited_at_ms: row.edited_at.map_or(0, |at| at.0),
        reply_to: row.reply_to.map_or(0, |sequence| sequence.0),
        action: row.action,
        mentioned_ids: row.mentions.into_iter().map(|id| id.0).collect(),
        reactions: row.reactions.into_iter().map(reaction).collect(),
    }
}

fn progress(delivery: Delivery) -> v1::Delivery {
    match delivery {
        Delivery::Queued => v1::Delivery::Queued,
        Delivery::Delivered => v1::Delivery::Delivered,
        Delivery::Read => v1::Delivery::Read,
    }
}

fn reaction(row: ReactionRow) -> v1::Reaction {
    v1::Reaction {
        reaction: row.reaction,
        count: small(row.count),
        mine: row.mine,
    }
}

/// Converts a count that a bound of the rules keeps small.
fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn message_ref(message: MessageRef) -> v1::MessageRef {
    v1::MessageRef {
        conversation_id: message.conversation.0,
        sequence: message.sequence.0,
    }
}

/// Converts a conversation.
pub(crate) fn conversation(row: ConversationRow) -> v1::Conversation {
    let known = v1::Conversation {
        id: row.id.0,
        sequence_last: row.sequence_last.0,
        sequence_delivered: row.progress.delivered.0,
        sequence_read: row.progress.read.0,
        unread: row.unread,
        unread_mentions: row.unread_mentions,
        last_message: row.last.map(preview),
        ..v1::Conversation::default()
    };
    match row.with {
        Counterpart::Peer { name, progress, .. } => v1::Conversation {
            peer_name: name.unwrap_or_default(),
            peer_delivered: progress.delivered.0,
            peer_read: progress.read.0,
            ..known
        },
        Counterpart::Room { name, topic } => v1::Conversation {
            room_name: name,
            topic,
            ..known
        },
    }
}

fn preview(row: PreviewRow) -> v1::MessagePreview {
    v1::MessagePreview {
        sequence: row.sequence.0,
        position: row.position.0,
        sender_id: row.by.0,
        sender_name: row.by_name.unwrap_or_default(),
        sent_at_ms: row.sent_at.0,
        deleted: row.text.is_none(),
        text: row.text.unwrap_or_default(),
        action: row.action,
    }
}

/// Converts a member that gave a reaction.
pub(crate) fn reactor(row: ReactorRow) -> v1::Reactor {
    v1::Reactor {
        account_id: row.account.0,
        account_name: row.name.unwrap_or_default(),
    }
}

/// Converts a room.
pub(crate) fn room(row: RoomRow) -> v1::Room {
    let role = row.role.map_or(v1::MemberRole::Unspecified, member_role);
    v1::Room {
        conversation_id: row.id.0,
        name: row.name,
        topic: row.topic,
        public: row.public,
        members: small(row.members),
        role: role.into(),
        invited: row.invited,
        retention: Some(retention(row.retention)),
        own_retention: Some(v1::RoomRetention {
            age_ms: row.own_retention.age_ms,
            messages: row.own_retention.messages,
        }),
    }
}

fn retention(kept: Retention) -> v1::Retention {
    v1::Retention {
        age_ms: kept.age_ms,
        messages: kept.messages,
    }
}

/// Converts what the cluster keeps.
pub(crate) fn cluster_retention(kept: ClusterRetention) -> v1::ClusterRetention {
    v1::ClusterRetention {
        each: Some(retention(kept.each)),
        rooms_may_exceed: kept.rooms_may_exceed,
        total_messages: kept.total_messages,
    }
}

/// Converts a member of a room.
pub(crate) fn member(row: MemberRow) -> v1::Member {
    v1::Member {
        account: Some(account(row.account)),
        role: member_role(row.role).into(),
    }
}

/// Converts the role of a member.
pub(crate) fn member_role(role: MemberRole) -> v1::MemberRole {
    match role {
        MemberRole::Member => v1::MemberRole::Member,
        MemberRole::Moderator => v1::MemberRole::Moderator,
        MemberRole::Owner => v1::MemberRole::Owner,
    }
}

/// Converts a webhook.
pub(crate) fn webhook(row: WebhookRow) -> v1::Webhook {
    v1::Webhook {
        webhook_id: row.id.0,
        account_name: row.account_name,
        by_name: row.by_name.unwrap_or_default(),
        created_at_ms: row.created_at.0,
    }
}

/// Converts an event.
pub(crate) fn event(item: StreamItem) -> v1::Event {
    let event = match item.what {
        StreamEvent::Sent(row) => Event::MessageSent(message(row)),
        StreamEvent::Edited(row) => Event::MessageEdited(message(row)),
        StreamEvent::Deleted(deleted) => Event::MessageDeleted(v1::MessageDeleted {
            message: Some(message_ref(deleted)),
        }),
        StreamEvent::Hidden(hidden) => Event::MessageHidden(message_ref(hidden)),
        StreamEvent::Reaction {
            message,
            account,
            name,
            reaction,
            present,
            count,
        } => Event::ReactionChanged(v1::ReactionChanged {
            message: Some(message_ref(message)),
            account_id: account.0,
            account_name: name.unwrap_or_default(),
            reaction,
            present,
            count,
        }),
        StreamEvent::Advanced {
            conversation,
            account,
            progress,
        } => Event::PositionAdvanced(v1::PositionAdvanced {
            conversation_id: conversation.0,
            account_id: account.0,
            sequence_delivered: progress.delivered.0,
            sequence_read: progress.read.0,
        }),
        StreamEvent::Forgotten {
            conversation,
            through,
        } => Event::MessagesForgotten(v1::MessagesForgotten {
            conversation_id: conversation.0,
            through_sequence: through.0,
        }),
        StreamEvent::Opened {
            conversation,
            peer_name,
        } => Event::ConversationOpened(v1::ConversationOpened {
            conversation_id: conversation.0,
            peer_name: peer_name.unwrap_or_default(),
        }),
        StreamEvent::AccountChanged(row) => Event::AccountChanged(v1::AccountChanged {
            account: Some(account(row)),
        }),
        StreamEvent::Room(change) => event_of_room(change),
    };
    v1::Event {
        position: item.position.0,
        event: Some(event),
    }
}

/// Converts an event about a room or its members.
fn event_of_room(change: RoomChange) -> Event {
    match change {
        RoomChange::Joined {
            conversation,
            room_name,
            account,
            name,
        } => Event::MemberJoined(v1::MemberJoined {
            conversation_id: conversation.0,
            room_name: room_name.unwrap_or_default(),
            account_id: account.0,
            account_name: name.unwrap_or_default(),
        }),
        RoomChange::Left {
            conversation,
            room_name,
            account,
            name,
            by,
        } => Event::MemberLeft(v1::MemberLeft {
            conversation_id: conversation.0,
            room_name: room_name.unwrap_or_default(),
            account_id: account.0,
            account_name: name.unwrap_or_default(),
            by_id: by.0,
        }),
        RoomChange::RoleChanged {
            conversation,
            account,
            role,
        } => Event::MemberRoleChanged(v1::MemberRoleChanged {
            conversation_id: conversation.0,
            account_id: account.0,
            role: member_role(role).into(),
        }),
        RoomChange::TopicChanged {
            conversation,
            topic,
        } => Event::TopicChanged(v1::TopicChanged {
            conversation_id: conversation.0,
            topic,
        }),
        RoomChange::Invited {
            conversation,
            room_name,
            by,
        } => Event::RoomInvitation(v1::RoomInvitation {
            conversation_id: conversation.0,
            room_name: room_name.unwrap_or_default(),
            by_id: by.0,
        }),
    }
}

#[cfg(test)]
#[path = "show_tests.rs"]
mod tests;
