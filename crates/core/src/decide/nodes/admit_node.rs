//! Gives a joining machine a number which no node has had.

use crate::{
    Accepted, Bound, ClusterEvent, ClusterVersion, Event, JoinCredential, Lookup, NodeId,
    Rejection, Timestamp, decide::ruling::Ruling, limits::NODES_EVER_MAX,
};

pub(crate) fn admit_node(
    lookup: &impl Lookup,
    now: Timestamp,
    credential: JoinCredential,
    known_last: NodeId,
    newest: Option<ClusterVersion>,
) -> Ruling {
    let needed = lookup.cluster_version()?.unwrap_or(ClusterVersion::FIRST);
    if let Some(newest) = newest.filter(|newest| *newest < needed) {
        let (newest, needed) = (newest.0, needed.0);
        return Err(Rejection::VersionUnsupported { newest, needed }.into());
    }
    let mut events = Vec::new();
    let voter = match credential {
        JoinCredential::Secret { voter } => voter,
        JoinCredential::Token(token) => {
            let found = lookup.join_token(&token)?;
            let Some(found) = found.filter(|found| found.expires_at > now) else {
                return Err(Rejection::JoinTokenInvalid.into());
            };
            events.push(Event::Cluster(ClusterEvent::JoinTokenRemoved { token }));
            found.voter
        }
    };
    let last = lookup.node_last()?.max(known_last);
    if last.0 >= NODES_EVER_MAX {
        let what = Bound::Nodes;
        return Err(Rejection::TooMany { what }.into());
    }
    let node = last.next();
    events.push(Event::Cluster(ClusterEvent::NodeAdmitted { node }));
    Ok((Accepted::NodeAdmitted { node, voter }, events))
}
