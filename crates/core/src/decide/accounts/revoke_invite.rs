//! Revokes an invite. One that is not there is revoked already.

use crate::{Accepted, AccessEvent, Event, InviteId, Lookup, decide::ruling::Ruling};

pub(crate) fn revoke_invite(lookup: &impl Lookup, invite: InviteId) -> Ruling {
    let events = match lookup.has_invite(invite)? {
        true => vec![Event::Access(AccessEvent::InviteRemoved { invite })],
        false => Vec::new(),
    };
    Ok((Accepted::Done, events))
}
