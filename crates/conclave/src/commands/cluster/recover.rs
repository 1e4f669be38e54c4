//! `conclave cluster recover`: one survivor goes on alone when a majority is gone for good.
//!
//! The command works on the directory of a node that does not run. It asks the other voters whether
//! they run: a node that only stands still is started and not recovered.

use std::{
    io::{self, BufRead as _, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
};

use conclave_core::AckPolicy;
use conclave_server::{IdentityError, RecoverError, Recovery, Running};
use serde_json::json;

use crate::{
    errors::{CommandError, EXIT_CONFLICT, EXIT_DAMAGED, EXIT_FAILED, EXIT_USAGE, note},
    output::{self, Format},
};

/// Arguments of `recover`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Data directory of the survivor, which must not run
    #[arg(long, value_name = "DIR", env = "CONCLAVE_DATA")]
    data: PathBuf,
    /// Only show what this survivor has, to compare it with others
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Recover although other voters answer, and make them stop
    #[arg(long)]
    force: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Shows what a survivor has, and puts it back in service alone.
///
/// # Errors
/// If the directory is in use or damaged, the cluster still runs, or the operator does not confirm.
pub(super) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let recovery = Recovery::open(&args.data).map_err(explained)?;
    say(&recovery, args)?;
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.force
        && let Some(running) = recovery.running().await.map_err(explained)?
    {
        return Err(still_runs(&recovery, &running).into());
    }
    if !args.yes {
        confirm(&recovery)?;
    }
    let done = recovery.carry_out().map_err(explained)?;
    let backup = done.backup.display().to_string();
    match args.output {
        Format::Json => output::json_line(&json!({
            "recovered": done.node,
            "cluster": done.cluster_id,
            "log": done.log_index_last,
            "backup": backup,
        }))?,
        Format::Table => {
            output::line(&format!("copied to {}", output::clean(&backup)))?;
            output::line(&format!(
                "node {} is the only member of cluster {}",
                done.node, done.cluster_id
            ))?;
        }
    }
    note(
        "start it as before; when it is ready, let the other machines join with empty \
         directories: conclave token create. Never start the old directories again: they are \
         refused",
    );
    Ok(ExitCode::SUCCESS)
}

/// Shows what the survivor has, and what may be lost.
fn say(recovery: &Recovery, args: &Args) -> anyhow::Result<()> {
    let standing = recovery.standing();
    let index = |id: Option<conclave_server::LogId>| id.map_or(0, |id| id.index);
    let term = |id: Option<conclave_server::LogId>| id.map_or(0, |id| id.term);
    let ack = match standing.ack_policy {
        AckPolicy::Majority => "majority",
        AckPolicy::All => "all",
    };
    let lost: Vec<u64> = recovery.lost().into_iter().collect();
    let voters: Vec<u64> = standing.members.all_voters().into_iter().collect();
    if args.output == Format::Json {
        output::json_line(&json!({
            "node": recovery.node(),
            "cluster": recovery.cluster_id(),
            "last_term": term(standing.last),
            "last_index": index(standing.last),
            "committed_index": index(standing.committed),
            "applied_index": index(standing.applied),
            "vote_term": standing.vote.map_or(0, |vote| vote.term),
            "voters": voters,
            "given_up": lost,
            "ack": ack,
        }))?;
        return Ok(());
    }
    let list = |nodes: &[u64]| {
        nodes
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    for row in [
        format!(
            "node: {} of cluster {}",
            recovery.node(),
            recovery.cluster_id()
        ),
        format!("voters: {}", list(&voters)),
        format!(
            "last entry: term {}, index {}",
            term(standing.last),
            index(standing.last)
        ),
        format!("known to be committed: up to {}", index(standing.committed)),
        format!("applied: up to {}", index(standing.applied)),
        format!("vote: term {}", standing.vote.map_or(0, |vote| vote.term)),
        format!("lost nodes: {}", list(&lost)),
        format!("acknowledgements waited for: {ack}"),
    ] {
        output::line(&row)?;
    }
    note(&format!(
        "compare with every other survivor (--dry-run): recover the one whose last entry has the \
         greatest term, and of those the greatest index. Everything up to its last entry is kept; \
         what was acknowledged after entry {} by lost nodes alone is lost",
        index(standing.last)
    ));
    if standing.ack_policy == AckPolicy::All {
        note(
            "acknowledgements waited for all voters: nothing that was acknowledged is lost if this \
             node had its vote until the others stopped. If they went on for more than 3 seconds \
             while it was away, they took its vote, and it may not know that: then recover another \
             survivor if there is one",
        );
    }
    Ok(())
}

/// Says that the other voters go on, or would go on with this node.
fn still_runs(recovery: &Recovery, running: &Running) -> CommandError {
    let numbers: Vec<String> = running.nodes.iter().map(u64::to_string).collect();
    let (nodes, answer) = match numbers.len() {
        1 => ("node", "answers"),
        _ => ("nodes", "answer"),
    };
    let leads = match running.leader {
        Some(leader) => format!(", and node {leader} leads"),
        None => String::new(),
    };
    let (numbers, node) = (numbers.join(", "), recovery.node());
    let sentence = format!("{nodes} {numbers} {answer}{leads}: the cluster is not lost");
    let hint = format!(
        "nothing was changed: start node {node} instead. With --force it takes the cluster from \
         the others, which stop for good"
    );
    CommandError::new(EXIT_CONFLICT, sentence, hint)
}

/// Asks the operator to type the number of the node.
fn confirm(recovery: &Recovery) -> anyhow::Result<()> {
    let node = recovery.node();
    let refused = |sentence: &str| {
        let hint = "nothing was changed; use --yes to go on without confirmation";
        CommandError::new(EXIT_USAGE, sentence.to_owned(), hint)
    };
    if !io::stdin().is_terminal() {
        return Err(refused("the recovery must be confirmed").into());
    }
    note(&format!(
        "the lost nodes can never come back with their data; type {node} to go on"
    ));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() == node.to_string() {
        true => Ok(()),
        false => Err(refused("the recovery was not confirmed").into()),
    }
}

fn explained(error: RecoverError) -> anyhow::Error {
    let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
    let sentence = causes.fold(error.to_string(), |all, cause| format!("{all}: {cause}"));
    let (code, hint) = match &error {
        RecoverError::Identity(IdentityError::InUse { .. }) => (
            EXIT_FAILED,
            "stop the node first: a node that runs needs no recovery by hand",
        ),
        RecoverError::NoNode { .. } => (EXIT_USAGE, "--data names the directory of a survivor"),
        RecoverError::Damaged { .. } => (EXIT_DAMAGED, "recover another survivor"),
        RecoverError::NoVoter { .. } => (
            EXIT_FAILED,
            "recover a survivor that voted; a learner may lack what was acknowledged",
        ),
        RecoverError::Witness { .. } => (
            EXIT_FAILED,
            "recover a full node that voted: start it with this one first if it lacks entries",
        ),
        RecoverError::NotCertain { .. } => (EXIT_FAILED, "look at all survivors first"),
        RecoverError::Identity(IdentityError::OtherUser { .. } | IdentityError::Lock { .. }) => (
            EXIT_FAILED,
            "run the command as the user that runs the node (sudo -u): the node could not use the \
             files of another one",
        ),
        RecoverError::CannotAsk { .. } => (
            EXIT_FAILED,
            "nothing was changed; --force recovers without asking: only if the others are off",
        ),
        RecoverError::NoRoom { .. } => (
            EXIT_FAILED,
            "nothing was changed: make room, for example remove earlier copies \
             (before-recover-N) and damaged-N from the directory",
        ),
        RecoverError::Interrupted { .. } => (
            EXIT_FAILED,
            "run the same command again, which goes on from there: docs/operations.md",
        ),
        RecoverError::Identity(_) | RecoverError::Replica(_) | RecoverError::Io { .. } => (
            EXIT_FAILED,
            "nothing was changed: see that the directory can be read and written",
        ),
    };
    CommandError::new(code, sentence, hint).into()
}
