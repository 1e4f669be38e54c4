//! Forgets the oldest messages of conversations: those that are older than what is kept, and those
//! beyond the number that is kept.
//!
//! The leader names conversations in which it has found something to forget, or none if the cluster
//! has more messages in all than it keeps; what goes is decided here, so a command that comes late,
//! or twice, forgets no more than is due.
//!
//! Always true: of a conversation the first messages go, without a gap; no message goes that is
//! younger, or among the newest, as long as it may stay; one command forgets at most
//! [`FORGET_MESSAGES_MAX`] of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Accepted, Conversation, ConversationEvent, ConversationId, Event, Kind, Lookup, OldMessage,
    Rejection, Retention, Timestamp,
    decide::ruling::Ruling,
    limits::{FORGET_CONVERSATIONS_MAX, FORGET_MESSAGES_MAX},
};

pub(crate) fn forget_messages(
    lookup: &impl Lookup,
    now: Timestamp,
    conversations: &[ConversationId],
) -> Ruling {
    match conversations.len() {
        0 => return forget_oldest(lookup),
        1..=FORGET_CONVERSATIONS_MAX => {}
        _ => return Err(Rejection::ListTooLong.into()),
    }
    let cluster = lookup.cluster_retention()?;
    let mut left = FORGET_MESSAGES_MAX;
    let mut events = Vec::new();
    for id in BTreeSet::from_iter(conversations.iter().copied()) {
        let Some(found) = lookup.conversation(id)? else {
            continue;
        };
        let kept = match found.kind {
            Kind::Direct(..) => cluster.each,
            Kind::Room { .. } => cluster.of_room(found.retention),
        };
        let due = Due { now, kept, found };
        let oldest = lookup.oldest_messages(id, left)?;
        let gone = oldest.iter().take_while(|message| due.has(message)).count();
        left -= gone;
        if let Some(last) = gone.checked_sub(1).map(|last| &oldest[last]) {
            events.push(Event::Conversation(ConversationEvent::Forgotten {
                conversation: id,
                through: last.sequence,
            }));
        }
        if left == 0 {
            break;
        }
    }
    let count = (FORGET_MESSAGES_MAX - left) as u64;
    Ok((Accepted::MessagesDeleted { count }, events))
}

/// Forgets the oldest messages of all while there are more than the cluster keeps.
///
/// Positions grow like the sequences of each conversation, so the oldest of all are the first ones
/// of theirs. While the sweep has something to remove nothing goes: it may be about to remove as
/// much.
fn forget_oldest(lookup: &impl Lookup) -> Ruling {
    let kept = lookup.cluster_retention()?;
    let mut last = BTreeMap::new();
    let mut count = 0;
    if kept.total_messages > 0 && !lookup.is_sweeping()? {
        let surplus = usize::try_from(kept.surplus(lookup.messages()?)).unwrap_or(usize::MAX);
        let oldest = lookup.oldest_of_all(surplus.min(FORGET_MESSAGES_MAX))?;
        count = oldest.len() as u64;
        last.extend(
            oldest
                .iter()
                .map(|message| (message.conversation, message.sequence)),
        );
    }
    let forgotten = |(conversation, through)| {
        Event::Conversation(ConversationEvent::Forgotten {
            conversation,
            through,
        })
    };
    let events = last.into_iter().map(forgotten).collect();
    Ok((Accepted::MessagesDeleted { count }, events))
}

/// What may go of one conversation.
struct Due {
    now: Timestamp,
    kept: Retention,
    found: Conversation,
}

impl Due {
    fn has(&self, message: &OldMessage) -> bool {
        let Retention { age_ms, messages } = self.kept;
        let age = self.now.0.saturating_sub(message.at.0);
        let newer = self
            .found
            .sequence_last
            .0
            .saturating_sub(message.sequence.0);
        (age_ms > 0 && age >= age_ms) || (messages > 0 && newer >= messages)
    }
}
