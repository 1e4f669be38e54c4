//! The checks behind `/livez`, `/readyz` and `/startupz`, each with a name and, if it fails, a
//! reason.
//!
//! Live fails only for what a restart cures. Started says that the data is open and the ports
//! serve; it does not ask for a leader, because after a power failure nodes wait for each other.
//! Ready says that calls are worth sending here.
//!
//! Always true: a check changes nothing. The one that asks another node, how far the state is
//! behind, has a limit, and is made for all callers together.

use std::{fmt::Write as _, time::Duration};

use conclave_replica::Role;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    cluster::roll_call::CONTACT_MAX, context::node_context::NodeContext, observe::Observed,
};

/// Number of entries by which the state of a node that is ready may be behind: at full load, what
/// it applies in a second or two, while one that was away for a minute lacks many more.
const BEHIND_MAX: u64 = 5_000;
/// How long a leader may take to say up to where the log is committed.
const CONFIRM_LIMIT: Duration = Duration::from_millis(500);
/// How long what it said counts.
const CONFIRMED_FOR: Duration = Duration::from_millis(500);
/// Maximum number of checks that a caller can leave out.
const EXCLUDED_MAX: usize = 16;

/// A question about the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Whether the process works.
    Live,
    /// Whether the node can serve.
    Ready,
    /// Whether the node has started.
    Started,
}

impl Probe {
    fn name(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Ready => "readyz",
            Self::Started => "startupz",
        }
    }
}

/// One check, and why it fails if it does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    name: &'static str,
    failed: Option<String>,
}

impl Check {
    fn of(name: &'static str, is_ok: bool, reason: impl FnOnce() -> String) -> Self {
        let failed = (!is_ok).then(reason);
        Self { name, failed }
    }
}

/// The answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) is_ok: bool,
    pub(super) text: String,
}

/// Answers a probe; `query` is that of the request.
pub(super) async fn report(observed: &Observed, probe: Probe, query: &str) -> Report {
    let checks = match probe {
        Probe::Live => live(observed),
        Probe::Started => vec![started(observed)],
        Probe::Ready => ready(observed).await,
    };
    written(probe, &checks, query)
}

/// Checks what only a restart cures. A node whose disk or data has failed stops by itself.
fn live(observed: &Observed) -> Vec<Check> {
    let is_running = observed.node().is_none_or(|node| {
        // The engine of a node that is stopping has stopped in order.
        node.is_stopping() || node.replica.status().role != Role::Stopped
    });
    vec![
        // That this is answered shows that the process does its work.
        Check::of("ping", true, String::new),
        Check::of("engine", is_running, || {
            "the consensus engine has stopped".to_owned()
        }),
    ]
}

fn started(observed: &Observed) -> Check {
    Check::of("started", observed.node().is_some(), || {
        "the node reads its data, or waits to join a cluster".to_owned()
    })
}

/// Checks whether calls are worth sending here.
async fn ready(observed: &Observed) -> Vec<Check> {
    let mut checks = vec![started(observed)];
    let Some(node) = observed.node() else {
        return checks;
    };
    let leader = *node.replica.leader().borrow();
    let behind = observed.state_behind.look(&node).await;
    checks.extend([
        shutdown(&node),
        Check::of("data", node.replica.damage().is_none(), || {
            "its data is damaged: it does not vote, and repairs itself".to_owned()
        }),
        Check::of("member", node.replica.is_admitted(), || {
            "it waits for members to confirm its data".to_owned()
        }),
        Check::of("leader", leader.is_some(), || {
            "no leader is known".to_owned()
        }),
        Check::of("contact", node.has_contact(), || {
            let seconds = CONTACT_MAX.as_secs();
            match node.roll.is_unreached() {
                true => "the leader does not reach this node".to_owned(),
                false => format!("no leader was heard for {seconds} s"),
            }
        }),
        state(behind),
        Check::of("disk", !node.space.is_full(), || {
            "the disk is full: it takes no entries of the leader".to_owned()
        }),
    ]);
    checks
}

/// Checks whether the node takes new calls: the one place that says that it is going away.
fn shutdown(node: &NodeContext) -> Check {
    Check::of("shutdown", !node.is_draining(), || {
        match node.is_stopping() {
            true => "the node is stopping",
            false => "the node leaves its clients: it is drained, or stops soon",
        }
        .to_owned()
    })
}

fn state(behind: Option<u64>) -> Check {
    let failed = match behind {
        Some(0..=BEHIND_MAX) => None,
        Some(entries) => Some(format!("the state is {entries} entries behind")),
        None => Some("no leader with a majority says how far the state is behind".to_owned()),
    };
    Check {
        name: "state",
        failed,
    }
}

/// How far the state is behind, asked of the leader at most once in a while.
#[derive(Debug, Default)]
pub(super) struct StateBehind(Mutex<Option<(Instant, Option<u64>)>>);

impl StateBehind {
    /// Returns by how many entries the state of a node is behind; `None` if no leader says so.
    async fn look(&self, node: &NodeContext) -> Option<u64> {
        let mut known = self.0.lock().await;
        if let Some((at, behind)) = *known
            && at.elapsed() < CONFIRMED_FOR
        {
            return behind;
        }
        let behind = node.replica.entries_behind(CONFIRM_LIMIT).await;
        *known = Some((Instant::now(), behind));
        behind
    }
}

/// Returns the answer, in the manner of Kubernetes: one word if all is well and the caller does not
/// want more, else a line for each check.
fn written(probe: Probe, checks: &[Check], query: &str) -> Report {
    let parameters = query.split('&');
    let excluded = parameters
        .clone()
        .filter_map(|part| part.strip_prefix("exclude="));
    let excluded: Vec<&str> = excluded.take(EXCLUDED_MAX).collect();
    let is_verbose = parameters
        .clone()
        .any(|part| part == "verbose" || part.starts_with("verbose="));
    let counts = |check: &&Check| check.failed.is_some() && !excluded.contains(&check.name);
    let is_ok = !checks.iter().any(|check| counts(&check));
    if is_ok && !is_verbose {
        let text = "ok\n".to_owned();
        return Report { is_ok, text };
    }
    let mut text = String::new();
    for check in checks {
        let name = check.name;
        // Writing to a string cannot fail.
        let _ = match &check.failed {
            _ if excluded.contains(&name) => writeln!(text, "[+]{name} excluded: ok"),
            None => writeln!(text, "[+]{name} ok"),
            Some(why) => writeln!(text, "[-]{name} failed: {why}"),
        };
    }
    let outcome = if is_ok { "passed" } else { "failed" };
    let _ = writeln!(text, "{} check {outcome}", probe.name());
    Report { is_ok, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(failing: &[&str]) -> Vec<Check> {
        let check = |name| Check::of(name, !failing.contains(&name), || "why".to_owned());
        vec![check("leader"), check("disk")]
    }

    #[test]
    fn an_answer_is_one_word_if_all_is_well_and_no_more_is_asked() {
        let answer = |failing: &[&str], query| written(Probe::Ready, &checks(failing), query);
        assert_eq!(answer(&[], "").text, "ok\n");
        assert_eq!(
            answer(&[], "verbose").text,
            "[+]leader ok\n[+]disk ok\nreadyz check passed\n"
        );
        let failed = answer(&["disk"], "");
        assert!(!failed.is_ok);
        assert_eq!(
            failed.text,
            "[+]leader ok\n[-]disk failed: why\nreadyz check failed\n"
        );
        assert!(answer(&["disk"], "exclude=disk").is_ok);
        assert!(!answer(&["disk"], "exclude=leader&exclude=x").is_ok);
        let excluded = answer(&["disk"], "verbose&exclude=disk");
        assert!(
            excluded.text.contains("[+]disk excluded: ok"),
            "{excluded:?}"
        );
    }

    #[test]
    fn a_state_that_is_far_behind_or_unknown_is_not_ready() {
        assert_eq!(state(Some(BEHIND_MAX)).failed, None);
        assert!(state(Some(BEHIND_MAX + 1)).failed.is_some());
        assert!(state(None).failed.is_some());
    }
}
