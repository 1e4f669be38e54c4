//! Moves a member's positions forward, never back, and never past the end.
//!
//! A member that has read everything and says so again has seen what was edited since: mentions
//! that came by an edit are read then.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Accepted, AccountId, Broken, ConversationEvent, ConversationId, Event, Lookup, Progress,
    Rejection, Sequence, decide::ruling::Ruling, limits::POSITIONS_PER_REQUEST_MAX,
};

pub(crate) fn advance_positions(
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
    let mut read_again = BTreeSet::new();
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
        if asked.read > Sequence(0) && asked.read >= before.read {
            read_again.insert(*conversation);
        }
        let known = after.entry(*conversation).or_insert(before);
        known.delivered = known.delivered.max(furthest);
        known.read = known.read.max(asked.read);
    }
    let mut events = Vec::new();
    for (conversation, progress) in after {
        let before = lookup.membership(conversation, by)?;
        let has_moved = before.is_none_or(|before| before.progress != progress);
        let reads_late = || {
            let again = read_again.contains(&conversation);
            Ok::<_, Broken>(again && lookup.has_late_mention(conversation, by)?)
        };
        if has_moved || reads_late()? {
            events.push(Event::Conversation(ConversationEvent::PositionAdvanced {
                conversation,
                account: by,
                progress,
            }));
        }
    }
    Ok((Accepted::PositionAdvanced, events))
}
