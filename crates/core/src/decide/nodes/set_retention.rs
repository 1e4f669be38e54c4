//! Sets how long the cluster keeps messages, and how many. Nothing is forgotten by it at once: the
//! leader has it forgotten in pieces.
//!
//! What rooms have set stays; it counts as far as the cluster allows it.

use crate::{
    Accepted, ClusterEvent, Event, Lookup, Rejection, RetentionChange, decide::ruling::Ruling,
};

pub(crate) fn set_retention(lookup: &impl Lookup, change: RetentionChange) -> Ruling {
    let before = lookup.cluster_retention()?;
    let retention = before.with(change);
    if !retention.is_valid() {
        return Err(Rejection::RetentionOutOfRange.into());
    }
    let events = match retention == before {
        true => Vec::new(),
        false => vec![Event::Cluster(ClusterEvent::RetentionChanged { retention })],
    };
    Ok((Accepted::Done, events))
}
