//! Rows of streams, presence and typing.

use conclave_wire::v1;

use super::{ACCOUNTS, Expected, MEMBERS, Row};

pub(super) fn rows() -> Vec<Row> {
    const NONE: &str = "NO_STREAM";
    // Only the owner has a stream.
    let with_stream = Expected {
        stranger: NONE,
        passer_by: NONE,
        kicked: NONE,
        blocked: NONE,
        member: NONE,
        admin: NONE,
        ..ACCOUNTS
    };
    vec![
        Row::new("LiveService/Subscribe", ACCOUNTS, |_| {
            v1::SubscribeRequest::default()
        }),
        Row::new("LiveService/SetTyping", MEMBERS, |f| v1::SetTypingRequest {
            conversation_id: f.conversation,
        }),
        Row::new("LiveService/SetPresence", with_stream, |_| {
            v1::SetPresenceRequest { away: true }
        }),
        Row::new("LiveService/GetPresence", ACCOUNTS, |_| {
            v1::GetPresenceRequest {
                names: vec!["alice".to_owned()],
            }
        }),
    ]
}
