//! Offers the role of an administrator to the person who shows a token, while there is no
//! administrator.

use crate::{Accepted, AccessEvent, Event, Lookup, Rejection, TokenHash, decide::ruling::Ruling};

pub(crate) fn offer_setup(lookup: &impl Lookup, token: TokenHash) -> Ruling {
    if lookup.admins()? > 0 {
        return Err(Rejection::NotAllowed.into());
    }
    Ok((
        Accepted::Done,
        vec![Event::Access(AccessEvent::SetupOffered { token })],
    ))
}
