//! Revokes a join token. One that is not there was used, has run out or was revoked.

use crate::{Accepted, ClusterEvent, Event, JoinTokenId, Lookup, decide::ruling::Ruling};

pub(crate) fn revoke_join_token(lookup: &impl Lookup, id: JoinTokenId) -> Ruling {
    let found = lookup.join_token_by_id(id)?;
    let removed = |token| Event::Cluster(ClusterEvent::JoinTokenRemoved { token });
    Ok((Accepted::Done, found.into_iter().map(removed).collect()))
}
