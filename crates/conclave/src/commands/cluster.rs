//! `conclave cluster`: the state of the cluster as its own nodes see it, and its members.

mod acks;
mod catching_up;
mod check;
mod limits;
mod members;
mod recover;
mod restart_plan;
pub(crate) mod retention;
mod rotate_secret;
mod status_json;
mod upgrade;
mod watch;

use std::{io::IsTerminal as _, process::ExitCode};

use conclave_client::{CallError, v1};

use catching_up::transfers;
use status_json::json;

use crate::{
    connection::Connection,
    errors::{CommandError, EXIT_UNAVAILABLE, note},
    output::{self, Format},
};

/// Warning for a cluster of two voters.
pub(crate) const TWO_VOTERS: &str = "warning: two voters tolerate no failure: if either is lost \
    for good, only `conclave cluster recover` helps; add a third";

/// Arguments of `cluster`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show every node, and how many more may fail. Works without a quorum
    Status {
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
        /// Show it again every second, with the nodes that are catching up, until interrupted
        #[arg(short, long)]
        watch: bool,
    },
    /// Make every node read its whole log again, and compare the states of all nodes; for operators
    Check {
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show or set the limits of what one account may do and keep; for administrators
    Limits(limits::Args),
    /// Show or set how long messages are kept, and how many. What is forgotten does not come back;
    /// to set it is for operators
    Retention(retention::Args),
    /// Put one survivor back in service alone, when a majority is gone for good. Works on the
    /// directory of a node that does not run
    Recover(recover::Args),
    /// Replace the secret of the cluster while it runs: removed machines and copies of directories
    /// lose their access. All members must answer; for operators
    RotateSecret(rotate_secret::Args),
    /// Show whether a node can be stopped to be upgraded now, whether the upgrade can be finalized,
    /// and why not. Exit code 0: safe; 5: not safe; for operators
    UpgradeCheck {
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Finalize an upgrade; for operators
    Upgrade(upgrade::Args),
    /// Print the commands that restart every node in turn, without a pause for clients; for
    /// operators
    RestartPlan(restart_plan::Args),
    /// Set which voters must have a change on disk before it is acknowledged; for operators
    Ack {
        /// These voters
        #[arg(value_enum)]
        voters: acks::Voters,
    },
    #[command(flatten)]
    Change(members::Command),
}

/// Asks every known node and shows the answer of the node that reaches most voters.
///
/// # Errors
/// If no node answers.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (output, is_watched) = match args.command {
        Command::Status { output, watch } => (output, watch),
        Command::Check { output } => return check::run(output, &args.connection).await,
        Command::Limits(limits) => return limits::run(limits, &args.connection).await,
        Command::Retention(how) => return retention::run(how, &args.connection).await,
        Command::Recover(args) => return recover::run(&args).await,
        Command::RotateSecret(how) => return rotate_secret::run(how, &args.connection).await,
        Command::UpgradeCheck { output } => return upgrade::check(output, &args.connection).await,
        Command::Upgrade(how) => return upgrade::run(how, &args.connection).await,
        Command::RestartPlan(plan) => return restart_plan::run(plan, &args.connection).await,
        Command::Ack { voters } => return acks::run(voters, &args.connection).await,
        Command::Change(change) => return members::run(change, &args.connection).await,
    };
    let connected = args.connection.connect_as_operator_if_any().await?;
    let client = connected.client;
    if is_watched {
        return watch::run(&client, output).await;
    }
    let answers = client.cluster_statuses().await;
    let asked = answers.len();
    if let Some(error) = untrusted(&answers) {
        return Err(error.into());
    }
    let status = best_status(answers).ok_or_else(|| {
        CommandError::new(
            EXIT_UNAVAILABLE,
            format!("none of {asked} nodes answered"),
            "start the nodes (conclave up), or name others with --endpoints",
        )
    })?;
    match output {
        Format::Json => output::json_line(&json(&status))?,
        Format::Table => show(&status)?,
    }
    Ok(match status.quorum {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(EXIT_UNAVAILABLE),
    })
}

/// Returns the error of a certificate that keeps this command from all nodes, if there is one.
fn untrusted(
    answers: &[(String, Result<v1::GetClusterStatusResponse, CallError>)],
) -> Option<CommandError> {
    if answers.iter().any(|(_, answer)| answer.is_ok()) {
        return None;
    }
    let errors = answers
        .iter()
        .filter_map(|(_, answer)| answer.as_ref().err());
    let of_trust = |error: &&CallError| match error {
        CallError::NotDone { distrust, .. } => distrust.is_some(),
        _ => false,
    };
    errors.into_iter().find(of_trust).map(CommandError::from)
}

/// Chooses the best answer: a node that sees a majority knows better than one that is cut off.
pub(crate) fn best_status(
    answers: Vec<(String, Result<v1::GetClusterStatusResponse, CallError>)>,
) -> Option<v1::GetClusterStatusResponse> {
    let answers = answers.into_iter().filter_map(|(_, answer)| answer.ok());
    answers.max_by_key(|status| (status.quorum, status.voters_reachable, commit_max(status)))
}

pub(super) fn commit_max(status: &v1::GetClusterStatusResponse) -> u64 {
    let commits = status.nodes.iter().map(|node| node.commit_index);
    commits.max().unwrap_or(0)
}

fn show(status: &v1::GetClusterStatusResponse) -> anyhow::Result<()> {
    table(status).iter().try_for_each(|row| output::line(row))?;
    warnings(status).iter().for_each(|warning| note(warning));
    acks::told(status).iter().for_each(|told| note(told));
    to_finalize(status).iter().for_each(|told| note(told));
    if status.partial {
        note("operators and administrators see more: --operator-file, or conclave login");
    }
    let transfers = transfers(status).into_iter();
    for told in transfers
        .map(|transfer| transfer.line())
        .chain([summary(status)])
    {
        // Between columns for programs it would be a row of its own kind.
        if std::io::stdout().is_terminal() {
            output::line(&told)?;
        } else {
            note(&told);
        }
    }
    Ok(())
}

fn table(status: &v1::GetClusterStatusResponse) -> Vec<String> {
    const HEADER: [&str; 8] = [
        "node", "address", "role", "term", "commit", "applied", "lag", "version",
    ];
    let commit = commit_max(status);
    let shown = |node| match status.partial {
        true => partial_row(node),
        false => row(node, commit),
    };
    let rows: Vec<_> = status.nodes.iter().map(shown).collect();
    output::table_lines(&HEADER, &rows)
}

fn warnings(status: &v1::GetClusterStatusResponse) -> Vec<String> {
    // A partial answer says of a node only that it is there and what it is.
    let careless = |node: &&v1::NodeStatus| node.reachable && !node.durable && !status.partial;
    let careless = status.nodes.iter().filter(careless);
    let warning = |node: &v1::NodeStatus| {
        let id = node.node_id;
        format!("warning: node {id} does not sync to disk before it acknowledges")
    };
    let mut warnings: Vec<String> = careless.map(warning).collect();
    warnings.extend(status.nodes.iter().filter_map(clock_warning));
    for node in status.nodes.iter().filter(|node| node.low_space) {
        let (id, mib) = (node.node_id, node.free_bytes / (1024 * 1024));
        warnings.push(format!(
            "warning: the disk of node {id} has only {mib} MiB left"
        ));
    }
    let preferred = status.preferred_leader_id;
    let mut low = status.nodes.iter().filter(|node| node.low_space);
    if low.any(|node| node.node_id == preferred) && status.leader_id != preferred {
        warnings.push(format!(
            "warning: node {preferred}, the preferred leader, leads again when its disk has room"
        ));
    }
    if status.nodes.iter().any(|node| node.refuses_growth) {
        let sentence =
            "warning: the cluster refuses requests that need space until its disks have room";
        warnings.push(sentence.to_owned());
    }
    for node in status.nodes.iter().filter(|node| node.draining) {
        let id = node.node_id;
        warnings.push(format!(
            "warning: node {id} is drained or stopping, and serves no clients: conclave node \
             undrain {id}"
        ));
    }
    for node in &status.nodes {
        let id = node.node_id;
        let address = output::clean(&node.peer_address);
        if !node.refusal.is_empty() {
            let why = output::clean(&node.refusal);
            warnings.push(format!("warning: node {id} is refused: {why}"));
        } else if node.waits {
            warnings.push(format!(
                "warning: node {id} does not take part yet: too few members have confirmed its data"
            ));
        }
        if node.unreached {
            warnings.push(format!(
                "warning: the leader does not reach node {id} at {address}: it gets no entries"
            ));
        }
    }
    if status.voters == 2 {
        warnings.push(TWO_VOTERS.to_owned());
    }
    let differs = status.nodes.iter().map(|node| node.differs_at_index).max();
    if let Some(index) = differs.filter(|index| *index > 0) {
        warnings.push(format!(
            "warning: the nodes have different states after entry {index}, and no state has a \
             majority: conclave cluster check"
        ));
    }
    warnings
}

/// Returns whether a node is reached and takes part in the cluster, by what its status says.
pub(super) fn takes_part(node: &v1::NodeStatus) -> bool {
    node.reachable && !node.waits && !node.unreached && node.refusal.is_empty()
}

/// Returns what is to be done to end an upgrade whose release all nodes run; `None` if nothing is.
fn to_finalize(status: &v1::GetClusterStatusResponse) -> Option<String> {
    let newest = status.nodes.iter().map(|node| match node.reachable {
        true => node.newest_version,
        false => 0,
    });
    let (now, to) = (status.cluster_version, newest.min()?);
    (!status.partial && now < to).then(|| {
        format!(
            "cluster version {now}: all nodes can apply version {to}: conclave cluster upgrade \
             finalize"
        )
    })
}

fn clock_warning(node: &v1::NodeStatus) -> Option<String> {
    let skew_ms = node.clock_skew_ms.filter(|_| node.clock_is_off)?;
    let way = if skew_ms > 0 { "ahead" } else { "behind" };
    let seconds = skew_ms.unsigned_abs().div_ceil(1000);
    let id = node.node_id;
    Some(format!(
        "warning: the clock of node {id} is {} {way}: set it",
        span(seconds)
    ))
}

/// Formats a length of time for people, in its greatest unit.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Builds the row of a node from what callers without an operator's credential may see.
fn partial_row(node: &v1::NodeStatus) -> Vec<String> {
    let told = match node.reachable {
        true => shown_role(node),
        false => "unreachable",
    };
    let mut row = vec!["-".to_owned(); 8];
    row[0] = node.node_id.to_string();
    row[2] = told.to_owned();
    row
}

fn row(node: &v1::NodeStatus, commit: u64) -> Vec<String> {
    let address = output::clean(&node.client_address);
    if !node.reachable {
        let unknown = || "-".to_owned();
        return vec![
            node.node_id.to_string(),
            address,
            "unreachable".to_owned(),
            unknown(),
            unknown(),
            unknown(),
            unknown(),
            unknown(),
        ];
    }
    vec![
        node.node_id.to_string(),
        address,
        shown_role(node).to_owned(),
        node.term.to_string(),
        node.commit_index.to_string(),
        node.applied_index.to_string(),
        commit.saturating_sub(node.applied_index).to_string(),
        output::clean(&node.version),
    ]
}

fn summary(status: &v1::GetClusterStatusResponse) -> String {
    let (up, all) = (status.voters_reachable, status.voters);
    match (status.quorum, status.tolerates_failures) {
        (false, _) => format!("no quorum: {up}/{all} up"),
        (true, 0) => format!("{up}/{all} up, tolerates no more failures"),
        (true, 1) => format!("{up}/{all} up, tolerates 1 more failure"),
        (true, failures) => format!("{up}/{all} up, tolerates {failures} more failures"),
    }
}

/// Returns what a node is, for people: a witness that leads for a moment is shown as the leader.
fn shown_role(node: &v1::NodeStatus) -> &'static str {
    match node.role() {
        v1::NodeRole::Follower | v1::NodeRole::Candidate if node.witness => "witness",
        other => role(other),
    }
}

fn role(role: v1::NodeRole) -> &'static str {
    match role {
        v1::NodeRole::Unspecified => "unknown",
        v1::NodeRole::Leader => "leader",
        v1::NodeRole::Follower => "follower",
        v1::NodeRole::Candidate => "candidate",
        v1::NodeRole::Learner => "learner",
        v1::NodeRole::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use conclave_client::Distrust;

    use super::*;

    fn status(up: u32, quorum: bool, tolerates: u32) -> v1::GetClusterStatusResponse {
        v1::GetClusterStatusResponse {
            voters: 5,
            voters_reachable: up,
            tolerates_failures: tolerates,
            quorum,
            ..Default::default()
        }
    }

    #[test]
    fn the_status_summary_counts_tolerated_failures() {
        let cases = [
            (status(5, true, 2), "5/5 up, tolerates 2 more failures"),
            (status(4, true, 1), "4/5 up, tolerates 1 more failure"),
            (status(3, true, 0), "3/5 up, tolerates no more failures"),
            (status(2, false, 0), "no quorum: 2/5 up"),
        ];
        for (status, expected) in cases {
            assert_eq!(summary(&status), expected);
        }
    }

    #[test]
    fn the_status_with_the_most_reachable_voters_is_shown() {
        let unreachable = CallError::NotDone {
            sentence: String::new(),
            distrust: None,
            attempts: 1,
            waited: std::time::Duration::ZERO,
            nodes: Vec::new(),
        };
        let answers = vec![
            ("a:1".to_owned(), Ok(status(2, false, 0))),
            ("b:1".to_owned(), Ok(status(4, true, 1))),
            ("c:1".to_owned(), Err(unreachable)),
            ("d:1".to_owned(), Ok(status(3, true, 0))),
        ];
        assert_eq!(best_status(answers).unwrap().voters_reachable, 4);
        assert!(best_status(Vec::new()).is_none());
    }

    #[test]
    fn an_expired_certificate_is_not_reported_as_a_down_node() {
        let not_done = |distrust: Option<Distrust>| CallError::NotDone {
            sentence: "cannot connect".to_owned(),
            distrust,
            attempts: 1,
            waited: std::time::Duration::ZERO,
            nodes: vec!["a:1".to_owned()],
        };
        let answer = |error| ("a:1".to_owned(), Err(error));
        let expired = Some(Distrust::NotValidNow);
        let answers = vec![answer(not_done(None)), answer(not_done(expired))];
        let told = untrusted(&answers).unwrap().to_string();
        assert!(told.contains("not valid now"), "{told}");
        assert!(untrusted(&answers[..1]).is_none());
        let one_answers = [answers, vec![("b:1".to_owned(), Ok(status(1, true, 0)))]].concat();
        assert!(untrusted(&one_answers).is_none());
    }

    #[test]
    fn a_partial_status_warns_of_nothing_it_does_not_say() {
        let node = v1::NodeStatus {
            node_id: 1,
            reachable: true,
            ..Default::default()
        };
        let whole = v1::GetClusterStatusResponse {
            nodes: vec![node],
            ..status(1, true, 0)
        };
        assert!(warnings(&whole)[0].contains("does not sync"));
        let partial = v1::GetClusterStatusResponse {
            partial: true,
            ..whole
        };
        assert_eq!(warnings(&partial), Vec::<String>::new());
    }

    #[test]
    fn the_status_says_when_an_upgrade_can_be_finalized() {
        let node = |newest_version, reachable| v1::NodeStatus {
            reachable,
            newest_version,
            ..Default::default()
        };
        let told = |nodes| {
            to_finalize(&v1::GetClusterStatusResponse {
                cluster_version: 1,
                nodes,
                ..status(2, true, 0)
            })
        };
        assert!(told(vec![node(2, true), node(2, true)]).is_some());
        assert_eq!(told(vec![node(2, true), node(1, true)]), None);
        assert_eq!(told(vec![node(2, true), node(2, false)]), None);
    }

    #[test]
    fn a_down_node_is_shown_without_stale_figures() {
        let node = v1::NodeStatus {
            node_id: 3,
            client_address: "c:1".to_owned(),
            term: 7,
            ..Default::default()
        };
        let shown = row(&node, 90).join(" ");
        assert_eq!(shown, "3 c:1 unreachable - - - - -");
        let up = v1::NodeStatus {
            reachable: true,
            applied_index: 88,
            commit_index: 90,
            ..node
        };
        assert_eq!(row(&up, 90)[6], "2");
    }
}
