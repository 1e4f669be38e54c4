//! Creates a token with which one machine can join. Also sweeps away a few that have run out.

use crate::{
    Accepted, Bound, ClusterEvent, Event, JoinTokenId, Lookup, OperatorName, Rejection, Timestamp,
    TokenHash,
    decide::ruling::Ruling,
    limits::{JOIN_TOKEN_MS_MAX, JOIN_TOKENS_MAX, SESSIONS_SWEPT_MAX},
};

pub(crate) fn create_join_token(
    lookup: &impl Lookup,
    now: Timestamp,
    by: OperatorName,
    token: TokenHash,
    ttl_ms: u64,
    voter: bool,
) -> Ruling {
    if !(1..=JOIN_TOKEN_MS_MAX).contains(&ttl_ms) {
        return Err(Rejection::JoinTokenOutOfRange.into());
    }
    if lookup.join_token_by_id(JoinTokenId::of(&token))?.is_some() {
        return Err(Rejection::TokenInUse.into());
    }
    let expired = lookup.join_tokens_expired(now, SESSIONS_SWEPT_MAX)?;
    if lookup.join_tokens()? - expired.len() as u64 >= JOIN_TOKENS_MAX {
        let what = Bound::JoinTokens;
        return Err(Rejection::TooMany { what }.into());
    }
    let removed = |token| Event::Cluster(ClusterEvent::JoinTokenRemoved { token });
    let mut events: Vec<Event> = expired.into_iter().map(removed).collect();
    let expires_at = now.plus_ms(ttl_ms);
    events.push(Event::Cluster(ClusterEvent::JoinTokenCreated {
        token,
        expires_at,
        voter,
        by,
        at: now,
    }));
    Ok((Accepted::JoinTokenCreated { expires_at }, events))
}
