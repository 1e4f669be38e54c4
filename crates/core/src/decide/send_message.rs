//! Sends a message; the first one between two people opens their conversation.

use super::{Ruling, Stop};
use crate::{
    Accepted, AccountId, ConversationId, Event, Lookup, MessageText, Position, Recipient,
    Rejection, Sequence, Timestamp,
};

pub(super) fn send_message(
    lookup: &impl Lookup,
    by: AccountId,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    to: &Recipient,
    text: &MessageText,
) -> Ruling {
    let mut events = Vec::with_capacity(2);
    let (conversation, sequence_last) = match to {
        Recipient::Conversation(id) => own_conversation(lookup, by, *id)?,
        Recipient::Account(name) => {
            let Some(peer) = lookup.account_by_key(&name.key())? else {
                return Err(Rejection::NoSuchAccount.into());
            };
            let members = (by.min(peer.id), by.max(peer.id));
            match lookup.direct(members)? {
                Some(id) => own_conversation(lookup, by, id)?,
                None => {
                    let conversation = lookup.conversation_last()?.next();
                    events.push(Event::ConversationOpened {
                        conversation,
                        members,
                        at: now,
                    });
                    (conversation, Sequence(0))
                }
            }
        }
    };
    let sequence = sequence_last.next();
    let position = position_of(events.len() as u64);
    events.push(Event::MessageSent {
        conversation,
        sequence,
        by,
        at: now,
        text: text.clone(),
    });
    let sent = Accepted::MessageSent {
        conversation,
        sequence,
        sent_at: now,
        position,
    };
    Ok((sent, events))
}

/// The conversation and its last sequence, if `by` may write there.
fn own_conversation(
    lookup: &impl Lookup,
    by: AccountId,
    id: ConversationId,
) -> Result<(ConversationId, Sequence), Stop> {
    let found = lookup
        .conversation(id)?
        .ok_or(Rejection::NoSuchConversation)?;
    if lookup.membership(id, by)?.is_none() {
        return Err(Rejection::NoSuchConversation.into());
    }
    if let Some((a, b)) = found.direct {
        let peer = if a == by { b } else { a };
        if lookup.account(peer)?.is_none() {
            return Err(Rejection::RecipientGone.into());
        }
    }
    Ok((id, found.sequence_last))
}
