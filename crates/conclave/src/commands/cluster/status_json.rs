//! The status of the cluster in JSON.

use conclave_client::v1;
use serde_json::{Value, json};

use super::{
    acks,
    catching_up::{Transfer, transfers},
    commit_max, role,
};

/// Returns the status as one JSON object; of a partial one only what any caller may know.
pub(super) fn json(status: &v1::GetClusterStatusResponse) -> Value {
    let commit = commit_max(status);
    let node = |node: &v1::NodeStatus| {
        if status.partial {
            return json!({
                "node": node.node_id,
                "reachable": node.reachable,
                "role": role(node.role()),
            });
        }
        json!({
            "node": node.node_id,
            "address": node.client_address,
            "peer_address": node.peer_address,
            "reachable": node.reachable,
            "role": role(node.role()),
            "term": node.term,
            "log": node.log_index_last,
            "commit": node.commit_index,
            "applied": node.applied_index,
            "lag": commit.saturating_sub(node.applied_index),
            "version": node.version,
            "oldest_version": node.oldest_version,
            "newest_version": node.newest_version,
            "uptime_ms": node.uptime_ms,
            "durable": node.durable,
            "leader": node.leader_id,
            "differs_at": node.differs_at_index,
            "clock_skew_ms": node.clock_skew_ms,
            "clock_is_off": node.clock_is_off,
            "waits": node.waits,
            "unreached": node.unreached,
            "refusal": node.refusal,
            "draining": node.draining,
            "witness": node.witness,
            "set_aside": node.set_aside,
            "recovery": node.recovery.as_ref().map(acks::recovery),
            "commands_decided": node.commands_decided,
            "commit_latency": node.commit_latency.map(|latency| json!({
                "median_us": latency.median_us,
                "p99_us": latency.p99_us,
                "entries": latency.entries,
            })),
            "last_backup_at_ms": (node.last_backup_at_ms > 0).then_some(node.last_backup_at_ms),
            "last_backup_index": (node.last_backup_at_ms > 0).then_some(node.last_backup_index),
            "certificate_expires_at_ms":
                (node.certificate_expires_at_ms > 0).then_some(node.certificate_expires_at_ms),
            "open_descriptors": node.open_descriptors,
            "open_descriptors_max": node.open_descriptors_max,
            "events": node.events.iter().map(event).collect::<Vec<_>>(),
        })
    };
    json!({
        "cluster": status.cluster_id,
        "asked": status.node_id,
        "leader": status.leader_id,
        "voters": status.voters,
        "up": status.voters_reachable,
        "tolerates": status.tolerates_failures,
        "quorum": status.quorum,
        "ack": acks::word(status.ack_policy()),
        "partial": status.partial,
        "cluster_version": (!status.partial).then_some(status.cluster_version),
        "nodes": status.nodes.iter().map(node).collect::<Vec<_>>(),
        "client_port": status.client_port.as_ref().map(port),
        "peer_port": status.peer_port.as_ref().map(port),
        "transfers": transfers(status).iter().map(Transfer::json).collect::<Vec<_>>(),
    })
}

/// Returns an event of a node, with the details that its kind has.
fn event(event: &v1::NodeEvent) -> Value {
    use v1::NodeEventKind as Kind;
    let kind = match event.kind() {
        Kind::Unspecified => "unknown",
        Kind::Started => "started",
        Kind::LeaderChanged => "leader_changed",
        Kind::MembersChanged => "members_changed",
        Kind::SnapshotSent => "snapshot_sent",
        Kind::SnapshotInstalled => "snapshot_installed",
        Kind::Repaired => "repaired",
        Kind::PeerUnreachable => "peer_unreachable",
        Kind::PeerReachable => "peer_reachable",
    };
    let mut shown = json!({"number": event.number, "age_ms": event.age_ms, "kind": kind});
    match event.kind() {
        Kind::LeaderChanged => {
            shown["leader"] = event.subject_node_id.into();
            shown["term"] = event.term.into();
        }
        Kind::MembersChanged => {
            shown["voters"] = json!(event.voter_node_ids);
            shown["learners"] = json!(event.learner_node_ids);
        }
        Kind::SnapshotSent | Kind::SnapshotInstalled => {
            shown["peer"] = event.subject_node_id.into();
            shown["log_index"] = event.log_index.into();
        }
        Kind::PeerUnreachable | Kind::PeerReachable => {
            shown["peer"] = event.subject_node_id.into();
        }
        Kind::Unspecified | Kind::Started | Kind::Repaired => {}
    }
    shown
}

fn port(port: &v1::PortStatus) -> Value {
    let closed = port.closed.iter();
    let closed = closed.map(|closed| (closed.reason.clone(), Value::from(closed.count)));
    json!({
        "connections": port.connections,
        "connections_max": port.connections_max,
        "unauthenticated": port.unauthenticated,
        "unauthenticated_max": port.unauthenticated_max,
        "taken": port.taken,
        "held_bytes": port.held_bytes,
        "held_bytes_max": port.held_bytes_max,
        "closed": closed.collect::<serde_json::Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_a_node_has_its_pace_and_its_events() {
        let elected = v1::NodeEvent {
            number: 2,
            age_ms: 1500,
            kind: v1::NodeEventKind::LeaderChanged.into(),
            subject_node_id: 3,
            term: 7,
            ..Default::default()
        };
        let node = v1::NodeStatus {
            node_id: 3,
            commands_decided: 12,
            commit_latency: Some(v1::CommitLatency {
                median_us: 900,
                p99_us: 4000,
                entries: 10,
            }),
            events: vec![elected],
            ..Default::default()
        };
        let status = v1::GetClusterStatusResponse {
            nodes: vec![node, v1::NodeStatus::default()],
            ..Default::default()
        };
        let shown = json(&status);
        let first = &shown["nodes"][0];
        assert_eq!(first["commands_decided"], 12);
        let latency = json!({"median_us": 900, "p99_us": 4000, "entries": 10});
        assert_eq!(first["commit_latency"], latency);
        let event = json!({
            "number": 2, "age_ms": 1500, "kind": "leader_changed", "leader": 3, "term": 7,
        });
        assert_eq!(first["events"], json!([event]));
        assert_eq!(shown["nodes"][1]["commit_latency"], Value::Null);
    }
}
