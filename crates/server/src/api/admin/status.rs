//! The status of the cluster, as much of it as a caller may know.

use std::{collections::BTreeSet, time::Duration};

use conclave_core::AckPolicy;
use conclave_wire::{Problem, peer, v1};
use tokio::time::Instant;

use super::Admin;
use crate::{cluster::membership::Margin, connections::ConnectionSlots, context::call::Call};

/// Maximum age of the cluster status that unknown callers get.
const PUBLIC_STATUS_AGE_MAX: Duration = Duration::from_secs(1);

impl Admin {
    async fn status(&self) -> v1::GetClusterStatusResponse {
        let replica = self.shared.replica.status();
        let statuses = self.shared.statuses().await;
        let up: BTreeSet<u64> = statuses
            .iter()
            // A refused node never takes part, so it cannot replace a failed one.
            .filter(|(node, _, status)| {
                status.is_some() && self.shared.roll.refusal(*node).is_none()
            })
            .map(|(id, ..)| *id)
            .collect();
        let taking = self.shared.taking_entries(&statuses);
        let members = &replica.members;
        let nodes = statuses.into_iter().map(|(node, member, status)| {
            let known = v1::NodeStatus {
                node_id: node,
                client_address: member.client_address,
                peer_address: member.peer_address,
                refusal: self.shared.roll.refusal(node).unwrap_or_default(),
                witness: member.witness,
                set_aside: members
                    .nodes
                    .get(&node)
                    .is_some_and(|known| known.set_aside),
                ..v1::NodeStatus::default()
            };
            status.map_or(known.clone(), |status| reachable(known, status))
        });
        let sets = &replica.members.voters;
        let has_quorum = sets.iter().all(|voters| Margin::of(voters, &up).quorum);
        let spare = sets.iter().map(|voters| Margin::of(voters, &taking).spare);
        let voters = replica.members.all_voters();
        // A node that is about to get a vote cannot replace a failed voter yet.
        let spare = match replica.members_settled {
            true => spare.min().unwrap_or(0),
            false => 0,
        };
        v1::GetClusterStatusResponse {
            cluster_id: self.shared.identity.cluster_id.clone(),
            node_id: self.shared.identity.node,
            leader_id: replica.leader.unwrap_or(0),
            nodes: nodes.collect(),
            voters: count(voters.len()),
            voters_reachable: count(voters.intersection(&up).count()),
            tolerates_failures: spare,
            preferred_leader_id: self.shared.preferred_leader().map_or(0, |node| node.0),
            quorum: !sets.is_empty() && has_quorum,
            partial: false,
            cluster_version: self.shared.replica.cluster_version().0,
            ack_policy: ack_policy(self.shared.replica.ack_policy()).into(),
            client_port: Some(port_status(&self.shared.client_slots)),
            peer_port: Some(port_status(&self.shared.peer_slots)),
        }
    }

    /// Returns the status of the cluster, as much of it as the caller may know.
    pub(super) async fn status_for(
        &self,
        call: Call,
    ) -> Result<v1::GetClusterStatusResponse, Problem> {
        Ok(match self.shared.may_see_all(&call).await {
            Ok(true) => self.status().await,
            // A node that cannot read its database answers with what any caller may know.
            Ok(false) | Err(_) => self.public_status().await,
        })
    }

    /// Returns what any caller may know: whether the cluster serves, and which node leads. However
    /// many callers ask, this node asks the others only once in a while; the leader is the one that
    /// this node knows now.
    async fn public_status(&self) -> v1::GetClusterStatusResponse {
        let mut kept = self.shared.operators.public_status.lock().await;
        if let Some((at, status)) = &*kept
            && at.elapsed() < PUBLIC_STATUS_AGE_MAX
        {
            return v1::GetClusterStatusResponse {
                leader_id: self.shared.replica.status().leader.unwrap_or(0),
                ..status.clone()
            };
        }
        let mut status = self.status().await;
        status.partial = true;
        status.cluster_version = 0;
        status.ack_policy = v1::AckPolicy::Unspecified.into();
        for node in &mut status.nodes {
            *node = v1::NodeStatus {
                node_id: node.node_id,
                reachable: node.reachable,
                role: node.role,
                term: node.term,
                ..v1::NodeStatus::default()
            };
        }
        *kept = Some((Instant::now(), status.clone()));
        status
    }
}

fn ack_policy(policy: AckPolicy) -> v1::AckPolicy {
    match policy {
        AckPolicy::Majority => v1::AckPolicy::Majority,
        AckPolicy::All => v1::AckPolicy::All,
    }
}

fn reachable(known: v1::NodeStatus, status: peer::GetNodeStatusResponse) -> v1::NodeStatus {
    v1::NodeStatus {
        reachable: true,
        role: i32::try_from(status.role).unwrap_or(0),
        term: status.term,
        log_index_last: status.log_index_last,
        commit_index: status.commit_index,
        applied_index: status.applied_index,
        version: status.version,
        uptime_ms: status.uptime_ms,
        durable: status.durable,
        leader_id: status.leader_id,
        differs_at_index: status.differs_at_index,
        clock_skew_ms: status.clock_skew_ms,
        clock_is_off: status.clock_is_off,
        waits: status.waits,
        unreached: status.unreached,
        transfers: status.transfers,
        free_bytes: status.free_bytes,
        low_space: status.low_space,
        refuses_growth: status.refuses_growth,
        commands_decided: status.commands_decided,
        commit_latency: status.commit_latency,
        events: status.events,
        oldest_version: status.oldest_version,
        newest_version: status.newest_version,
        draining: status.draining,
        last_backup_at_ms: status.last_backup_at_ms,
        last_backup_index: status.last_backup_index,
        recovery: status.recovery,
        certificate_expires_at_ms: status.certificate_expires_at_ms,
        open_descriptors: status.open_descriptors,
        open_descriptors_max: status.open_descriptors_max,
        ..known
    }
}

fn port_status(places: &ConnectionSlots) -> v1::PortStatus {
    let counts = places.counts();
    let closed = counts.cut.into_iter().map(|(reason, count)| {
        let reason = reason.to_owned();
        v1::ClosedConnections { reason, count }
    });
    v1::PortStatus {
        connections: counts.open,
        connections_max: counts.open_max,
        unauthenticated: counts.unauthenticated,
        unauthenticated_max: counts.unauthenticated_max,
        taken: counts.taken,
        held_bytes: counts.held_bytes,
        held_bytes_max: counts.held_bytes_max,
        closed: closed.collect(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
