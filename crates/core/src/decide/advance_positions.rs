//! Moves a member's positions forward, never back, and never past the end.

use super::Ruling;
use crate::{Accepted, AccountId, ConversationId, Event, Lookup, Progress, Rejection};

pub(super) fn advance_position(
    lookup: &impl Lookup,
    by: AccountId,
    conversation: ConversationId,
    progress: Progress,
) -> Ruling {
    let found = lookup
        .conversation(conversation)?
        .ok_or(Rejection::NoSuchConversation)?;
    let before = lookup
        .membership(conversation, by)?
        .ok_or(Rejection::NoSuchConversation)?
        .progress;
    let furthest = progress.delivered.max(progress.read);
    if furthest > found.sequence_last {
        return Err(Rejection::NoSuchMessage {
            conversation: conversation.0,
            sequence: furthest.0,
        }
        .into());
    }
    let after = Progress {
        delivered: before.delivered.max(furthest),
        read: before.read.max(progress.read),
    };
    let advanced = Event::PositionAdvanced {
        conversation,
        account: by,
        progress: after,
    };
    let events = if after == before {
        Vec::new()
    } else {
        vec![advanced]
    };
    Ok((Accepted::PositionAdvanced, events))
}
