//! Rows of rooms, their members and their webhooks.

use conclave_wire::v1;

use super::{ACCOUNTS, Expected, GOVERNORS, MEMBERS, NO, OK, Row};

pub(super) fn rows() -> Vec<Row> {
    [of_going(), of_governing(), of_reading(), of_webhooks()]
        .into_iter()
        .flatten()
        .collect()
}

fn of_going() -> Vec<Row> {
    let visible = Expected {
        passer_by: OK,
        ..MEMBERS
    };
    let inside = Expected {
        passer_by: "NOT_A_MEMBER",
        ..MEMBERS
    };
    vec![
        Row::new("RoomService/CreateRoom", ACCOUNTS, |f| {
            v1::CreateRoomRequest {
                request: f.request,
                name: f.fresh.clone(),
                ..Default::default()
            }
        }),
        Row::new("RoomService/JoinRoom", visible, |f| v1::JoinRoomRequest {
            request: f.request,
            name: f.room.clone(),
        })
        .alone(),
        Row::new("RoomService/LeaveRoom", inside, |f| v1::LeaveRoomRequest {
            request: f.request,
            name: f.room.clone(),
        })
        .alone(),
    ]
}

fn of_governing() -> Vec<Row> {
    let unblocked = Expected {
        blocked: "BLOCKED",
        ..GOVERNORS
    };
    vec![
        Row::new("RoomService/InviteToRoom", unblocked, |f| {
            v1::InviteToRoomRequest {
                request: f.request,
                name: f.inviting.clone(),
                account_name: f.invited.to_owned(),
            }
        }),
        Row::new("RoomService/KickFromRoom", GOVERNORS, |f| {
            v1::KickFromRoomRequest {
                request: f.request,
                name: f.room.clone(),
                account_name: "eric".to_owned(),
            }
        })
        .alone(),
        Row::new("RoomService/SetTopic", GOVERNORS, |f| v1::SetTopicRequest {
            request: f.request,
            name: f.room.clone(),
            topic: f.fresh.clone(),
        }),
        Row::new("RoomService/SetRoomRetention", GOVERNORS, |f| {
            v1::SetRoomRetentionRequest {
                request: f.request,
                name: f.room.clone(),
                retention: Some(v1::RoomRetention {
                    messages: Some(100_000),
                    ..Default::default()
                }),
            }
        }),
        Row::new("RoomService/SetMemberRole", GOVERNORS, |f| {
            v1::SetMemberRoleRequest {
                request: f.request,
                name: f.room.clone(),
                account_name: "eric".to_owned(),
                role: v1::MemberRole::Moderator.into(),
            }
        }),
    ]
}

fn of_reading() -> Vec<Row> {
    let visible = Expected {
        passer_by: OK,
        ..MEMBERS
    };
    vec![
        Row::new("RoomService/ListRooms", ACCOUNTS, |_| {
            v1::ListRoomsRequest::default()
        }),
        Row::new("RoomService/GetRetention", ACCOUNTS, |_| {
            v1::GetRetentionRequest::default()
        }),
        Row::new("RoomService/ListMembers", visible, |f| {
            v1::ListMembersRequest {
                name: f.room.clone(),
                ..Default::default()
            }
        }),
    ]
}

fn of_webhooks() -> Vec<Row> {
    const NONE: &str = "NO_SUCH_WEBHOOK";
    let listing = Expected {
        passer_by: NO,
        ..GOVERNORS
    };
    let deleting = Expected {
        stranger: NONE,
        passer_by: NONE,
        kicked: NONE,
        blocked: NONE,
        admin: NONE,
        ..GOVERNORS
    };
    vec![
        Row::new("RoomService/CreateWebhook", GOVERNORS, |f| {
            v1::CreateWebhookRequest {
                request: f.request,
                name: f.room.clone(),
                account_name: f.fresh.clone(),
                ..Default::default()
            }
        }),
        Row::new("RoomService/ListWebhooks", listing, |f| {
            v1::ListWebhooksRequest {
                name: f.room.clone(),
                ..Default::default()
            }
        }),
        Row::new("RoomService/DeleteWebhook", deleting, |f| {
            v1::DeleteWebhookRequest {
                request: f.request,
                webhook_id: f.webhook,
            }
        })
        .alone(),
    ]
}
