//! Says which node shall lead while it is well.

use super::Ruling;
use crate::{Accepted, Event, Lookup, NodeId};

pub(super) fn prefer_leader(lookup: &impl Lookup, node: Option<NodeId>) -> Ruling {
    let events = match lookup.preferred_leader()? == node {
        true => Vec::new(),
        false => vec![Event::LeaderPreferred { node }],
    };
    Ok((Accepted::Done, events))
}
