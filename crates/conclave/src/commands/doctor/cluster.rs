//! Judges what the nodes say about themselves and each other.
//!
//! Always true: nothing here asks a node; the same status has the same findings.

use std::collections::BTreeSet;

use conclave_client::v1;

use super::findings::{Findings, Level};
use crate::output;

/// Skew of a clock that is worth a warning, in milliseconds: a tenth of what makes a node refuse to
/// lead.
const SKEW_WARNING_MS: u64 = 1000;
/// Free space of a disk that is worth a warning, in bytes: some days before it is critical.
const FREE_WARNING_BYTES: u64 = 4 << 30;
/// Entries that a node may be behind: a second of full load.
const LAG_WARNING: u64 = 20_000;
/// Time for an entry, at p99, that people notice, in microseconds.
const COMMIT_WARNING_US: u64 = 250_000;
/// Time over which changes of the leader are counted, in milliseconds, and how many are too many.
const ELECTIONS_MS: u64 = 3_600_000;
const ELECTIONS_MAX: usize = 3;
/// Connections that a node should be able to take: the default limit of open files of most systems
/// leaves fewer.
const CONNECTIONS_MIN: u64 = 1024;
/// Share of a node's connections in use that is worth a warning, in per cent.
const CONNECTIONS_PERCENT: u64 = 80;

const CLUSTER: &str = "cluster";
const OPERATOR_HINT: &str = "ask as an operator: --operator-file, or conclave operator use FILE";

/// Adds the findings of this status.
pub(super) fn examine(status: &v1::GetClusterStatusResponse, findings: &mut Findings) {
    quorum(status, findings);
    acknowledgements(status, findings);
    for node in &status.nodes {
        member(node, status.partial, findings);
    }
    if status.partial {
        findings.add(
            "details",
            Level::Unknown,
            CLUSTER,
            "the nodes tell only operators and administrators about disks, clocks and data",
            OPERATOR_HINT,
        );
        return;
    }
    let up = || status.nodes.iter().filter(|node| node.reachable);
    let commit = up().map(|node| node.commit_index).max().unwrap_or(0);
    for node in up() {
        clock(node, findings);
        disk(node, findings);
        data(node, commit, findings);
        speed(node, findings);
        elections(node, findings);
    }
    states(status, findings);
    versions(status, findings);
    connections(status, findings);
}

fn subject(node: &v1::NodeStatus) -> String {
    format!("node {}", node.node_id)
}

fn quorum(status: &v1::GetClusterStatusResponse, findings: &mut Findings) {
    let (up, all) = (status.voters_reachable, status.voters);
    let spare = match status.partial {
        // A partial status has only the counts.
        true => up.saturating_sub(all / 2 + 1),
        false => status.tolerates_failures,
    };
    let designed = all.saturating_sub(1) / 2;
    let (level, sentence, hint) = match (status.quorum, spare) {
        (false, _) => (
            Level::Critical,
            format!("{up} of {all} voters answer: no majority, and nothing is acknowledged"),
            "start the nodes that are down; if a majority is gone for good, see conclave cluster \
             recover",
        ),
        (true, 0) if all == 1 => (
            Level::Warning,
            "one voter: if its machine is lost, so is everything".to_owned(),
            "let more machines join: conclave token create",
        ),
        (true, 0) => (
            Level::Critical,
            format!("{up} of {all} voters answer: the next failure stops the cluster"),
            "bring the missing nodes back, or replace them: conclave cluster replace",
        ),
        (true, spare) if spare < designed => (
            Level::Warning,
            format!("{up} of {all} voters answer: {spare} more may fail, of {designed}"),
            "bring the missing nodes back, or replace them: conclave cluster replace",
        ),
        (true, spare) => {
            let sentence = format!("{up} of {all} voters answer; {spare} may fail");
            return match all % 2 {
                1 => findings.well("quorum", CLUSTER, sentence),
                _ => findings.add(
                    "quorum",
                    Level::Warning,
                    CLUSTER,
                    format!("{sentence}: no more than with {} voters", all - 1),
                    "add a voter, or make one a learner: conclave cluster promote or demote",
                ),
            };
        }
    };
    findings.add("quorum", level, CLUSTER, sentence, hint);
}

fn member(node: &v1::NodeStatus, is_partial: bool, findings: &mut Findings) {
    let subject = subject(node);
    let mut bad = |level, sentence: String, hint| {
        findings.add("member", level, &subject, sentence, hint);
    };
    if !node.reachable {
        return bad(
            Level::Warning,
            "does not answer".to_owned(),
            "look at its machine and its log, and start it again",
        );
    }
    if !node.refusal.is_empty() {
        let why = output::clean(&node.refusal);
        return bad(
            Level::Critical,
            format!("is refused by the others: {why}"),
            "docs/operations.md says what each refusal means",
        );
    }
    if node.waits {
        return bad(
            Level::Critical,
            "does not take part: too few members have confirmed its data".to_owned(),
            "start the other nodes; it takes part by itself then",
        );
    }
    if node.unreached {
        return bad(
            Level::Critical,
            "gets no entries: the leader does not reach it".to_owned(),
            "check its peer address and the firewall between the machines; a node that has moved \
             is started with its data at its new address, and announces that",
        );
    }
    if node.set_aside {
        return bad(
            Level::Warning,
            "has no vote, because acknowledgements have waited for it for too long".to_owned(),
            "look at its disk and its network; it votes again once it has caught up",
        );
    }
    if !is_partial && !node.durable {
        return bad(
            Level::Critical,
            "does not sync to disk before it acknowledges".to_owned(),
            "start it without --unsafe-no-sync",
        );
    }
    findings.well("member", &subject, "takes part");
}

fn acknowledgements(status: &v1::GetClusterStatusResponse, findings: &mut Findings) {
    if status.ack_policy() != v1::AckPolicy::All {
        return;
    }
    let check = "acknowledgements";
    match status.voters {
        0 | 1 => findings.add(
            check,
            Level::Warning,
            CLUSTER,
            "wait for all voters, and there is only one: nothing has a second copy",
            "let more machines join: conclave token create",
        ),
        voters => findings.well(check, CLUSTER, format!("wait for all of {voters} voters")),
    }
}

fn clock(node: &v1::NodeStatus, findings: &mut Findings) {
    let subject = subject(node);
    let Some(skew_ms) = node.clock_skew_ms else {
        return findings.add(
            "clock",
            Level::Unknown,
            &subject,
            "does not know the clocks of a majority yet",
            "ask again in a minute",
        );
    };
    let away = skew_ms.unsigned_abs();
    let way = if skew_ms < 0 { "behind" } else { "ahead" };
    let level = match (node.clock_is_off, away > SKEW_WARNING_MS) {
        (true, _) => Level::Critical,
        (false, true) => Level::Warning,
        (false, false) => {
            return findings.well("clock", &subject, format!("{away} ms {way}"));
        }
    };
    findings.add(
        "clock",
        level,
        &subject,
        format!("{away} ms {way} of the others"),
        "set it, and let the machine follow a time server (chrony, systemd-timesyncd)",
    );
}

fn disk(node: &v1::NodeStatus, findings: &mut Findings) {
    let mib = node.free_bytes >> 20;
    let level = match (node.low_space, node.free_bytes < FREE_WARNING_BYTES) {
        (true, _) => Level::Critical,
        (false, true) => Level::Warning,
        (false, false) => {
            return findings.well("disk", &subject(node), format!("{mib} MiB free"));
        }
    };
    findings.add(
        "disk",
        level,
        &subject(node),
        format!("{mib} MiB free"),
        "make room, or give the node a greater disk; at its mark it refuses what needs space",
    );
}

fn data(node: &v1::NodeStatus, commit: u64, findings: &mut Findings) {
    let behind = commit.saturating_sub(node.applied_index);
    match behind > LAG_WARNING {
        false => findings.well("lag", &subject(node), format!("{behind} entries behind")),
        true => findings.add(
            "lag",
            Level::Warning,
            &subject(node),
            format!("{behind} entries behind"),
            "see whether it catches up: conclave cluster status --watch",
        ),
    }
}

fn speed(node: &v1::NodeStatus, findings: &mut Findings) {
    // Only the leader proposes entries.
    let Some(latency) = node.commit_latency else {
        return;
    };
    let sentence = format!(
        "an entry takes {} ms at the median, {} ms at p99",
        latency.median_us.div_ceil(1000),
        latency.p99_us.div_ceil(1000)
    );
    match latency.p99_us > COMMIT_WARNING_US {
        false => findings.well("speed", &subject(node), sentence),
        true => findings.add(
            "speed",
            Level::Warning,
            &subject(node),
            sentence,
            "look for slow disks with conclave doctor --data DIR on each machine, and for a slow \
             network",
        ),
    }
}

fn elections(node: &v1::NodeStatus, findings: &mut Findings) {
    let recent = |event: &&v1::NodeEvent| {
        event.age_ms < ELECTIONS_MS
            && event.kind() == v1::NodeEventKind::LeaderChanged
            && event.subject_node_id != 0
    };
    let changes = node.events.iter().filter(recent).count();
    let sentence = format!("{changes} changes of the leader in the last hour");
    match changes > ELECTIONS_MAX {
        false => findings.well("elections", &subject(node), sentence),
        true => findings.add(
            "elections",
            Level::Warning,
            &subject(node),
            sentence,
            "machines that stall or a network that loses packets cause them; their logs say when",
        ),
    }
}

fn states(status: &v1::GetClusterStatusResponse, findings: &mut Findings) {
    let differ = status.nodes.iter().map(|node| node.differs_at_index).max();
    match differ.filter(|index| *index > 0) {
        None => findings.well("states", CLUSTER, "no node has found a difference"),
        Some(index) => findings.add(
            "states",
            Level::Critical,
            CLUSTER,
            format!("the nodes differ after entry {index}, and no state has a majority"),
            "compare them: conclave cluster check",
        ),
    }
    if status.nodes.iter().any(|node| node.refuses_growth) {
        findings.add(
            "space",
            Level::Critical,
            CLUSTER,
            "requests that need space are refused until the disks have room",
            "make room on the disks of a majority",
        );
    }
}

fn versions(status: &v1::GetClusterStatusResponse, findings: &mut Findings) {
    let up = status.nodes.iter().filter(|node| node.reachable);
    let versions: BTreeSet<String> = up.map(|node| output::clean(&node.version)).collect();
    let list: Vec<&str> = versions.iter().map(String::as_str).collect();
    let list = list.join(", ");
    match versions.len() {
        0 | 1 => findings.well("versions", CLUSTER, format!("all nodes run {list}")),
        _ => findings.add(
            "versions",
            Level::Warning,
            CLUSTER,
            format!("the nodes run {list}"),
            "bring all nodes to the newest of them",
        ),
    }
}

fn connections(status: &v1::GetClusterStatusResponse, findings: &mut Findings) {
    let Some(port) = &status.client_port else {
        return;
    };
    let subject = format!("node {}", status.node_id);
    let (open, max) = (port.connections, port.connections_max);
    let sentence = format!("{open} of {max} connections of clients in use");
    if max < CONNECTIONS_MIN {
        findings.add(
            "connections",
            Level::Warning,
            &subject,
            sentence,
            "raise the limit of open files of its process (LimitNOFILE=, ulimit -n)",
        );
    } else if open.saturating_mul(100) > max.saturating_mul(CONNECTIONS_PERCENT) {
        findings.add(
            "connections",
            Level::Warning,
            &subject,
            sentence,
            "raise its limits, spread the clients over more nodes, or add a learner",
        );
    } else {
        findings.well("connections", &subject, sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A healthy cluster of `voters` nodes.
    fn healthy(voters: u32) -> v1::GetClusterStatusResponse {
        let node = |node_id| v1::NodeStatus {
            node_id,
            reachable: true,
            durable: true,
            applied_index: 1000,
            commit_index: 1000,
            clock_skew_ms: Some(-3),
            free_bytes: 100 << 30,
            version: "0.1.0".to_owned(),
            ..Default::default()
        };
        v1::GetClusterStatusResponse {
            node_id: 1,
            voters,
            voters_reachable: voters,
            tolerates_failures: (voters - 1) / 2,
            quorum: true,
            nodes: (1..=u64::from(voters)).map(node).collect(),
            client_port: Some(v1::PortStatus {
                connections: 10,
                connections_max: 8192,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Returns the findings that are not well.
    fn bad(status: &v1::GetClusterStatusResponse) -> Vec<(&'static str, Level)> {
        let mut findings = Findings::default();
        examine(status, &mut findings);
        let findings = findings.0.into_iter();
        let bad = findings.filter(|finding| finding.level != Level::Well);
        bad.map(|finding| {
            assert!(!finding.hint.is_empty(), "{finding:?}");
            (finding.check, finding.level)
        })
        .collect()
    }

    #[test]
    fn a_healthy_cluster_has_nothing_to_say() {
        for voters in [3, 5, 7] {
            assert_eq!(bad(&healthy(voters)), []);
        }
    }

    #[test]
    fn each_condition_has_its_finding() {
        use Level::{Critical, Unknown, Warning};
        type Break = fn(&mut v1::GetClusterStatusResponse);
        let cases: [(Break, &[(&str, Level)]); 22] = [
            (|s| s.quorum = false, &[("quorum", Critical)]),
            (|s| s.tolerates_failures = 1, &[("quorum", Warning)]),
            (|s| s.tolerates_failures = 0, &[("quorum", Critical)]),
            (|s| s.voters = 6, &[("quorum", Warning)]),
            (|s| s.nodes[2].reachable = false, &[("member", Warning)]),
            (
                |s| s.nodes[2].refusal = "older data".to_owned(),
                &[("member", Critical)],
            ),
            (|s| s.nodes[2].waits = true, &[("member", Critical)]),
            (|s| s.nodes[2].unreached = true, &[("member", Critical)]),
            (|s| s.nodes[2].durable = false, &[("member", Critical)]),
            (
                |s| s.nodes[2].clock_skew_ms = Some(-1001),
                &[("clock", Warning)],
            ),
            (
                |s| {
                    s.nodes[2].clock_skew_ms = Some(i64::MIN);
                    s.nodes[2].clock_is_off = true;
                },
                &[("clock", Critical)],
            ),
            (|s| s.nodes[2].clock_skew_ms = None, &[("clock", Unknown)]),
            (
                |s| s.nodes[2].free_bytes = FREE_WARNING_BYTES - 1,
                &[("disk", Warning)],
            ),
            (|s| s.nodes[2].low_space = true, &[("disk", Critical)]),
            (
                |s| s.nodes[0].commit_index = LAG_WARNING + 1001,
                &[("lag", Warning); 5],
            ),
            (
                |s| {
                    s.nodes[0].commit_latency = Some(v1::CommitLatency {
                        p99_us: COMMIT_WARNING_US + 1,
                        ..Default::default()
                    });
                },
                &[("speed", Warning)],
            ),
            (
                |s| {
                    let changed = v1::NodeEvent {
                        kind: v1::NodeEventKind::LeaderChanged.into(),
                        subject_node_id: 2,
                        ..Default::default()
                    };
                    s.nodes[0].events = vec![changed; 4];
                },
                &[("elections", Warning)],
            ),
            (|s| s.nodes[2].differs_at_index = 9, &[("states", Critical)]),
            (|s| s.nodes[2].refuses_growth = true, &[("space", Critical)]),
            (
                |s| s.nodes[2].version = "0.2.0".to_owned(),
                &[("versions", Warning)],
            ),
            (
                |s| s.client_port.as_mut().unwrap().connections = 7000,
                &[("connections", Warning)],
            ),
            (
                |s| s.client_port.as_mut().unwrap().connections_max = 200,
                &[("connections", Warning)],
            ),
        ];
        for (number, (break_it, expected)) in cases.into_iter().enumerate() {
            let mut status = healthy(5);
            break_it(&mut status);
            assert_eq!(bad(&status), expected, "case {number}");
        }
        assert_eq!(bad(&healthy(1)), [("quorum", Warning)]);
        let mut partial = healthy(5);
        partial.partial = true;
        partial.tolerates_failures = 0;
        assert_eq!(bad(&partial), [("details", Unknown)]);
    }
}
