//! Rows of conversations and their messages.

use conclave_wire::v1::{self, list_messages_request::Conversation, send_message_request::To};

use super::{ACCOUNTS, Expected, MEMBERS, OK, Row};
use crate::world::SECRET;

/// A call that members may make, but that a block between the two people of a conversation forbids.
const UNBLOCKED: Expected = Expected {
    blocked: "BLOCKED",
    ..MEMBERS
};
const BLOCKED_TOO: Expected = Expected {
    blocked: OK,
    ..MEMBERS
};
const NOT_YOURS: &str = "NOT_YOUR_MESSAGE";

pub(super) fn rows() -> Vec<Row> {
    [of_sending(), of_changing(), of_deleting(), of_reading()]
        .into_iter()
        .flatten()
        .collect()
}

fn of_sending() -> Vec<Row> {
    let send = |request, to| v1::SendMessageRequest {
        request,
        to: Some(to),
        text: "hello".to_owned(),
        ..Default::default()
    };
    let to_a_person = Expected {
        blocked: "BLOCKED",
        ..ACCOUNTS
    };
    let stream = move |request, to| v1::SendMessagesRequest {
        messages: vec![send(request, to)],
    };
    vec![
        Row::new("ChatService/SendMessages", UNBLOCKED, move |f| {
            stream(f.request, To::ConversationId(f.conversation))
        }),
        Row::new("ChatService/SendMessages", MEMBERS, move |f| {
            stream(f.request, To::RoomName(f.room.clone()))
        })
        .case("to a room"),
        Row::new("ChatService/SendMessages", to_a_person, move |f| {
            stream(f.request, To::RecipientName("alice".to_owned()))
        })
        .case("to a person"),
        Row::new("ChatService/SendMessage", UNBLOCKED, move |f| {
            send(f.request, To::ConversationId(f.conversation))
        }),
        Row::new("ChatService/SendMessage", MEMBERS, move |f| {
            send(f.request, To::RoomName(f.room.clone()))
        })
        .case("to a room"),
        Row::new("ChatService/SendMessage", to_a_person, move |f| {
            send(f.request, To::RecipientName("alice".to_owned()))
        })
        .case("to a person"),
    ]
}

fn of_changing() -> Vec<Row> {
    let no_member = Expected {
        blocked: NOT_YOURS,
        member: NOT_YOURS,
        owner: NOT_YOURS,
        ..MEMBERS
    };
    let edit = |request, message| v1::EditMessageRequest {
        request,
        message,
        text: "edited".to_owned(),
    };
    vec![
        Row::new("ChatService/EditMessage", UNBLOCKED, move |f| {
            edit(f.request, f.message(f.own))
        }),
        Row::new("ChatService/EditMessage", no_member, move |f| {
            edit(f.request, f.message(f.others))
        })
        .case("of another account"),
        Row::new("ChatService/SetReaction", UNBLOCKED, |f| {
            v1::SetReactionRequest {
                request: f.request,
                message: f.message(f.others),
                reaction: "+1".to_owned(),
                present: true,
            }
        }),
        Row::new("ChatService/AdvancePositions", BLOCKED_TOO, |f| {
            v1::AdvancePositionsRequest {
                request: f.request,
                progress: vec![v1::Progress {
                    conversation_id: f.conversation,
                    sequence_delivered: 1,
                    sequence_read: 1,
                }],
            }
        }),
    ]
}

fn of_deleting() -> Vec<Row> {
    let delete = |request, message: Option<_>, for_everyone| v1::DeleteMessagesRequest {
        request,
        messages: message.into_iter().collect(),
        for_everyone,
    };
    let governor = Expected {
        blocked: NOT_YOURS,
        member: NOT_YOURS,
        ..MEMBERS
    };
    vec![
        Row::new("ChatService/DeleteMessages", BLOCKED_TOO, move |f| {
            delete(f.request, f.message(f.others), false)
        })
        .alone(),
        Row::new("ChatService/DeleteMessages", BLOCKED_TOO, move |f| {
            delete(f.request, f.message(f.own), true)
        })
        .case("for everyone")
        .alone(),
        Row::new("ChatService/DeleteMessages", governor, move |f| {
            delete(f.request, f.message(f.others), true)
        })
        .case("of another account, for everyone")
        .alone(),
    ]
}

fn of_reading() -> Vec<Row> {
    let list = |conversation| v1::ListMessagesRequest {
        conversation: Some(conversation),
        ..Default::default()
    };
    let search = |query: String| v1::SearchMessagesRequest {
        query,
        ..Default::default()
    };
    vec![
        Row::new("ChatService/ListMessages", BLOCKED_TOO, move |f| {
            list(Conversation::ConversationId(f.conversation))
        }),
        Row::new("ChatService/ListMessages", MEMBERS, move |f| {
            list(Conversation::RoomName(f.room.clone()))
        })
        .case("of a room"),
        Row::new("ChatService/ListMessages", ACCOUNTS, move |_| {
            list(Conversation::PeerName("alice".to_owned()))
        })
        .case("with a person"),
        Row::new("ChatService/ListUnread", ACCOUNTS, |_| {
            v1::ListUnreadRequest::default()
        }),
        Row::new("ChatService/ListConversations", ACCOUNTS, |_| {
            v1::ListConversationsRequest::default()
        }),
        Row::new("ChatService/ListReactions", BLOCKED_TOO, move |f| {
            v1::ListReactionsRequest {
                message: f.message(f.own),
                reaction: "+1".to_owned(),
                ..Default::default()
            }
        }),
        Row::new("ChatService/SearchMessages", ACCOUNTS, move |_| {
            search(SECRET.to_owned())
        }),
        Row::new("ChatService/SearchMessages", ACCOUNTS, move |_| {
            search(format!("{SECRET} in:#vault"))
        })
        .case("in a room"),
        Row::new("ChatService/SearchMessages", ACCOUNTS, move |_| {
            search(format!("{SECRET} from:alice"))
        })
        .case("from a person"),
    ]
}
