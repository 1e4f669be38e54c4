//! Sets the preferred leader: the node that leads while it is healthy.
//!
//! Always true: the number is one that a node can have. Whether it is a member is known where the
//! request arrives, because the rules do not see the membership.

use crate::{
    Accepted, ClusterEvent, Event, Lookup, NodeId, Rejection, decide::ruling::Ruling,
    limits::NODES_EVER_MAX,
};

pub(crate) fn prefer_leader(lookup: &impl Lookup, node: Option<NodeId>) -> Ruling {
    if let Some(NodeId(node)) = node
        && !(1..=NODES_EVER_MAX).contains(&node)
    {
        return Err(Rejection::NoSuchNode { node }.into());
    }
    let events = match lookup.preferred_leader()? == node {
        true => Vec::new(),
        false => vec![Event::Cluster(ClusterEvent::LeaderPreferred { node })],
    };
    Ok((Accepted::Done, events))
}
