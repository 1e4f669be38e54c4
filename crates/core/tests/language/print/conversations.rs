//! Prints events of conversations: rooms, their members and messages.

use conclave_core::{
    AccountId, ConversationEvent, ConversationId, Event, MessageEvent, RoomEvent, SentMessage,
    Sequence, Timestamp,
};

use super::{World, account, filled, progress, time};

/// Maximum length of a text that is printed whole, in bytes; of a longer one the length is printed.
const TEXT_SHOWN_MAX: usize = 60;

/// Maximum number of mentions that are printed by name; more are counted.
const MENTIONS_SHOWN_MAX: usize = 4;

pub(super) fn of_room(world: &World, event: &Event) -> String {
    let of = |id: &AccountId| account(world, *id);
    let place = |conversation: &ConversationId, id: &AccountId| {
        format!("conversation={conversation} account={}", of(id))
    };
    match event {
        Event::Conversation(ConversationEvent::Opened {
            conversation,
            members: (a, b),
            at,
        }) => format!(
            "ConversationOpened conversation={conversation} members={},{} at={}",
            of(a),
            of(b),
            time(*at)
        ),
        Event::Room(RoomEvent::Created {
            conversation,
            name,
            topic,
            public,
            at,
        }) => format!(
            "RoomCreated conversation={conversation} name={name} {} public={public} at={}",
            shown(topic.as_str()),
            time(*at)
        ),
        Event::Room(RoomEvent::MemberJoined {
            conversation,
            account,
            role,
            progress: to,
        }) => format!(
            "MemberJoined {} role={role:?} {}",
            place(conversation, account),
            progress(*to)
        ),
        Event::Room(RoomEvent::MemberLeft {
            conversation,
            account,
            by,
        }) => format!("MemberLeft {} by={}", place(conversation, account), of(by)),
        Event::Room(RoomEvent::MemberRoleChanged {
            conversation,
            account,
            role,
        }) => format!(
            "MemberRoleChanged {} role={role:?}",
            place(conversation, account)
        ),
        Event::Room(RoomEvent::TopicChanged {
            conversation,
            topic,
        }) => format!(
            "TopicChanged conversation={conversation} {}",
            shown(topic.as_str())
        ),
        Event::Room(RoomEvent::RetentionChanged {
            conversation,
            retention,
        }) => {
            let cluster = || "cluster".to_owned();
            let age = retention.age_ms.map(|age_ms| time(Timestamp(age_ms)));
            let messages = retention.messages.map(|messages| messages.to_string());
            format!(
                "RoomRetentionChanged conversation={conversation} age={} messages={}",
                age.unwrap_or_else(cluster),
                messages.unwrap_or_else(cluster)
            )
        }
        Event::Conversation(ConversationEvent::Forgotten {
            conversation,
            through,
        }) => format!("Forgotten conversation={conversation} through={through}"),
        Event::Room(RoomEvent::MemberInvited {
            conversation,
            account,
            by,
        }) => format!(
            "MemberInvited {} by={}",
            place(conversation, account),
            of(by)
        ),
        Event::Room(RoomEvent::InvitationRemoved {
            conversation,
            account,
        }) => format!("InvitationRemoved {}", place(conversation, account)),
        Event::Room(RoomEvent::WebhookCreated {
            webhook,
            token,
            conversation,
            account,
            by,
            at,
        }) => format!(
            "WebhookCreated webhook={webhook} token={} {} by={} at={}",
            filled(&token.0),
            place(conversation, account),
            of(by),
            time(*at)
        ),
        Event::Room(RoomEvent::WebhookDeleted { webhook }) => {
            format!("WebhookDeleted webhook={webhook}")
        }
        other => panic!("{other:?} is not about a conversation"),
    }
}

pub(super) fn of_message(world: &World, event: &Event) -> String {
    let of = |id: &AccountId| account(world, *id);
    let place = |conversation: &ConversationId, sequence: &Sequence| {
        format!("conversation={conversation} sequence={sequence}")
    };
    match event {
        Event::Message(MessageEvent::Sent(SentMessage {
            conversation,
            sequence,
            by,
            at,
            text,
            reply_to,
            action,
            ordinal,
            mentions,
        })) => {
            let reply = reply_to.map_or(String::new(), |to| format!(" reply_to={to}"));
            let action = if *action { " action" } else { "" };
            format!(
                "MessageSent {} by={} at={} ordinal={ordinal} {}{reply}{action}{}",
                place(conversation, sequence),
                of(by),
                time(*at),
                shown(text.as_str()),
                mentioned(world, mentions)
            )
        }
        Event::Message(MessageEvent::Edited {
            conversation,
            sequence,
            at,
            text,
            mentions,
        }) => format!(
            "MessageEdited {} at={} {}{}",
            place(conversation, sequence),
            time(*at),
            shown(text.as_str()),
            mentioned(world, mentions)
        ),
        Event::Message(MessageEvent::ReactionChanged {
            conversation,
            sequence,
            account,
            reaction,
            present,
            count,
        }) => format!(
            "ReactionChanged {} account={} {:?} present={present} count={count}",
            place(conversation, sequence),
            of(account),
            reaction.as_str()
        ),
        Event::Conversation(ConversationEvent::PositionAdvanced {
            conversation,
            account,
            progress: to,
        }) => format!(
            "PositionAdvanced conversation={conversation} account={} {}",
            of(account),
            progress(*to)
        ),
        Event::Message(MessageEvent::Hidden {
            conversation,
            sequence,
            account,
        }) => format!(
            "MessageHidden {} account={}",
            place(conversation, sequence),
            of(account)
        ),
        Event::Message(MessageEvent::Deleted {
            conversation,
            sequence,
            at,
        }) => format!(
            "MessageDeleted {} at={}",
            place(conversation, sequence),
            time(*at)
        ),
        other => panic!("{other:?} is not about a message"),
    }
}

fn shown(text: &str) -> String {
    match text {
        long if long.len() > TEXT_SHOWN_MAX => format!("({} bytes)", long.len()),
        short => format!("{short:?}"),
    }
}

fn mentioned(world: &World, mentions: &[AccountId]) -> String {
    let names: Vec<_> = mentions.iter().map(|id| account(world, *id)).collect();
    match names.len() {
        0 => String::new(),
        many if many > MENTIONS_SHOWN_MAX => format!(" mentions={many} members"),
        _ => format!(" mentions={}", names.join(",")),
    }
}
