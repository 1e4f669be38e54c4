//! Shows times in dates: rules decide in log time, and people read dates.
//!
//! Always true: a time that a later rule compares with log time stays in log time.

use super::ruling::Decision;
use crate::{Accepted, Event, Now};

/// Turns the times that people are shown from log time into dates. What is compared with log time
/// later stays as it is.
pub(super) fn show_dates(decision: &mut Decision, now: Now) {
    for event in &mut decision.events {
        match event {
            Event::AccountCreated { at, .. }
            | Event::SessionOpened { at, .. }
            | Event::ConversationOpened { at, .. }
            | Event::MessageSent { at, .. }
            | Event::MessageEdited { at, .. }
            | Event::MessageDeleted { at, .. }
            | Event::RoomCreated { at, .. }
            | Event::WebhookCreated { at, .. }
            | Event::JoinTokenCreated { at, .. }
            | Event::OperatorCreated { at, .. } => *at = now.date_of(*at),
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
