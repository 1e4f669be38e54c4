//! `conclave read --follow`: shows events as they happen, whichever node serves.
//!
//! Always true: with `-o json` each line is one object with its position, in the order of the log;
//! a program that begins again with `--since` and the last position misses nothing and gets nothing
//! twice. Only the end of the session or of stdout ends a follower: what the cluster does not mark
//! as read now is marked later.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use conclave_client::{CallError, Client, Events, Item, StartAt, SubscribeOptions, v1};
use conclave_core::Recipient;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};
use v1::event::Event as Kind;

use crate::{
    commands::chat::reader::Reader,
    errors::note,
    output::{self, Format},
};

/// Time for which a follower waits for more before it marks what it has shown as read: one request
/// for a burst instead of one for each message.
const MARK_AFTER: Duration = Duration::from_millis(200);
/// Longest time between two looks, however many events come: whether there is something to mark,
/// and whether stdout still has a reader.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time for which a follower shows nothing because it marks what it has shown. After that
/// it tries again with the next look.
const MARK_MAX: Duration = Duration::from_secs(5);

/// Opens the stream of a follower: without presence and typing, which it does not show.
pub(crate) fn subscribe(client: &Client, from: StartAt) -> Events {
    let options = SubscribeOptions {
        presence: false,
        ..SubscribeOptions::default()
    };
    client.subscribe_with(from, options)
}

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
    let mut rhythm = Rhythm::new(Instant::now());
    let mut is_told = false;
    loop {
        let may_mark = reader.has_more_to_mark() && !is_told;
        let look_at = rhythm.next(Instant::now(), may_mark);
        if let Ok(next) = timeout_at(look_at, events.next()).await {
            match next? {
                Item::Event(event) => {
                    if let Some(Kind::PositionAdvanced(advanced)) = &event.event {
                        reader.look_again(advanced.conversation_id);
                    }
                    // The positions of messages that were shown before come first; none of them
                    // comes again.
                    if !shown.remove(&event.position) && filter.lets_through(&event) {
                        show(reader, &event).await?;
                    }
                }
                item => tell(&item),
            }
            if !rhythm.is_due(Instant::now()) {
                continue;
            }
        }
        let marked = timeout(MARK_MAX, reader.mark()).await.ok();
        goes_on(marked, &mut is_told)?;
        if reader.is_closed() {
            return Ok(ExitCode::SUCCESS);
        }
        rhythm = Rhythm::new(Instant::now());
    }
}

/// When a follower looks whether there is something to mark.
struct Rhythm {
    /// The latest time of the next look.
    due_at: Instant,
}

impl Rhythm {
    fn new(looked_at: Instant) -> Self {
        Self {
            due_at: looked_at + LOOK_INTERVAL,
        }
    }

    /// Returns until when to wait for the next event before the next look.
    fn next(&self, now: Instant, may_mark: bool) -> Instant {
        match may_mark {
            true => self.due_at.min(now + MARK_AFTER),
            false => self.due_at,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        now >= self.due_at
    }
}

/// Decides whether the follower goes on after it has tried to mark messages (`None`: for too long);
/// notes on stderr that it cannot, once until it can again.
fn goes_on(marked: Option<Result<(), CallError>>, is_told: &mut bool) -> Result<(), CallError> {
    let cause = match marked {
        Some(Ok(())) => {
            *is_told = false;
            return Ok(());
        }
        Some(Err(error @ CallError::SessionExpired { .. })) => return Err(error),
        Some(Err(error)) => error.to_string(),
        None => format!("no answer within {} s", MARK_MAX.as_secs()),
    };
    if !std::mem::replace(is_told, true) {
        note(&format!("warning: cannot mark messages as read: {cause}"));
    }
    Ok(())
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
    use conclave_client::Reason;

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
    fn a_follower_looks_each_second_however_many_events_come() {
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        let rhythm = Rhythm::new(begun);
        // In silence.
        assert_eq!(rhythm.next(at(0), true), at(200));
        assert_eq!(rhythm.next(at(0), false), at(1000));
        // An event every 100 ms: each would put the look off.
        for ms in (100..1000).step_by(100) {
            assert!(!rhythm.is_due(at(ms)), "{ms}");
            assert!(rhythm.next(at(ms), true) <= at(1000), "{ms}");
        }
        assert!(rhythm.is_due(at(1000)));
    }

    #[test]
    fn only_the_end_of_the_session_ends_a_follower() {
        let sentence = String::new;
        let mut is_told = false;
        let trouble = [
            Some(CallError::Refused {
                reason: Reason::NotAllowed,
                sentence: sentence(),
            }),
            Some(CallError::NotDone {
                sentence: sentence(),
                distrust: None,
                attempts: 1,
                waited: Duration::ZERO,
                nodes: Vec::new(),
            }),
            Some(CallError::Unknown {
                sentence: sentence(),
                attempts: 1,
                waited: Duration::ZERO,
                nodes: Vec::new(),
                request: None,
            }),
            None,
        ];
        for error in trouble {
            assert_eq!(goes_on(error.map(Err), &mut is_told), Ok(()));
            assert!(is_told);
        }
        assert_eq!(goes_on(Some(Ok(())), &mut is_told), Ok(()));
        assert!(!is_told, "the next trouble is told again");
        let ended = CallError::SessionExpired {
            sentence: sentence(),
            certain: true,
        };
        assert!(goes_on(Some(Err(ended)), &mut is_told).is_err());
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
