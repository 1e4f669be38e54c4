//! Creates an invite. Also sweeps away a few that have run out.

use crate::{
    Accepted, AccessEvent, AccountId, Bound, Event, Lookup, Rejection, Timestamp, TokenHash,
    decide::ruling::Ruling,
    limits::{INVITE_MS_MAX, INVITE_USES_MAX, INVITES_MAX, SESSIONS_SWEPT_MAX},
};

pub(crate) fn create_invite(
    lookup: &impl Lookup,
    now: Timestamp,
    by: AccountId,
    code: TokenHash,
    ttl_ms: u64,
    uses: u32,
) -> Ruling {
    if !(1..=INVITE_MS_MAX).contains(&ttl_ms) || !(1..=INVITE_USES_MAX).contains(&uses) {
        return Err(Rejection::InviteOutOfRange.into());
    }
    if lookup.invite_by_code(&code)?.is_some() {
        return Err(Rejection::TokenInUse.into());
    }
    let expired = lookup.invites_expired(now, SESSIONS_SWEPT_MAX)?;
    if lookup.invites()? - expired.len() as u64 >= INVITES_MAX {
        let what = Bound::Invites;
        return Err(Rejection::TooMany { what }.into());
    }
    let removed = |invite| Event::Access(AccessEvent::InviteRemoved { invite });
    let mut events: Vec<Event> = expired.into_iter().map(removed).collect();
    let invite = lookup.invite_last()?.next();
    let expires_at = now.plus_ms(ttl_ms);
    events.push(Event::Access(AccessEvent::InviteCreated {
        invite,
        code,
        by,
        expires_at,
        uses,
    }));
    Ok((Accepted::InviteCreated { invite, expires_at }, events))
}
