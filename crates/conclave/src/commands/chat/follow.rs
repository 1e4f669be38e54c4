//! `conclave read --follow`: shows events as they happen, whichever node serves.
//!
//! Always true: with `-o json` each line is one object with its position, in the order of the log;
//! a program that begins again with `--since` and the last position misses nothing and gets nothing
//! twice.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use conclave_client::{Events, Item, v1};
use conclave_core::Recipient;
use serde_json::{Value, json};
use v1::event::Event as Kind;

use crate::{
    commands::chat::reader::Reader,
    errors::note,
    output::{self, Format},
};

/// Time for which a follower waits for more before it marks what it has shown as read: one request
/// for a burst instead of one for each message.
const MARK_AFTER: Duration = Duration::from_millis(200);
/// Interval at which a follower checks whether its stdout still has a reader.
const CLOSED_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Waits until a node streams; returns the position from which it does.
///
/// # Errors
/// If the session has ended.
pub(crate) async fn started(events: &mut Events) -> anyhow::Result<u64> {
    loop {
        match events.next().await? {
            Item::Event(event) => {
                if let Some(Kind::Started(_)) = event.event {
                    return Ok(events.position().0);
                }
            }
            item => tell(&item),
        }
    }
}

/// Shows the events of the stream, except the messages at the positions in `shown`.
///
/// # Errors
/// If the session has ended, or stdout is closed.
pub(crate) async fn run(
    reader: &mut Reader,
    mut events: Events,
    with: Option<&Recipient>,
    mut shown: BTreeSet<u64>,
) -> anyhow::Result<ExitCode> {
    let mut filter = Filter::new(with);
    loop {
        let limit = match reader.has_more_to_mark() {
            true => MARK_AFTER,
            false => CLOSED_LOOK_INTERVAL,
        };
        let next = match tokio::time::timeout(limit, events.next()).await {
            Ok(next) => next?,
            Err(_) => {
                reader.mark().await?;
                if reader.is_closed() {
                    return Ok(ExitCode::SUCCESS);
                }
                continue;
            }
        };
        match next {
            Item::Event(event) => {
                if let Some(Kind::PositionAdvanced(advanced)) = &event.event {
                    reader.look_again(advanced.conversation_id).await?;
                }
                // The positions of messages that were shown before come first; none of them comes
                // again.
                if !shown.remove(&event.position) && filter.lets_through(&event) {
                    show(reader, &event).await?;
                }
            }
            item => tell(&item),
        }
    }
}

async fn show(reader: &mut Reader, event: &v1::Event) -> anyhow::Result<()> {
    let line = match reader.format() {
        Format::Json => as_json(event).map(|line| output::json_text(&line)),
        Format::Table => as_line(event, reader.zone()),
    };
    match (&event.event, line) {
        (Some(Kind::MessageSent(message)), Some(line)) => reader.write(&line, message).await?,
        (_, Some(line)) => reader.write_other(&line).await?,
        (_, None) => {}
    }
    Ok(())
}

/// Formats an event for the terminal; `None` if the terminal shows no line for it.
fn as_line(event: &v1::Event, zone: &jiff::tz::TimeZone) -> Option<String> {
    let id = |message: &Option<v1::MessageRef>| {
        let message = message.unwrap_or_default();
        format!("{}.{}", message.conversation_id, message.sequence)
    };
    let account = |name: &str| output::person(name);
    Some(match event.event.as_ref()? {
        Kind::MessageSent(message) | Kind::MessageEdited(message) => {
            output::message_line(message, zone)
        }
        Kind::MessageDeleted(deleted) => format!("{} was deleted", id(&deleted.message)),
        Kind::ReactionChanged(changed) => format!(
            "{} {} {} {}",
            account(&changed.account_name),
            if changed.present { "reacts" } else { "removes" },
            output::clean(&changed.reaction),
            id(&changed.message),
        ),
        Kind::MemberJoined(joined) => format!(
            "{} joined #{}",
            account(&joined.account_name),
            output::clean(&joined.room_name)
        ),
        Kind::MemberLeft(left) => format!(
            "{} left #{}",
            account(&left.account_name),
            output::clean(&left.room_name)
        ),
        Kind::TopicChanged(changed) => format!("new topic: {}", output::clean(&changed.topic)),
        Kind::RoomInvitation(invitation) => format!(
            "you are invited to #{}: conclave room join {0}",
            output::clean(&invitation.room_name)
        ),
        Kind::Gap(_) => "some edits and deletions are too old to be shown".to_owned(),
        _ => return None,
    })
}

/// Formats an event for programs; `None` for presence, typing and read positions: the first two are
/// true only for a moment, and this command moves the caller's read position itself.
fn as_json(event: &v1::Event) -> Option<Value> {
    let named = |message: &Option<v1::MessageRef>| {
        let message = message.unwrap_or_default();
        json!(format!("{}.{}", message.conversation_id, message.sequence))
    };
    let (kind, mut line) = match event.event.as_ref()? {
        Kind::MessageSent(message) => ("message", output::message_json(message)),
        Kind::MessageEdited(message) => ("edited", output::message_json(message)),
        Kind::MessageDeleted(deleted) => ("deleted", json!({"id": named(&deleted.message)})),
        Kind::MessageHidden(hidden) => ("hidden", json!({"id": named(&Some(*hidden))})),
        Kind::ReactionChanged(changed) => (
            "reaction",
            json!({
                "id": named(&changed.message),
                "from": changed.account_name,
                "reaction": changed.reaction,
                "present": changed.present,
                "count": changed.count,
            }),
        ),
        Kind::ConversationOpened(opened) => (
            "opened",
            json!({"conversation": opened.conversation_id, "with": opened.peer_name}),
        ),
        Kind::MemberJoined(joined) => (
            "joined",
            json!({
                "conversation": joined.conversation_id,
                "room": joined.room_name,
                "from": joined.account_name,
            }),
        ),
        Kind::MemberLeft(left) => (
            "left",
            json!({
                "conversation": left.conversation_id,
                "room": left.room_name,
                "from": left.account_name,
                "by_id": left.by_id,
            }),
        ),
        Kind::TopicChanged(changed) => (
            "topic",
            json!({"conversation": changed.conversation_id, "topic": changed.topic}),
        ),
        Kind::RoomInvitation(invitation) => (
            "invited",
            json!({
                "conversation": invitation.conversation_id,
                "room": invitation.room_name,
            }),
        ),
        Kind::MessagesForgotten(forgotten) => {
            let (conversation, through) = (forgotten.conversation_id, forgotten.through_sequence);
            let id = format!("{conversation}.{through}");
            (
                "forgotten",
                json!({"conversation": conversation, "through": id}),
            )
        }
        Kind::Gap(gap) => ("gap", json!({"after_position": gap.after_position})),
        _ => return None,
    };
    line["event"] = json!(kind);
    line["position"] = json!(event.position);
    Some(line)
}

/// Reports on stderr when the stream is lost and when it is back.
fn tell(item: &Item) {
    match item {
        Item::Disconnected(lost) if lost.attempt == 0 => note(&format!(
            "warning: the stream from {} was lost ({}); trying others",
            lost.node, lost.sentence
        )),
        Item::Disconnected(lost) => note(&format!(
            "warning: no node has answered for {:.0} s; still trying",
            lost.gone_for.as_secs_f64()
        )),
        Item::Reconnected(back) => note(&format!(
            "the stream is back from {} after {:.1} s; {} came late",
            back.node,
            back.gone_for.as_secs_f64(),
            back.missed
        )),
        Item::Event(_) => {}
    }
}

/// Selects the events to show.
struct Filter {
    with: Option<Recipient>,
    /// Number of the conversation that is shown, once a message or an event has named it.
    conversation: Option<u64>,
}

impl Filter {
    fn new(with: Option<&Recipient>) -> Self {
        Self {
            with: with.cloned(),
            conversation: None,
        }
    }

    fn lets_through(&mut self, event: &v1::Event) -> bool {
        let (Some(with), Some(kind)) = (&self.with, &event.event) else {
            return true;
        };
        if let Kind::MessageSent(message) | Kind::MessageEdited(message) = kind {
            let is_it = is_of(with, message);
            if is_it {
                self.conversation = Some(message.conversation_id);
            }
            return is_it;
        }
        conversation_of(kind).is_some_and(|id| self.conversation == Some(id))
    }
}

fn is_of(with: &Recipient, message: &v1::Message) -> bool {
    match with {
        Recipient::Account(name) => {
            message.room_name.is_empty()
                && [&message.sender_name, &message.recipient_name]
                    .iter()
                    .any(|other| other.eq_ignore_ascii_case(name.as_str()))
        }
        Recipient::Room(name) => message.room_name.eq_ignore_ascii_case(name.as_str()),
        Recipient::Conversation(id) => message.conversation_id == id.0,
    }
}

fn conversation_of(kind: &Kind) -> Option<u64> {
    let of = |message: &Option<v1::MessageRef>| message.map(|message| message.conversation_id);
    match kind {
        Kind::MessageDeleted(deleted) => of(&deleted.message),
        Kind::MessageHidden(hidden) => Some(hidden.conversation_id),
        Kind::ReactionChanged(changed) => of(&changed.message),
        Kind::PositionAdvanced(advanced) => Some(advanced.conversation_id),
        Kind::MemberJoined(joined) => Some(joined.conversation_id),
        Kind::MemberLeft(left) => Some(left.conversation_id),
        Kind::TopicChanged(changed) => Some(changed.conversation_id),
        Kind::MessagesForgotten(forgotten) => Some(forgotten.conversation_id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::recipient;

    fn sent(from: &str, to: &str, room: &str) -> v1::Event {
        let message = v1::Message {
            conversation_id: 7,
            sender_name: from.to_owned(),
            recipient_name: to.to_owned(),
            room_name: room.to_owned(),
            ..Default::default()
        };
        v1::Event {
            position: 9,
            event: Some(Kind::MessageSent(message)),
        }
    }

    #[test]
    fn a_conversation_filter_passes_both_directions() {
        let with = recipient("bob").unwrap();
        let mut filter = Filter::new(Some(&with));
        assert!(filter.lets_through(&sent("Bob", "alice", "")));
        assert!(filter.lets_through(&sent("alice", "bob", "")));
        assert!(!filter.lets_through(&sent("alice", "carol", "")));
        assert!(!filter.lets_through(&sent("bob", "", "ops")));
        let all = &mut Filter::new(None);
        assert!(all.lets_through(&sent("alice", "carol", "")));
    }

    #[test]
    fn changes_of_a_message_pass_the_filter_of_its_conversation() {
        let deleted = v1::Event {
            position: 10,
            event: Some(Kind::MessageDeleted(v1::MessageDeleted {
                message: Some(v1::MessageRef {
                    conversation_id: 7,
                    sequence: 1,
                }),
            })),
        };
        let with = recipient("#ops").unwrap();
        let mut filter = Filter::new(Some(&with));
        assert!(!filter.lets_through(&deleted));
        assert!(filter.lets_through(&sent("bob", "", "Ops")));
        assert!(filter.lets_through(&deleted));
    }

    #[test]
    fn each_json_line_has_its_kind_and_position() {
        let line = as_json(&sent("alice", "bob", "")).unwrap();
        assert_eq!(
            (&line["event"], &line["position"]),
            (&json!("message"), &json!(9))
        );
        let heartbeat = v1::Event {
            position: 0,
            event: Some(Kind::Heartbeat(v1::Heartbeat {})),
        };
        assert_eq!(as_json(&heartbeat), None);
    }
}
