//! The table: what each call asks for, and what each caller is told.

use conclave_wire::v1::{self, list_messages_request::Conversation, send_message_request::To};
use prost::Message;

use crate::world::Facts;

/// Not refused.
pub(crate) const OK: &str = "ok";
const HIDDEN: &str = "NO_SUCH_CONVERSATION";
const NO: &str = "NOT_ALLOWED";

/// One call. `-` leaves a caller out: the call would end its session or the room.
pub(crate) struct Row {
    pub(crate) call: &'static str,
    pub(crate) needs_session: bool,
    /// In no room and no conversation, and no administrator.
    pub(crate) stranger: &'static str,
    /// Was in the room once.
    pub(crate) kicked: &'static str,
    /// Blocked by whom it writes to; asks for its own direct conversation with her.
    pub(crate) blocked: &'static str,
    /// Owns the room, and is the administrator.
    pub(crate) owner: &'static str,
    pub(crate) request: fn(&Facts) -> Vec<u8>,
}

macro_rules! row {
    ($call:literal, $session:literal, $stranger:expr, $kicked:expr, $blocked:expr, $owner:expr,
        |$facts:ident| $request:expr) => {
        Row {
            call: $call,
            needs_session: $session,
            stranger: $stranger,
            kicked: $kicked,
            blocked: $blocked,
            owner: $owner,
            request: |$facts| $request.encode_to_vec(),
        }
    };
}

pub(crate) const ROWS: &[Row] = &[
    row!("AccountService/CreateAccount", false, OK, OK, OK, OK, |f| {
        v1::CreateAccountRequest {
            name: f.fresh.clone(),
            password: "correct horse".to_owned(),
            ..Default::default()
        }
    }),
    row!(
        "AccountService/DeleteAccount",
        true,
        "-",
        "-",
        "-",
        "-",
        |f| { v1::DeleteAccountRequest { request: f.request } }
    ),
    row!("AccountService/ListAccounts", true, OK, OK, OK, OK, |_f| {
        v1::ListAccountsRequest::default()
    }),
    row!(
        "AccountService/ChangePassword",
        true,
        "WRONG_CREDENTIALS",
        "-",
        "-",
        "-",
        |f| v1::ChangePasswordRequest {
            request: f.request,
            old_password: "not this one".to_owned(),
            new_password: "another horse".to_owned(),
        }
    ),
    row!("AccountService/SetDisplayName", true, OK, OK, OK, OK, |f| {
        v1::SetDisplayNameRequest {
            request: f.request,
            display_name: String::new(),
        }
    }),
    row!("AccountService/SetBlock", true, OK, OK, OK, OK, |f| {
        v1::SetBlockRequest {
            request: f.request,
            name: "frank".to_owned(),
            blocked: false,
        }
    }),
    row!("AccountService/ListBlocks", true, OK, OK, OK, OK, |_f| {
        v1::ListBlocksRequest::default()
    }),
    row!("SessionService/OpenSession", false, OK, OK, OK, OK, |_f| {
        v1::OpenSessionRequest {
            name: "frank".to_owned(),
            password: "correct horse".to_owned(),
            ..Default::default()
        }
    }),
    row!(
        "SessionService/CloseSession",
        true,
        "-",
        "-",
        "-",
        "-",
        |f| { v1::CloseSessionRequest { request: f.request } }
    ),
    row!("SessionService/GetSession", true, OK, OK, OK, OK, |_f| {
        v1::GetSessionRequest::default()
    }),
    row!("SessionService/ListSessions", true, OK, OK, OK, OK, |_f| {
        v1::ListSessionsRequest::default()
    }),
    row!(
        "SessionService/EndSession",
        true,
        "NO_SUCH_SESSION",
        "NO_SUCH_SESSION",
        "NO_SUCH_SESSION",
        "-",
        |f| v1::EndSessionRequest {
            request: f.request,
            session_id: f.owner_session,
        }
    ),
    row!(
        "ChatService/SendMessage",
        true,
        HIDDEN,
        HIDDEN,
        "BLOCKED",
        OK,
        |f| {
            v1::SendMessageRequest {
                request: f.request,
                to: Some(To::ConversationId(f.conversation)),
                text: "hello".to_owned(),
                ..Default::default()
            }
        }
    ),
    row!(
        "ChatService/EditMessage",
        true,
        HIDDEN,
        HIDDEN,
        "BLOCKED",
        OK,
        |f| {
            v1::EditMessageRequest {
                request: f.request,
                message: Some(f.message()),
                text: "edited".to_owned(),
            }
        }
    ),
    row!(
        "ChatService/SetReaction",
        true,
        HIDDEN,
        HIDDEN,
        "BLOCKED",
        OK,
        |f| {
            v1::SetReactionRequest {
                request: f.request,
                message: Some(f.message()),
                reaction: "+1".to_owned(),
                present: true,
            }
        }
    ),
    row!(
        "ChatService/DeleteMessages",
        true,
        HIDDEN,
        HIDDEN,
        OK,
        OK,
        |f| {
            v1::DeleteMessagesRequest {
                request: f.request,
                messages: vec![f.message()],
                for_everyone: false,
            }
        }
    ),
    row!(
        "ChatService/AdvancePositions",
        true,
        HIDDEN,
        HIDDEN,
        OK,
        OK,
        |f| {
            v1::AdvancePositionsRequest {
                request: f.request,
                progress: vec![v1::Progress {
                    conversation_id: f.conversation,
                    sequence_delivered: 1,
                    sequence_read: 1,
                }],
            }
        }
    ),
    row!(
        "ChatService/ListMessages",
        true,
        HIDDEN,
        HIDDEN,
        OK,
        OK,
        |f| {
            v1::ListMessagesRequest {
                conversation: Some(Conversation::ConversationId(f.conversation)),
                ..Default::default()
            }
        }
    ),
    row!("ChatService/ListUnread", true, OK, OK, OK, OK, |_f| {
        v1::ListUnreadRequest::default()
    }),
    row!(
        "ChatService/ListConversations",
        true,
        OK,
        OK,
        OK,
        OK,
        |_f| { v1::ListConversationsRequest::default() }
    ),
    row!("ChatService/SearchMessages", true, OK, OK, OK, OK, |_f| {
        v1::SearchMessagesRequest {
            query: "secret".to_owned(),
            ..Default::default()
        }
    }),
    row!("RoomService/CreateRoom", true, OK, OK, OK, OK, |f| {
        v1::CreateRoomRequest {
            request: f.request,
            name: f.fresh.clone(),
            ..Default::default()
        }
    }),
    row!(
        "RoomService/JoinRoom",
        true,
        HIDDEN,
        HIDDEN,
        HIDDEN,
        OK,
        |f| {
            v1::JoinRoomRequest {
                request: f.request,
                name: f.room.clone(),
            }
        }
    ),
    row!(
        "RoomService/LeaveRoom",
        true,
        HIDDEN,
        HIDDEN,
        HIDDEN,
        "-",
        |f| {
            v1::LeaveRoomRequest {
                request: f.request,
                name: f.room.clone(),
            }
        }
    ),
    row!(
        "RoomService/InviteToRoom",
        true,
        HIDDEN,
        HIDDEN,
        HIDDEN,
        OK,
        |f| {
            v1::InviteToRoomRequest {
                request: f.request,
                name: f.room.clone(),
                account_name: "bob".to_owned(),
            }
        }
    ),
    row!(
        "RoomService/KickFromRoom",
        true,
        HIDDEN,
        HIDDEN,
        HIDDEN,
        OK,
        |f| {
            v1::KickFromRoomRequest {
                request: f.request,
                name: f.room.clone(),
                account_name: "bob".to_owned(),
            }
        }
    ),
    row!(
        "RoomService/SetTopic",
        true,
        HIDDEN,
        HIDDEN,
        HIDDEN,
        OK,
        |f| {
            v1::SetTopicRequest {
                request: f.request,
                name: f.room.clone(),
                topic: String::new(),
            }
        }
    ),
    row!(
        "RoomService/SetMemberRole",
        true,
        HIDDEN,
        HIDDEN,
        HIDDEN,
        OK,
        |f| {
            v1::SetMemberRoleRequest {
                request: f.request,
                name: f.room.clone(),
                account_name: "frank".to_owned(),
                role: v1::MemberRole::Member.into(),
            }
        }
    ),
    row!("RoomService/ListRooms", true, OK, OK, OK, OK, |_f| {
        v1::ListRoomsRequest::default()
    }),
    row!(
        "RoomService/ListMembers",
        true,
        HIDDEN,
        HIDDEN,
        HIDDEN,
        OK,
        |f| {
            v1::ListMembersRequest {
                name: f.room.clone(),
                ..Default::default()
            }
        }
    ),
    row!(
        "RoomService/CreateWebhook",
        true,
        HIDDEN,
        HIDDEN,
        HIDDEN,
        OK,
        |f| {
            v1::CreateWebhookRequest {
                request: f.request,
                name: f.room.clone(),
                account_name: f.fresh.clone(),
                ..Default::default()
            }
        }
    ),
    row!(
        "RoomService/ListWebhooks",
        true,
        HIDDEN,
        HIDDEN,
        HIDDEN,
        OK,
        |f| {
            v1::ListWebhooksRequest {
                name: f.room.clone(),
                ..Default::default()
            }
        }
    ),
    row!(
        "RoomService/DeleteWebhook",
        true,
        "NO_SUCH_WEBHOOK",
        "NO_SUCH_WEBHOOK",
        "NO_SUCH_WEBHOOK",
        OK,
        |f| v1::DeleteWebhookRequest {
            request: f.request,
            webhook_id: f.webhook,
        }
    ),
    row!("LiveService/Subscribe", true, OK, OK, OK, OK, |_f| {
        v1::SubscribeRequest::default()
    }),
    row!(
        "LiveService/SetTyping",
        true,
        HIDDEN,
        HIDDEN,
        HIDDEN,
        OK,
        |f| {
            v1::SetTypingRequest {
                conversation_id: f.conversation,
            }
        }
    ),
    row!(
        "LiveService/SetPresence",
        true,
        "NO_STREAM",
        "NO_STREAM",
        "NO_STREAM",
        "NO_STREAM",
        |_f| v1::SetPresenceRequest { away: true }
    ),
    row!("LiveService/GetPresence", true, OK, OK, OK, OK, |_f| {
        v1::GetPresenceRequest {
            names: vec!["alice".to_owned()],
        }
    }),
    row!(
        "AdminService/GetClusterStatus",
        false,
        OK,
        OK,
        OK,
        OK,
        |_f| { v1::GetClusterStatusRequest {} }
    ),
    row!("AdminService/GetStateDigest", false, OK, OK, OK, OK, |_f| {
        v1::GetStateDigestRequest::default()
    }),
    row!("AdminService/SetAccountRole", true, NO, NO, NO, OK, |f| {
        v1::SetAccountRoleRequest {
            request: f.request,
            name: "frank".to_owned(),
            role: v1::AccountRole::User.into(),
        }
    }),
    row!(
        "AdminService/RemoveAccount",
        true,
        NO,
        NO,
        NO,
        "NO_SUCH_ACCOUNT",
        |f| {
            v1::RemoveAccountRequest {
                request: f.request,
                name: "nobody".to_owned(),
            }
        }
    ),
    row!("AdminService/CreateBot", true, NO, NO, NO, OK, |f| {
        v1::CreateBotRequest {
            request: f.request,
            name: f.fresh.clone(),
            ..Default::default()
        }
    }),
    row!("AdminService/CreateInvite", true, NO, NO, NO, OK, |f| {
        v1::CreateInviteRequest {
            request: f.request,
            ..Default::default()
        }
    }),
    row!("AdminService/ListInvites", true, NO, NO, NO, OK, |_f| {
        v1::ListInvitesRequest::default()
    }),
    row!("AdminService/RevokeInvite", true, NO, NO, NO, OK, |f| {
        v1::RevokeInviteRequest {
            request: f.request,
            invite_id: 4711,
        }
    }),
];
