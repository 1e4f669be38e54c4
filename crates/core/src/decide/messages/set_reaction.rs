//! Adds a reaction to a message, or takes it away. What is so already is no error.

use super::{edit_message::standing, send_message::own_slot};
use crate::{
    Accepted, AccountId, Bound, Event, Lookup, MessageEvent, MessageRef, Reaction, Rejection,
    decide::ruling::Ruling,
    limits::{REACTION_KINDS_MAX, REACTIONS_OF_ONE_MAX},
};

pub(crate) fn set_reaction(
    lookup: &impl Lookup,
    by: AccountId,
    message: MessageRef,
    reaction: &Reaction,
    present: bool,
) -> Ruling {
    standing(lookup, by, message)?;
    if lookup.has_reacted(message, by, reaction)? == present {
        return Ok((Accepted::Done, Vec::new()));
    }
    let before = lookup.reaction_count(message, reaction)?;
    if present {
        // An account that may not write there may not react either.
        own_slot(lookup, by, message.conversation)?;
        let kinds = lookup.reaction_kinds(message)?;
        let own = lookup.reactions_of(message, by)?;
        if (before == 0 && kinds >= REACTION_KINDS_MAX as u64) || own >= REACTIONS_OF_ONE_MAX as u64
        {
            let what = Bound::Reactions;
            return Err(Rejection::TooMany { what }.into());
        }
    }
    let changed = Event::Message(MessageEvent::ReactionChanged {
        conversation: message.conversation,
        sequence: message.sequence,
        account: by,
        reaction: reaction.clone(),
        present,
        count: match present {
            true => before + 1,
            false => before.saturating_sub(1),
        },
    });
    Ok((Accepted::Done, vec![changed]))
}
