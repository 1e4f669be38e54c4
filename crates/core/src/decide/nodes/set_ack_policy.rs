//! Sets which voters an acknowledgement waits for.
//!
//! The rules decide every entry alike, whatever is set: the leader alone waits, behind them.

use crate::{Accepted, AckPolicy, ClusterEvent, Event, Lookup, decide::ruling::Ruling};

pub(crate) fn set_ack_policy(lookup: &impl Lookup, policy: AckPolicy) -> Ruling {
    let events = match lookup.ack_policy()? == policy {
        true => Vec::new(),
        false => vec![Event::Cluster(ClusterEvent::AckPolicyChanged { policy })],
    };
    Ok((Accepted::Done, events))
}
