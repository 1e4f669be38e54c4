//! Raises the cluster version: from this entry on the log may hold what the new version adds.
//!
//! Always true: the version never falls, and every member at this entry is one that the leader has
//! asked. So a member that joined after the leader asked is never left behind.

use crate::{
    Accepted, ClusterEvent, ClusterVersion, Event, Lookup, NodeId, Rejection,
    decide::ruling::Ruling,
};

pub(crate) fn raise_version(lookup: &impl Lookup, to: ClusterVersion, asked: &[NodeId]) -> Ruling {
    let now = lookup.cluster_version()?;
    if to < ClusterVersion::FIRST || now.is_some_and(|now| now >= to) {
        return Ok((Accepted::Done, Vec::new()));
    }
    let members = lookup.cluster_members()?;
    if let Some(node) = members.iter().find(|member| !asked.contains(member)) {
        return Err(Rejection::MemberNotAsked { node: node.0 }.into());
    }
    let raised = ClusterEvent::VersionRaised { to };
    Ok((Accepted::Done, vec![Event::Cluster(raised)]))
}
