//! Retires the number of a node that was removed.

use super::ruling::Ruling;
use crate::{
    Accepted, Bound, ClusterEvent, Event, Lookup, NodeId, Rejection, limits::NODES_EVER_MAX,
};

pub(super) fn retire_node(lookup: &impl Lookup, node: NodeId) -> Ruling {
    if node.0 > NODES_EVER_MAX {
        let what = Bound::Nodes;
        return Err(Rejection::TooMany { what }.into());
    }
    let events = match lookup.is_retired(node)? {
        true => Vec::new(),
        false => vec![Event::Cluster(ClusterEvent::NodeRetired { node })],
    };
    Ok((Accepted::Done, events))
}
