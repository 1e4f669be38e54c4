//! Deletes messages, for oneself or for everyone (one's own; in a room a moderator also those of
//! others): all that are named, or none.
//!
//! A message deleted for everyone keeps its place, so that sequences have no gaps. Deleting what is
//! deleted or forgotten already is not an error: the caller wants it gone, and it is.

use std::collections::BTreeSet;

use crate::{
    Accepted, AccountId, Broken, ConversationId, Event, Lookup, MemberRole, MessageEvent,
    MessageRef, Rejection, Sequence, Timestamp, decide::ruling::Ruling,
    limits::DELETE_MESSAGES_MAX,
};

pub(crate) fn delete_messages(
    lookup: &impl Lookup,
    by: AccountId,
    now: Timestamp,
    messages: &[MessageRef],
    for_everyone: bool,
) -> Ruling {
    match messages.len() {
        0 => return Err(Rejection::ListEmpty.into()),
        1..=DELETE_MESSAGES_MAX => {}
        _ => return Err(Rejection::ListTooLong.into()),
    }
    let distinct: BTreeSet<MessageRef> = messages.iter().copied().collect();
    let mut events = Vec::with_capacity(distinct.len());
    for MessageRef {
        conversation,
        sequence,
    } in distinct
    {
        let Some(own) = lookup.membership(conversation, by)? else {
            return Err(Rejection::NoSuchConversation.into());
        };
        let (conversation_number, sequence_number) = (conversation.0, sequence.0);
        let Some(message) = lookup.message(conversation, sequence)? else {
            if is_forgotten(lookup, conversation, sequence)? {
                continue;
            }
            return Err(Rejection::NoSuchMessage {
                conversation: conversation_number,
                sequence: sequence_number,
            }
            .into());
        };
        if for_everyone && message.by != by && own.role < MemberRole::Moderator {
            return Err(Rejection::NotYourMessage {
                conversation: conversation_number,
                sequence: sequence_number,
            }
            .into());
        }
        if message.deleted {
            continue;
        }
        if for_everyone {
            events.push(Event::Message(MessageEvent::Deleted {
                conversation,
                sequence,
                at: now,
            }));
        } else if !lookup.is_hidden(conversation, sequence, by)? {
            events.push(Event::Message(MessageEvent::Hidden {
                conversation,
                sequence,
                account: by,
            }));
        }
    }
    Ok((
        Accepted::MessagesDeleted {
            count: events.len() as u64,
        },
        events,
    ))
}

fn is_forgotten(
    lookup: &impl Lookup,
    conversation: ConversationId,
    sequence: Sequence,
) -> Result<bool, Broken> {
    let forgotten = lookup.conversation(conversation)?;
    let forgotten = forgotten.map_or(Sequence(0), |found| found.forgotten);
    Ok((Sequence(1)..=forgotten).contains(&sequence))
}
