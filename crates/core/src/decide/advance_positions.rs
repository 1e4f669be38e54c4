//! Moves a member's positions forward, never back, and never past the end.

use std::collections::BTreeMap;

use super::Ruling;
use crate::{
    Accepted, AccountId, ConversationId, Event, Lookup, Progress, Rejection,
    limits::POSITIONS_PER_REQUEST_MAX,
};

pub(super) fn advance_positions(
    lookup: &impl Lookup,
    by: AccountId,
    positions: &[(ConversationId, Progress)],
) -> Ruling {
    match positions.len() {
        0 => return Err(Rejection::ListEmpty.into()),
        1..=POSITIONS_PER_REQUEST_MAX => {}
        _ => return Err(Rejection::ListTooLong.into()),
    }
    // A conversation that is named twice is advanced once.
    let mut after: BTreeMap<ConversationId, Progress> = BTreeMap::new();
    for (conversation, asked) in positions {
        let found = lookup
            .conversation(*conversation)?
            .ok_or(Rejection::NoSuchConversation)?;
        let before = lookup
            .membership(*conversation, by)?
            .ok_or(Rejection::NoSuchConversation)?
            .progress;
        let furthest = asked.delivered.max(asked.read);
        if furthest > found.sequence_last {
            return Err(Rejection::NoSuchMessage {
                conversation: conversation.0,
                sequence: furthest.0,
            }
            .into());
        }
        let known = after.entry(*conversation).or_insert(before);
        known.delivered = known.delivered.max(furthest);
        known.read = known.read.max(asked.read);
    }
    let mut events = Vec::new();
    for (conversation, progress) in after {
        let before = lookup.membership(conversation, by)?;
        if before.is_none_or(|before| before.progress != progress) {
            events.push(Event::PositionAdvanced {
                conversation,
                account: by,
                progress,
            });
        }
    }
    Ok((Accepted::PositionAdvanced, events))
}
