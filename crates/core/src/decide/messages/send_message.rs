//! Sends a message; the first one between two people opens their conversation.

use super::mentions::mentions;
use crate::{
    Accepted, AccountId, ConversationEvent, ConversationId, Event, Kind, Lookup, MessageEvent,
    MessageText, Position, Recipient, Rejection, SentMessage, Sequence, Timestamp,
    decide::ruling::{Ruling, Stop},
};

/// A message that is to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) text: &'a MessageText,
    pub(crate) reply_to: Option<Sequence>,
    pub(crate) action: bool,
}

/// The place of a message.
#[derive(Clone, Copy)]
pub(crate) struct MessageSlot {
    pub(crate) conversation: ConversationId,
    sequence_last: Sequence,
    /// Number of messages that its sender has sent there.
    sent: u64,
    /// The other person, if the conversation is only being opened.
    peer: Option<AccountId>,
}

pub(crate) fn send_message(
    lookup: &impl Lookup,
    by: AccountId,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    to: &Recipient,
    draft: Draft<'_>,
) -> Ruling {
    let mut events = Vec::with_capacity(2);
    let place = match to {
        Recipient::Conversation(id) => own_slot(lookup, by, *id)?,
        Recipient::Room(name) => {
            let id = lookup.room_by_key(&name.key())?;
            own_slot(lookup, by, id.ok_or(Rejection::NoSuchConversation)?)?
        }
        Recipient::Account(name) => {
            let Some(peer) = lookup.account_by_key(&name.key())? else {
                return Err(Rejection::NoSuchAccount.into());
            };
            let members = (by.min(peer.id), by.max(peer.id));
            match lookup.direct(members)? {
                Some(id) => own_slot(lookup, by, id)?,
                None => {
                    refuse_blocked(lookup, by, peer.id)?;
                    let conversation = lookup.conversation_last()?.next();
                    events.push(Event::Conversation(ConversationEvent::Opened {
                        conversation,
                        members,
                        at: now,
                    }));
                    MessageSlot {
                        conversation,
                        sequence_last: Sequence(0),
                        sent: 0,
                        peer: Some(peer.id),
                    }
                }
            }
        }
    };
    post(lookup, by, now, position_of, place, draft, events)
}

/// Gives the message its place behind `events`: the last step.
fn post(
    lookup: &impl Lookup,
    by: AccountId,
    now: Timestamp,
    position_of: impl Fn(u64) -> Position,
    place: MessageSlot,
    draft: Draft<'_>,
    mut events: Vec<Event>,
) -> Ruling {
    let conversation = place.conversation;
    if let Some(reply_to) = draft.reply_to
        && (reply_to == Sequence(0) || reply_to > place.sequence_last)
    {
        return Err(Rejection::NoSuchMessage {
            conversation: conversation.0,
            sequence: reply_to.0,
        }
        .into());
    }
    let sequence = place.sequence_last.next();
    let position = position_of(events.len() as u64);
    let mentions = mentions(lookup, conversation, place.peer, by, draft.text)?;
    events.push(Event::Message(MessageEvent::Sent(SentMessage {
        conversation,
        sequence,
        by,
        at: now,
        text: draft.text.clone(),
        reply_to: draft.reply_to,
        action: draft.action,
        ordinal: place.sent + 1,
        mentions,
    })));
    let sent = Accepted::MessageSent {
        conversation,
        sequence,
        sent_at: now,
        position,
    };
    Ok((sent, events))
}

/// Returns the place in an existing conversation, if `by` may write there.
pub(crate) fn own_slot(
    lookup: &impl Lookup,
    by: AccountId,
    id: ConversationId,
) -> Result<MessageSlot, Stop> {
    let found = lookup
        .conversation(id)?
        .ok_or(Rejection::NoSuchConversation)?;
    let own = lookup
        .membership(id, by)?
        .ok_or(Rejection::NoSuchConversation)?;
    if let Kind::Direct(low, high) = found.kind {
        let peer = if low == by { high } else { low };
        if lookup.account(peer)?.is_none() {
            return Err(Rejection::RecipientGone.into());
        }
        refuse_blocked(lookup, by, peer)?;
    }
    Ok(MessageSlot {
        conversation: id,
        sequence_last: found.sequence_last,
        sent: own.sent,
        peer: None,
    })
}

/// Refuses a message between two accounts of which one has blocked the other.
fn refuse_blocked(lookup: &impl Lookup, by: AccountId, peer: AccountId) -> Result<(), Stop> {
    let apart = by != peer;
    if apart && (lookup.is_blocked(peer, by)? || lookup.is_blocked(by, peer)?) {
        return Err(Rejection::Blocked.into());
    }
    Ok(())
}
