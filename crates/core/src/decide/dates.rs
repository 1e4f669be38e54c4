//! Shows times in dates: rules decide in log time, and people read dates.
//!
//! Always true: a time that a later rule compares with log time stays in log time.

use super::ruling::Decision;
use crate::{
    Accepted, AccountEvent, ClusterEvent, ConversationEvent, Event, MessageEvent, Now, RoomEvent,
    SentMessage, SessionEvent,
};

/// Turns the times that people are shown from log time into dates. What is compared with log time
/// later stays as it is.
pub(super) fn show_dates(decision: &mut Decision, now: Now) {
    for event in &mut decision.events {
        match event {
            Event::Account(AccountEvent::Created { at, .. })
            | Event::Session(SessionEvent::Opened { at, .. })
            | Event::Conversation(ConversationEvent::Opened { at, .. })
            | Event::Message(MessageEvent::Sent(SentMessage { at, .. }))
            | Event::Message(MessageEvent::Edited { at, .. })
            | Event::Message(MessageEvent::Deleted { at, .. })
            | Event::Room(RoomEvent::Created { at, .. })
            | Event::Room(RoomEvent::WebhookCreated { at, .. })
            | Event::Cluster(ClusterEvent::JoinTokenCreated { at, .. })
            | Event::Cluster(ClusterEvent::OperatorCreated { at, .. }) => *at = now.date_of(*at),
            _ => {}
        }
    }
    if let Ok(
        Accepted::MessageSent { sent_at: at, .. }
        | Accepted::SessionOpened { expires_at: at, .. }
        | Accepted::InviteCreated { expires_at: at, .. }
        | Accepted::JoinTokenCreated { expires_at: at },
    ) = &mut decision.answer
    {
        *at = now.date_of(*at);
    }
}
