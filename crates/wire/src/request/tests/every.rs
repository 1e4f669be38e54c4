//! A request of every kind, and further ones that differ from it in one field; each with the
//! operation that it stands for.

mod accounts;

use conclave_core::{
    AccountName, Command, ConversationId, MemberRole, MessageOperation, MessageRef, MessageText,
    Operation, Progress, Reaction, Recipient, RoomName, RoomOperation, RoomRetention, Sequence,
    SessionId, TokenHash, Topic, WebhookId,
};

pub(super) use accounts::invite;
use accounts::{of_admins, of_oneself};

use crate::{
    Problem,
    request::{SessionRequest, create_webhook},
    v1::{self, send_message_request::To},
};

pub(super) const SESSION: SessionId = SessionId(7);
const TOKEN: TokenHash = TokenHash([1; 32]);

/// Which request it is, if it says so.
pub(super) type Id = Option<v1::RequestId>;
pub(super) type Made = Result<Command, Problem>;
type Meant = (Made, Operation);

pub(super) fn made(request: impl SessionRequest) -> Made {
    request.into_command(SESSION)
}

/// Returns all requests. None says what another says.
pub(super) fn all(id: Id) -> Vec<Meant> {
    let parts = [
        sends(id),
        of_messages(id),
        of_rooms(id),
        of_members(id),
        of_webhooks(id),
        of_oneself(id),
        of_admins(id),
    ];
    parts.into_iter().flatten().collect()
}

fn account(name: &str) -> AccountName {
    AccountName::new(name).unwrap()
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

fn sends(request: Id) -> Vec<Meant> {
    let send = |to: To, text: &str, reply_to, action| {
        let expected = match &to {
            To::RecipientName(name) => Recipient::Account(account(name)),
            To::RoomName(name) => Recipient::Room(room(name)),
            To::ConversationId(id) => Recipient::Conversation(ConversationId(*id)),
        };
        let asked = v1::SendMessageRequest {
            request,
            to: Some(to),
            text: text.to_owned(),
            reply_to,
            action,
        };
        let operation = Operation::Message(MessageOperation::SendMessage {
            to: expected,
            text: MessageText::new(text).unwrap(),
            reply_to: Some(Sequence(reply_to)).filter(|_| reply_to > 0),
            action,
        });
        (made(asked), operation)
    };
    let person = || To::RecipientName("den".to_owned());
    vec![
        send(person(), "hi", 0, false),
        send(To::RoomName("den".to_owned()), "hi", 0, false),
        send(To::ConversationId(5), "hi", 0, false),
        send(To::ConversationId(6), "hi", 0, false),
        send(person(), "ho", 0, false),
        send(person(), "hi", 4, false),
        send(person(), "hi", 0, true),
    ]
}

fn of_messages(request: Id) -> Vec<Meant> {
    let named = |conversation_id, sequence| v1::MessageRef {
        conversation_id,
        sequence,
    };
    let message = |conversation, sequence| MessageRef {
        conversation: ConversationId(conversation),
        sequence: Sequence(sequence),
    };
    let edit = |conversation, sequence, text: &str| {
        let asked = v1::EditMessageRequest {
            request,
            message: Some(named(conversation, sequence)),
            text: text.to_owned(),
        };
        let (message, text) = (message(conversation, sequence), MessageText::new(text));
        let text = text.unwrap();
        (
            made(asked),
            Operation::Message(MessageOperation::EditMessage { message, text }),
        )
    };
    let react = |sequence, reaction: &str, present| {
        let asked = v1::SetReactionRequest {
            request,
            message: Some(named(5, sequence)),
            reaction: reaction.to_owned(),
            present,
        };
        let operation = Operation::Message(MessageOperation::SetReaction {
            message: message(5, sequence),
            reaction: Reaction::new(reaction).unwrap(),
            present,
        });
        (made(asked), operation)
    };
    let delete = |sequence, for_everyone| {
        let asked = v1::DeleteMessagesRequest {
            request,
            messages: vec![named(5, sequence)],
            for_everyone,
        };
        let operation = Operation::Message(MessageOperation::DeleteMessages {
            messages: vec![message(5, sequence)],
            for_everyone,
        });
        (made(asked), operation)
    };
    vec![
        edit(5, 6, "hi"),
        edit(6, 5, "hi"),
        edit(5, 6, "ho"),
        react(6, "+1", true),
        react(6, "+1", false),
        react(6, "+2", true),
        react(7, "+1", true),
        delete(6, false),
        delete(6, true),
        delete(7, false),
        advance(request, [5, 2, 1]),
        advance(request, [5, 1, 2]),
        advance(request, [2, 5, 1]),
    ]
}

fn advance(request: Id, [conversation, delivered, read]: [u64; 3]) -> Meant {
    let asked = v1::AdvancePositionsRequest {
        request,
        progress: vec![v1::Progress {
            conversation_id: conversation,
            sequence_delivered: delivered,
            sequence_read: read,
        }],
    };
    let progress = Progress {
        delivered: Sequence(delivered),
        read: Sequence(read),
    };
    let positions = vec![(ConversationId(conversation), progress)];
    (
        made(asked),
        Operation::Message(MessageOperation::AdvancePositions { positions }),
    )
}

fn of_rooms(request: Id) -> Vec<Meant> {
    let name = || "den".to_owned();
    let create = |topic: &str, private| {
        let asked = v1::CreateRoomRequest {
            request,
            name: name(),
            topic: topic.to_owned(),
            private,
        };
        let operation = Operation::Room(RoomOperation::CreateRoom {
            name: room("den"),
            topic: Topic::new(topic).unwrap(),
            public: !private,
        });
        (made(asked), operation)
    };
    let topic = |topic: &str| {
        let asked = v1::SetTopicRequest {
            request,
            name: name(),
            topic: topic.to_owned(),
        };
        let (name, topic) = (room("den"), Topic::new(topic).unwrap());
        (
            made(asked),
            Operation::Room(RoomOperation::SetTopic { name, topic }),
        )
    };
    let join = made(v1::JoinRoomRequest {
        request,
        name: name(),
    });
    let leave = made(v1::LeaveRoomRequest {
        request,
        name: name(),
    });
    let keep = |age_ms, messages| {
        let retention = v1::RoomRetention { age_ms, messages };
        let asked = v1::SetRoomRetentionRequest {
            request,
            name: name(),
            retention: Some(retention),
        };
        let operation = Operation::Room(RoomOperation::SetRoomRetention {
            name: room("den"),
            retention: RoomRetention { age_ms, messages },
        });
        (made(asked), operation)
    };
    vec![
        keep(None, None),
        keep(Some(0), None),
        keep(Some(86_400_000), Some(0)),
        keep(None, Some(7)),
        create("tea", false),
        create("tea", true),
        create("", false),
        topic("tea"),
        topic(""),
        (
            join,
            Operation::Room(RoomOperation::JoinRoom { name: room("den") }),
        ),
        (
            leave,
            Operation::Room(RoomOperation::LeaveRoom { name: room("den") }),
        ),
    ]
}

fn of_members(request: Id) -> Vec<Meant> {
    // Either name in either place.
    let invite = |name: &str, account_name: &str| {
        let asked = v1::InviteToRoomRequest {
            request,
            name: name.to_owned(),
            account_name: account_name.to_owned(),
        };
        let (name, account) = (room(name), account(account_name));
        (
            made(asked),
            Operation::Room(RoomOperation::InviteToRoom { name, account }),
        )
    };
    let kick = |name: &str, account_name: &str| {
        let asked = v1::KickFromRoomRequest {
            request,
            name: name.to_owned(),
            account_name: account_name.to_owned(),
        };
        let (name, account) = (room(name), account(account_name));
        (
            made(asked),
            Operation::Room(RoomOperation::KickFromRoom { name, account }),
        )
    };
    let role = |name: &str, account_name: &str, role: v1::MemberRole, expected| {
        let asked = v1::SetMemberRoleRequest {
            request,
            name: name.to_owned(),
            account_name: account_name.to_owned(),
            role: role.into(),
        };
        let operation = Operation::Room(RoomOperation::SetMemberRole {
            name: room(name),
            account: account(account_name),
            role: expected,
        });
        (made(asked), operation)
    };
    vec![
        invite("den", "bob"),
        invite("bob", "den"),
        kick("den", "bob"),
        kick("bob", "den"),
        role("den", "bob", v1::MemberRole::Member, MemberRole::Member),
        role(
            "den",
            "bob",
            v1::MemberRole::Moderator,
            MemberRole::Moderator,
        ),
        role("den", "bob", v1::MemberRole::Owner, MemberRole::Owner),
        role("bob", "den", v1::MemberRole::Owner, MemberRole::Owner),
    ]
}

fn of_webhooks(request: Id) -> Vec<Meant> {
    let create = |name: &str, account_name: &str, token| {
        let asked = v1::CreateWebhookRequest {
            request,
            name: name.to_owned(),
            account_name: account_name.to_owned(),
            ..v1::CreateWebhookRequest::default()
        };
        let operation = Operation::Room(RoomOperation::CreateWebhook {
            name: room(name),
            account: account(account_name),
            token,
        });
        (create_webhook(SESSION, asked, token), operation)
    };
    let delete = |webhook_id| {
        let webhook = WebhookId(webhook_id);
        let asked = v1::DeleteWebhookRequest {
            request,
            webhook_id,
        };
        (
            made(asked),
            Operation::Room(RoomOperation::DeleteWebhook { webhook }),
        )
    };
    vec![
        create("den", "bob", TOKEN),
        create("bob", "den", TOKEN),
        create("den", "bob", TokenHash([2; 32])),
        delete(4),
        delete(5),
    ]
}
