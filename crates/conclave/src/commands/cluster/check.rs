//! `conclave cluster check`: checks that every node still has what was written, and that all have
//! the same.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use conclave_client::{CallError, Client, Reason, v1};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use v1::CheckVerdict;

use crate::{
    connection::Connection,
    errors::{CommandError, EXIT_DAMAGED, EXIT_UNAVAILABLE, note},
    output::{self, Format},
};

/// Longest time that the command waits for a check: the nodes go on with it afterwards.
const CHECK_LIMIT: Duration = Duration::from_secs(3600);
/// Pause between two questions for the progress.
const PAUSE: Duration = Duration::from_millis(200);
/// Number of digits of a digest that are shown to people.
const DIGEST_DIGITS: usize = 12;

/// Checks the cluster and shows what was found.
///
/// # Errors
/// If the caller is no operator, or no node finishes a check in time.
pub(super) async fn run(format: Format, connection: &Connection) -> anyhow::Result<ExitCode> {
    let client = connection.connect_as_operator().await?.client;
    let found = checked(&client).await?;
    if format == Format::Json {
        output::json_line(&json(&found))?;
    } else {
        let header = ["node", "address", "log", "state", "verdict"];
        output::table(&header, &found.nodes.iter().map(row).collect::<Vec<_>>())?;
    }
    match exit(&found) {
        0 => {
            note(&summary(&found));
            Ok(ExitCode::SUCCESS)
        }
        code => Err(CommandError::new(code, summary(&found), hint(&found)).into()),
    }
}

/// Returns the hint for the worst finding.
fn hint(found: &v1::CheckClusterResponse) -> &'static str {
    let mut nodes = found.nodes.iter();
    match exit(found) {
        EXIT_DAMAGED if nodes.any(|node| node.verdict() == CheckVerdict::NoMajority) => {
            "the nodes cannot repair this; docs/operations.md says what to do"
        }
        EXIT_DAMAGED => {
            "diverged and damaged nodes repair themselves: check again when conclave cluster \
             status shows all of them"
        }
        _ => "check again when conclave cluster status shows all nodes and no lag",
    }
}

/// Asks the nodes in turn until one leads a check, and waits until it is finished.
async fn checked(client: &Client) -> anyhow::Result<v1::CheckClusterResponse> {
    let deadline = Instant::now() + CHECK_LIMIT;
    let endpoints = client.endpoints();
    let mut last = "no node is known".to_owned();
    // A node that finds damage in itself restarts, and then knows of no check.
    for endpoint in endpoints.iter().chain(&endpoints) {
        match checked_at(client, endpoint, deadline).await {
            Ok(found) => return Ok(found),
            Err(CallError::Refused {
                reason: Reason::NoSuchCheck,
                sentence,
            }) => {
                last = sentence;
            }
            Err(CallError::NotDone { sentence, .. } | CallError::Unknown { sentence, .. }) => {
                last = sentence;
            }
            Err(other) => return Err(other.into()),
        }
    }
    let sentence = format!("no node has finished a check: {last}");
    let hint = "see which nodes are up with: conclave cluster status";
    Err(CommandError::new(EXIT_UNAVAILABLE, sentence, hint).into())
}

async fn checked_at(
    client: &Client,
    endpoint: &str,
    deadline: Instant,
) -> Result<v1::CheckClusterResponse, CallError> {
    let mut progress = client.check_cluster(endpoint, 0).await?;
    note(&format!("checking {} nodes", progress.nodes.len()));
    let mut told = BTreeSet::new();
    let mut is_agreed = false;
    while !progress.finished && Instant::now() < deadline {
        if progress.log_index > 0 && !std::mem::replace(&mut is_agreed, true) {
            note(&format!("at entry {} of the log", progress.log_index));
        }
        for node in progress.nodes.iter().filter(|node| is_done(node)) {
            if told.insert(node.node_id) {
                note(&format!("node {} is done", node.node_id));
            }
        }
        sleep(PAUSE).await;
        progress = client.check_cluster(endpoint, progress.check_id).await?;
    }
    Ok(progress)
}

fn is_done(node: &v1::NodeCheck) -> bool {
    node.verdict() != CheckVerdict::Unspecified || !node.digest.is_empty()
}

/// Returns the exit code for the worst finding.
fn exit(found: &v1::CheckClusterResponse) -> u8 {
    let has = |wanted: &[CheckVerdict]| {
        let mut nodes = found.nodes.iter();
        nodes.any(|node| wanted.contains(&node.verdict()))
    };
    if has(&[
        CheckVerdict::Diverged,
        CheckVerdict::Damaged,
        CheckVerdict::NoMajority,
    ]) {
        EXIT_DAMAGED
    } else if has(&[
        CheckVerdict::Unreachable,
        CheckVerdict::Unread,
        CheckVerdict::Behind,
        CheckVerdict::Unspecified,
    ]) {
        EXIT_UNAVAILABLE
    } else {
        0
    }
}

fn word(verdict: CheckVerdict) -> &'static str {
    match verdict {
        CheckVerdict::Unspecified => "not finished",
        CheckVerdict::Same => "same",
        CheckVerdict::Diverged => "diverged",
        CheckVerdict::Damaged => "damaged",
        CheckVerdict::Unreachable => "unreachable",
        CheckVerdict::Behind => "behind",
        CheckVerdict::NoMajority => "no majority",
        CheckVerdict::Unread => "unread",
    }
}

fn digits(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn row(node: &v1::NodeCheck) -> Vec<String> {
    let log = match (node.log_whole, node.verdict()) {
        (true, _) => "whole",
        (false, CheckVerdict::Damaged) => "damaged",
        (false, _) => "-",
    };
    let digest = digits(&node.digest);
    let digest = digest.get(..DIGEST_DIGITS).unwrap_or("-").to_owned();
    let verdict = match node.problem.as_str() {
        "" => word(node.verdict()).to_owned(),
        problem => format!("{}: {}", word(node.verdict()), output::clean(problem)),
    };
    vec![
        node.node_id.to_string(),
        output::clean(&node.client_address),
        log.to_owned(),
        digest,
        verdict,
    ]
}

fn summary(found: &v1::CheckClusterResponse) -> String {
    let count = |wanted: CheckVerdict| {
        let nodes = found.nodes.iter();
        nodes.filter(|node| node.verdict() == wanted).count()
    };
    let (all, same) = (found.nodes.len(), count(CheckVerdict::Same));
    let at = found.log_index;
    match (count(CheckVerdict::NoMajority), exit(found)) {
        (_, 0) => format!("all {all} nodes agree at entry {at}, and their logs are intact"),
        (0, EXIT_DAMAGED) => {
            format!("{same} of {all} nodes agree at entry {at}; others diverged or are damaged")
        }
        (0, _) => format!("{same} of {all} nodes agree at entry {at}; the others were not reached"),
        _ => format!("no majority has the same state at entry {at}"),
    }
}

fn json(found: &v1::CheckClusterResponse) -> Value {
    let node = |node: &v1::NodeCheck| {
        json!({
            "node": node.node_id,
            "address": node.client_address,
            "log_whole": node.log_whole,
            "log_frames": node.log_frames,
            "digest": digits(&node.digest),
            "verdict": word(node.verdict()),
            "problem": node.problem,
        })
    };
    json!({
        "entry": found.log_index,
        "finished": found.finished,
        "well": exit(found) == 0,
        "nodes": found.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(verdicts: &[CheckVerdict]) -> v1::CheckClusterResponse {
        let node = |(at, verdict): (usize, &CheckVerdict)| v1::NodeCheck {
            node_id: at as u64 + 1,
            verdict: (*verdict).into(),
            log_whole: *verdict == CheckVerdict::Same,
            digest: vec![0xab; 32].into(),
            ..v1::NodeCheck::default()
        };
        v1::CheckClusterResponse {
            log_index: 90,
            finished: true,
            nodes: verdicts.iter().enumerate().map(node).collect(),
            ..v1::CheckClusterResponse::default()
        }
    }

    #[test]
    fn check_exits_differently_for_damaged_and_unchecked_nodes() {
        use CheckVerdict::{Behind, Damaged, Diverged, NoMajority, Same, Unreachable, Unread};
        let cases: [(&[CheckVerdict], u8); 7] = [
            (&[Same, Same, Same], 0),
            (&[Same, Same, Diverged], EXIT_DAMAGED),
            (&[Same, Damaged, Unreachable], EXIT_DAMAGED),
            (&[NoMajority, NoMajority], EXIT_DAMAGED),
            (&[Same, Same, Unreachable], EXIT_UNAVAILABLE),
            (&[Same, Same, Unread], EXIT_UNAVAILABLE),
            (&[Same, Same, Behind], EXIT_UNAVAILABLE),
        ];
        for (verdicts, code) in cases {
            assert_eq!(exit(&found(verdicts)), code, "{verdicts:?}");
        }
    }

    #[test]
    fn the_check_summary_counts_the_matching_nodes() {
        use CheckVerdict::{Diverged, NoMajority, Same};
        let cases = [
            (found(&[Same, Same]), "all 2 nodes agree at entry 90"),
            (found(&[Same, Same, Diverged]), "2 of 3 nodes agree"),
            (
                found(&[NoMajority, NoMajority]),
                "no majority has the same state",
            ),
        ];
        for (found, expected) in cases {
            let said = summary(&found);
            assert!(said.starts_with(expected), "{said}");
        }
        assert_eq!(
            row(&found(&[Same]).nodes[0])[2..],
            ["whole", "abababababab", "same"]
        );
    }
}
