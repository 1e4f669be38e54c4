//! Sets another text of a message; it keeps its place and its time.

use super::{mentions::mentions, send_message::own_slot};
use crate::{
    Accepted, AccountId, Event, Lookup, MessageEvent, MessageHead, MessageRef, MessageText,
    Rejection, Timestamp,
    decide::ruling::{Ruling, Stop},
};

pub(crate) fn edit_message(
    lookup: &impl Lookup,
    by: AccountId,
    now: Timestamp,
    message: MessageRef,
    text: &MessageText,
) -> Ruling {
    let head = standing(lookup, by, message)?;
    if head.by != by {
        return Err(Rejection::NotYourMessage {
            conversation: message.conversation.0,
            sequence: message.sequence.0,
        }
        .into());
    }
    // An account that may not write there may not rewrite either.
    own_slot(lookup, by, message.conversation)?;
    let edited = Event::Message(MessageEvent::Edited {
        conversation: message.conversation,
        sequence: message.sequence,
        at: now,
        text: text.clone(),
        mentions: mentions(lookup, message.conversation, None, by, text)?,
    });
    Ok((Accepted::Done, vec![edited]))
}

/// Returns a message that was not deleted, in a conversation that `by` is in.
pub(crate) fn standing(
    lookup: &impl Lookup,
    by: AccountId,
    message: MessageRef,
) -> Result<MessageHead, Stop> {
    let (conversation, sequence) = (message.conversation, message.sequence);
    if lookup.membership(conversation, by)?.is_none() {
        return Err(Rejection::NoSuchConversation.into());
    }
    let head = lookup
        .message(conversation, sequence)?
        .ok_or(Rejection::NoSuchMessage {
            conversation: conversation.0,
            sequence: sequence.0,
        })?;
    if head.deleted {
        return Err(Rejection::MessageGone {
            conversation: conversation.0,
            sequence: sequence.0,
        }
        .into());
    }
    Ok(head)
}
