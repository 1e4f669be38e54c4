//! Tests of the messages that clients receive for rows.

use conclave_core::{
    AccountId, AccountRole, ConversationId, MemberRole, MessageRef, Position, Progress,
    RoomRetention, Sequence, SessionId, Timestamp,
};
use conclave_storage::state::{
    AccountRow, ConversationRow, Counterpart, Delivery, Destination, MemberRow, MessageRow,
    PreviewRow, ReactionRow, RoomRow, SessionRow, StreamEvent, StreamItem,
};
use conclave_wire::v1::{self, event::Event};

use super::*;

fn person(name: &str) -> AccountRow {
    AccountRow {
        id: AccountId(3),
        name: name.to_owned(),
        password_hash: "$argon2id$secret".to_owned(),
        password_version: 2,
        created_at: Timestamp(5),
        role: AccountRole::Admin,
        display_name: "Anna".to_owned(),
        suspended: false,
    }
}

fn row(to: Destination, text: Option<&str>) -> MessageRow {
    MessageRow {
        position: Position(900),
        conversation: ConversationId(7),
        sequence: Sequence(4),
        by: AccountId(3),
        by_name: Some("anna".to_owned()),
        to,
        sent_at: Timestamp(11),
        text: text.map(str::to_owned),
        edited_at: Some(Timestamp(12)),
        reply_to: Some(Sequence(2)),
        action: true,
        mentions: vec![AccountId(8), AccountId(9)],
        reactions: vec![ReactionRow {
            reaction: "👍".to_owned(),
            count: 2,
            mine: true,
        }],
    }
}

fn to_bob() -> Destination {
    Destination::Peer {
        account: AccountId(8),
        name: Some("bob".to_owned()),
        delivery: Delivery::Delivered,
    }
}

#[test]
fn a_message_is_shown_with_all_its_fields() {
    let shown = message(row(to_bob(), Some("hi")));
    assert_eq!(
        shown,
        v1::Message {
            conversation_id: 7,
            sequence: 4,
            position: 900,
            sender_id: 3,
            sender_name: "anna".to_owned(),
            recipient_name: "bob".to_owned(),
            sent_at_ms: 11,
            text: "hi".to_owned(),
            deleted: false,
            delivery: v1::Delivery::Delivered.into(),
            room_name: String::new(),
            edited_at_ms: 12,
            reply_to: 2,
            action: true,
            mentioned_ids: vec![8, 9],
            reactions: vec![v1::Reaction {
                reaction: "👍".to_owned(),
                count: 2,
                mine: true,
            }],
        }
    );
}

#[test]
fn a_room_message_names_its_room_and_has_no_delivery_state() {
    let to = Destination::Room {
        name: "lobby".to_owned(),
    };
    let shown = message(row(to, Some("hi")));
    assert_eq!(
        (shown.room_name.as_str(), shown.recipient_name.as_str()),
        ("lobby", "")
    );
    assert_eq!(shown.delivery(), v1::Delivery::Unspecified);
}

#[test]
fn a_deleted_message_keeps_its_sequence_and_is_marked() {
    let shown = message(row(to_bob(), None));
    assert!(shown.deleted && shown.text.is_empty());
    assert_eq!(shown.sequence, 4);
}

#[test]
fn a_conversation_is_with_a_person_or_in_a_room() {
    let with = |with| {
        conversation(ConversationRow {
            id: ConversationId(7),
            with,
            sequence_last: Sequence(9),
            progress: Progress {
                delivered: Sequence(8),
                read: Sequence(6),
            },
            unread: 3,
            unread_mentions: 1,
            last: Some(PreviewRow {
                sequence: Sequence(9),
                position: Position(70),
                by: AccountId(8),
                by_name: None,
                sent_at: Timestamp(5),
                text: None,
                action: false,
            }),
        })
    };
    let direct = with(Counterpart::Peer {
        account: AccountId(8),
        name: None,
        progress: Progress {
            delivered: Sequence(5),
            read: Sequence(4),
        },
    });
    assert_eq!(direct.peer_name, "", "the account was deleted");
    let last = direct.last_message.clone().unwrap();
    assert_eq!((last.sequence, last.position, last.sent_at_ms), (9, 70, 5));
    assert!(last.deleted && last.sender_name.is_empty());
    assert_eq!((direct.peer_delivered, direct.peer_read), (5, 4));
    assert_eq!((direct.sequence_delivered, direct.sequence_read), (8, 6));
    let room = with(Counterpart::Room {
        name: "lobby".to_owned(),
        topic: "tea".to_owned(),
    });
    assert_eq!(
        (room.room_name.as_str(), room.topic.as_str()),
        ("lobby", "tea")
    );
    assert_eq!(
        (room.unread, room.unread_mentions, room.sequence_last),
        (3, 1, 9)
    );
}

#[test]
fn a_room_and_its_members_have_the_roles_of_the_protocol() {
    let shown = |role, invited| {
        room(RoomRow {
            id: ConversationId(7),
            name: "lobby".to_owned(),
            topic: String::new(),
            public: true,
            members: 12,
            role,
            invited,
            retention: Retention {
                age_ms: 86_400_000,
                messages: 0,
            },
            own_retention: RoomRetention {
                age_ms: Some(86_400_000),
                messages: None,
            },
        })
    };
    let kept = shown(None, true).retention.unwrap();
    assert_eq!((kept.age_ms, kept.messages), (86_400_000, 0));
    let own = shown(None, true).own_retention.unwrap();
    assert_eq!((own.age_ms, own.messages), (Some(86_400_000), None));
    assert_eq!(shown(None, true).role(), v1::MemberRole::Unspecified);
    assert!(shown(None, true).invited);
    assert_eq!(
        shown(Some(MemberRole::Owner), false).role(),
        v1::MemberRole::Owner
    );
    let anna = member(MemberRow {
        account: person("anna"),
        role: MemberRole::Moderator,
    });
    assert_eq!(anna.role(), v1::MemberRole::Moderator);
    let account = anna.account.unwrap();
    assert_eq!(account.role(), v1::AccountRole::Admin);
    assert_eq!(account.display_name, "Anna");
}

#[test]
fn only_the_calling_session_is_marked_as_current() {
    let row = SessionRow {
        id: SessionId(4),
        account: AccountId(3),
        account_name: Some("anna".to_owned()),
        closed: false,
        opened_at: Timestamp(1),
        expires_at: Timestamp(2),
        label: "telephone".to_owned(),
        role: AccountRole::User,
        suspended: false,
    };
    assert!(session(row.clone(), SessionId(4)).current);
    assert!(!session(row, SessionId(5)).current);
}

#[test]
fn every_event_has_its_position_and_its_kind() {
    let (conversation, account) = (ConversationId(7), AccountId(3));
    let of = MessageRef {
        conversation,
        sequence: Sequence(4),
    };
    let name = || Some("anna".to_owned());
    let room_name = || Some("lobby".to_owned());
    let happened = [
        ("sent", StreamEvent::Sent(row(to_bob(), Some("hi")))),
        ("edited", StreamEvent::Edited(row(to_bob(), Some("ho")))),
        ("deleted", StreamEvent::Deleted(of)),
        ("hidden", StreamEvent::Hidden(of)),
        (
            "reaction",
            StreamEvent::Reaction {
                message: of,
                account,
                name: name(),
                reaction: "ok".to_owned(),
                present: true,
                count: 2,
            },
        ),
        (
            "advanced",
            StreamEvent::Advanced {
                conversation,
                account,
                progress: Progress::default(),
            },
        ),
        (
            "opened",
            StreamEvent::Opened {
                conversation,
                peer_name: name(),
            },
        ),
        (
            "joined",
            StreamEvent::Room(RoomChange::Joined {
                conversation,
                room_name: room_name(),
                account,
                name: name(),
            }),
        ),
        (
            "left",
            StreamEvent::Room(RoomChange::Left {
                conversation,
                room_name: None,
                account,
                name: name(),
                by: AccountId(8),
            }),
        ),
        (
            "role",
            StreamEvent::Room(RoomChange::RoleChanged {
                conversation,
                account,
                role: MemberRole::Owner,
            }),
        ),
        (
            "topic",
            StreamEvent::Room(RoomChange::TopicChanged {
                conversation,
                topic: "tea".to_owned(),
            }),
        ),
        (
            "invited",
            StreamEvent::Room(RoomChange::Invited {
                conversation,
                room_name: room_name(),
                by: AccountId(8),
            }),
        ),
        ("account", StreamEvent::AccountChanged(person("anna"))),
        (
            "forgotten",
            StreamEvent::Forgotten {
                conversation,
                through: Sequence(9),
            },
        ),
    ];
    for (kind, what) in happened {
        let shown = event(StreamItem {
            position: Position(77),
            what,
        });
        assert_eq!(shown.position, 77);
        assert_eq!(shown.event.as_ref().map(kind_of), Some(kind));
    }
}

/// Returns the kind of an event, and checks that its content is there.
fn kind_of(event: &Event) -> &'static str {
    let is_it = |message: &Option<v1::MessageRef>| {
        let it = v1::MessageRef {
            conversation_id: 7,
            sequence: 4,
        };
        assert_eq!(message, &Some(it));
    };
    match event {
        Event::MessageSent(message) if message.text == "hi" => "sent",
        Event::MessageEdited(message) if message.text == "ho" => "edited",
        Event::MessageDeleted(deleted) => {
            is_it(&deleted.message);
            "deleted"
        }
        Event::MessageHidden(hidden) => {
            is_it(&Some(*hidden));
            "hidden"
        }
        Event::ReactionChanged(changed) if changed.present && changed.account_id == 3 => {
            is_it(&changed.message);
            assert_eq!(changed.count, 2);
            "reaction"
        }
        Event::PositionAdvanced(advanced) if advanced.account_id == 3 => "advanced",
        Event::ConversationOpened(opened) if opened.peer_name == "anna" => "opened",
        Event::MemberJoined(joined) if joined.room_name == "lobby" => "joined",
        Event::MemberLeft(left) if left.by_id == 8 && left.room_name.is_empty() => "left",
        Event::MemberRoleChanged(changed) if changed.role() == v1::MemberRole::Owner => "role",
        Event::TopicChanged(changed) if changed.topic == "tea" => "topic",
        Event::RoomInvitation(invited) if invited.by_id == 8 => "invited",
        Event::AccountChanged(changed) if changed.account.is_some() => "account",
        Event::MessagesForgotten(told) if told.through_sequence == 9 => "forgotten",
        other => panic!("{other:?} says too little"),
    }
}
