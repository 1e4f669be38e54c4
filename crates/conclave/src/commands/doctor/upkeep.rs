//! Judges what operators have to do from time to time: backups, certificates, limits of a process.
//!
//! Always true: nothing here asks a node; the same status at the same time has the same findings.

use conclave_client::v1;

use super::findings::{Findings, Level};

const DAY_MS: u64 = 86_400_000;
/// Age of the newest backup that is worth a warning: two intervals of the usual schedule.
const BACKUP_WARNING_MS: u64 = 2 * DAY_MS;
/// Time before the end of a certificate at which it is worth a warning: the nodes renew their own
/// a month before.
const CERTIFICATE_WARNING_MS: u64 = 14 * DAY_MS;
/// Time before the end at which it is critical.
const CERTIFICATE_CRITICAL_MS: u64 = 2 * DAY_MS;
/// Share of the file descriptors in use that is worth a warning, in per cent.
const DESCRIPTORS_PERCENT: u64 = 80;

/// Adds the findings of this status at this time, in milliseconds since 1970.
pub(super) fn examine(status: &v1::GetClusterStatusResponse, now_ms: u64, findings: &mut Findings) {
    // A partial status has none of it, and a finding that says so.
    if status.partial {
        return;
    }
    backup(status, now_ms, findings);
    for node in status.nodes.iter().filter(|node| node.reachable) {
        certificates(node, now_ms, findings);
        descriptors(node, findings);
    }
}

fn backup(status: &v1::GetClusterStatusResponse, now_ms: u64, findings: &mut Findings) {
    let newest = status.nodes.iter().map(|node| node.last_backup_at_ms).max();
    let newest = newest.filter(|at_ms| *at_ms > 0);
    let hint = "make one: conclave backup FILE; or let nodes make them: a [backup] table in the \
                settings";
    let Some(at_ms) = newest else {
        let sentence = "no node that answers knows of a backup";
        return findings.add("backup", Level::Warning, "cluster", sentence, hint);
    };
    let age_ms = now_ms.saturating_sub(at_ms);
    let sentence = format!("the newest backup is {} old", ago(age_ms));
    match age_ms > BACKUP_WARNING_MS {
        true => findings.add("backup", Level::Warning, "cluster", sentence, hint),
        false => findings.well("backup", "cluster", sentence),
    }
}

fn certificates(node: &v1::NodeStatus, now_ms: u64, findings: &mut Findings) {
    let at_ms = node.certificate_expires_at_ms;
    // A node of an earlier version does not say it.
    if at_ms == 0 {
        return;
    }
    let subject = format!("node {}", node.node_id);
    let left_ms = at_ms.saturating_sub(now_ms);
    let sentence = match left_ms {
        0 => "a certificate has expired".to_owned(),
        left_ms => format!("the first certificate expires in {}", ago(left_ms)),
    };
    let level = match left_ms {
        left_ms if left_ms < CERTIFICATE_CRITICAL_MS => Level::Critical,
        left_ms if left_ms < CERTIFICATE_WARNING_MS => Level::Warning,
        _ => return findings.well("certificates", &subject, sentence),
    };
    findings.add(
        "certificates",
        level,
        &subject,
        sentence,
        "your own: put a new pair into the files of tls_certificate and tls_key; the cluster's: \
         failed to renew in the log says why",
    );
}

fn descriptors(node: &v1::NodeStatus, findings: &mut Findings) {
    let (open, max) = (node.open_descriptors, node.open_descriptors_max);
    if open == 0 || max == 0 {
        return;
    }
    let subject = format!("node {}", node.node_id);
    let sentence = format!("{open} of {max} file descriptors in use");
    match open.saturating_mul(100) > max.saturating_mul(DESCRIPTORS_PERCENT) {
        true => findings.add(
            "descriptors",
            Level::Warning,
            &subject,
            sentence,
            "raise the limit of open files of its process (LimitNOFILE=, ulimit -n)",
        ),
        false => findings.well("descriptors", &subject, sentence),
    }
}

/// Returns a time in the unit that says most.
fn ago(ms: u64) -> String {
    let (hours, days) = (ms / 3_600_000, ms / DAY_MS);
    let counted = |count: u64, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    match (days, hours) {
        (0, 0) => counted(ms / 60_000, "minute"),
        (0..2, hours) => counted(hours, "hour"),
        (days, _) => counted(days, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn found(change: impl Fn(&mut v1::GetClusterStatusResponse)) -> Vec<(String, Level)> {
        let node = |node_id| v1::NodeStatus {
            node_id,
            reachable: true,
            last_backup_at_ms: NOW_MS - node_id * DAY_MS,
            certificate_expires_at_ms: NOW_MS + 90 * DAY_MS,
            open_descriptors: 100,
            open_descriptors_max: 1024,
            ..v1::NodeStatus::default()
        };
        let mut status = v1::GetClusterStatusResponse {
            nodes: (1..=2).map(node).collect(),
            ..v1::GetClusterStatusResponse::default()
        };
        change(&mut status);
        let mut findings = Findings::default();
        examine(&status, NOW_MS, &mut findings);
        let bad = findings.0.into_iter();
        let bad = bad.filter(|finding| finding.level != Level::Well);
        bad.map(|finding| (finding.sentence, finding.level))
            .collect()
    }

    #[test]
    fn each_condition_has_its_finding() {
        use Level::{Critical, Warning};
        let one = |sentence: &str, level| vec![(sentence.to_owned(), level)];
        assert_eq!(found(|_| {}), []);
        assert_eq!(found(|status| status.partial = true), []);
        let backup = |at_ms: u64| {
            found(move |status| {
                for node in &mut status.nodes {
                    node.last_backup_at_ms = at_ms;
                }
            })
        };
        assert_eq!(
            backup(0),
            one("no node that answers knows of a backup", Warning)
        );
        assert_eq!(
            backup(NOW_MS - 3 * DAY_MS),
            one("the newest backup is 3 days old", Warning)
        );
        // The clock of the nodes may be ahead.
        assert_eq!(backup(NOW_MS + DAY_MS), []);
        let expires = |in_ms: u64| {
            found(move |status| status.nodes[1].certificate_expires_at_ms = NOW_MS + in_ms)
        };
        assert_eq!(
            expires(13 * DAY_MS),
            one("the first certificate expires in 13 days", Warning)
        );
        assert_eq!(
            expires(DAY_MS),
            one("the first certificate expires in 24 hours", Critical)
        );
        assert_eq!(expires(0), one("a certificate has expired", Critical));
        assert_eq!(
            found(|status| status.nodes[0].open_descriptors = 900),
            one("900 of 1024 file descriptors in use", Warning)
        );
        // A node of an earlier version says nothing of it; one that is down neither.
        assert_eq!(
            found(|status| {
                status.nodes[0].certificate_expires_at_ms = 0;
                status.nodes[0].open_descriptors = 0;
                status.nodes[1].reachable = false;
                status.nodes[1].open_descriptors = 1024;
            }),
            []
        );
    }
}
