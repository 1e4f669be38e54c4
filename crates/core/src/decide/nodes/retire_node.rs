//! Retires the number of a node that was removed.

use crate::{
    Accepted, Bound, ClusterEvent, Event, Lookup, NodeId, Rejection, decide::ruling::Ruling,
    limits::NODES_EVER_MAX,
};

pub(crate) fn retire_node(lookup: &impl Lookup, node: NodeId) -> Ruling {
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
