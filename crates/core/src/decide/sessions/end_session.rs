//! Ends a session of the caller's own account.

use crate::{
    Accepted, AccountId, Lookup, Rejection, SessionId, Timestamp,
    decide::ruling::{Ruling, close_session},
};

pub(crate) fn end_session(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    id: SessionId,
) -> Ruling {
    let is_own = |session: &crate::Session| session.account == by && !session.closed;
    lookup
        .session(id)?
        .filter(is_own)
        .ok_or(Rejection::NoSuchSession)?;
    Ok((Accepted::Done, close_session(id, now).1))
}
