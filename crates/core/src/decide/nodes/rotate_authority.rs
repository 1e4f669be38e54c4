//! Rotates the key of the authority that peers trust, in two steps.
//!
//! Always true: the last step belongs to the authority that was announced last; so a leader that
//! was deposed in between finishes nothing that its successor has begun anew. The last step ends
//! all tokens from before: they name an authority that peers do not trust any more.

use crate::{
    Accepted, AuthorityId, ClusterEvent, Event, Lookup, Timestamp,
    decide::ruling::Ruling,
    limits::{JOIN_TOKENS_MAX, ROTATIONS_MAX},
};

pub(crate) fn rotate_authority(
    lookup: &impl Lookup,
    generation: u64,
    authority: AuthorityId,
    is_final: bool,
) -> Ruling {
    let known = lookup.authority()?;
    // A cluster may have been made with a secret that was rotated before, for another one.
    let is_next = (known.generation + 1..=ROTATIONS_MAX).contains(&generation);
    let is_announced = known.next == Some(authority);
    if !is_next || is_announced != is_final {
        return Ok((Accepted::Done, Vec::new()));
    }
    let mut events = vec![Event::Cluster(ClusterEvent::AuthorityRotated {
        generation,
        authority,
        is_final,
    })];
    if is_final {
        let count = usize::try_from(JOIN_TOKENS_MAX).unwrap_or(usize::MAX);
        let tokens = lookup.join_tokens_expired(Timestamp(u64::MAX), count)?;
        let removed = |token| Event::Cluster(ClusterEvent::JoinTokenRemoved { token });
        events.extend(tokens.into_iter().map(removed));
    }
    Ok((Accepted::Done, events))
}
