//! `conclave cluster add`, `promote`, `demote`, `remove`, `replace`, `transfer-leader` and
//! `preferred-leader`; for operators.

use std::{process::ExitCode, time::Duration};

use conclave_client::{CallError, Client, Reason, v1};
use tokio::time::{Instant, sleep};
use v1::change_members_request::Change;

use crate::{
    connection::Connection,
    errors::{CommandError, EXIT_USAGE, note},
    output,
};

/// Longest time that `promote` waits for a learner that is catching up.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(600);
/// Pause between two attempts.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(500);

/// Options that every change has.
#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Proceed even if the nodes that answer now would be no majority afterwards
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Add a new node as a learner: it follows and does not vote
    Add {
        /// Number of the new node, which no node has had before
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        node: u64,
        /// Address at which peers will reach the node
        #[arg(long, value_name = "HOST:PORT")]
        peer_address: String,
        /// Address at which clients will reach the node
        #[arg(long, value_name = "HOST:PORT")]
        client_address: String,
        #[command(flatten)]
        how: How,
    },
    /// Give a learner a vote, as soon as it has caught up
    Promote {
        /// Node number
        node: u64,
        #[command(flatten)]
        how: How,
    },
    /// Make a voter a learner: it follows and no longer votes
    Demote {
        /// Node number
        node: u64,
        #[command(flatten)]
        how: How,
    },
    /// Remove a node from the cluster: it stops by itself
    Remove {
        /// Node number
        node: u64,
        #[command(flatten)]
        how: How,
    },
    /// Replace a node by a learner, in one step, as soon as the learner has caught up
    Replace {
        /// Number of the node that leaves
        old: u64,
        /// Number of the learner that takes its place
        new: u64,
        #[command(flatten)]
        how: How,
    },
    /// Set the node that leads while it is healthy
    PreferredLeader {
        /// Node number, or `none` for any elected node
        #[arg(value_name = "NODE", value_parser = node_or_none)]
        node: u64,
    },
    /// Transfer leadership to another node
    TransferLeader {
        /// Node number [default: the voter that has most of the log]
        #[arg(
            long,
            value_name = "NODE",
            default_value_t = 0,
            hide_default_value = true
        )]
        to: u64,
    },
}

/// Parses a node number or `none`: the protocol writes 0 for no node, and people write `none`.
fn node_or_none(text: &str) -> Result<u64, String> {
    match text.parse() {
        _ if text == "none" => Ok(0),
        Ok(0) | Err(_) => Err("the number of a node, or `none`".to_owned()),
        Ok(node) => Ok(node),
    }
}

/// Changes the members of the cluster, or its leader.
///
/// # Errors
/// If the caller is no operator, the change is refused, or there is no quorum for it.
pub(super) async fn run(command: Command, connection: &Connection) -> anyhow::Result<ExitCode> {
    let client = connection.connect_as_operator().await?.client;
    let (change, how) = match command {
        Command::TransferLeader { to } => {
            let leader = client.transfer_leader(to).await?;
            output::line(&format!("node {leader} is the leader"))?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::PreferredLeader { node } => {
            client.prefer_leader(node).await?;
            output::line(&match node {
                0 => "no leader is preferred: any elected node leads".to_owned(),
                node => format!("node {node} is the preferred leader"),
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Replace { old, new, .. } if old == new => return Err(itself(old)),
        Command::Replace { old, new, how } => {
            let replace = v1::ReplaceNode {
                old_node_id: old,
                new_node_id: new,
            };
            (Change::Replace(replace), how)
        }
        Command::Add {
            node,
            peer_address,
            client_address,
            how,
        } => {
            let node = v1::AddNode {
                node_id: node,
                peer_address,
                client_address,
                replaces_node_id: 0,
            };
            (Change::Add(node), how)
        }
        Command::Promote { node, how } => (Change::PromoteNodeId(node), how),
        Command::Demote { node, how } => (Change::DemoteNodeId(node), how),
        Command::Remove { node, how } => (Change::RemoveNodeId(node), how),
    };
    let request = v1::ChangeMembersRequest {
        change: Some(change.clone()),
        dry_run: how.dry_run,
        force: how.force,
    };
    let done = when_caught_up(&client, &request).await?;
    tell(&done, how.dry_run)?;
    if done.voter_node_ids.len() == 2 && done.changed {
        note(super::TWO_VOTERS);
    }
    if let Change::Add(node) = change
        && !how.dry_run
    {
        note(&next_steps(&node));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns what the operator does with a node that was added.
fn next_steps(node: &v1::AddNode) -> String {
    format!(
        "start it with: {}, where FILE has the secret of the cluster and MEMBERS are peer \
         addresses of members, HOST:PORT; then: conclave cluster promote {}",
        start(node),
        node.node_id
    )
}

/// Returns the command that starts a node which was added.
fn start(node: &v1::AddNode) -> String {
    format!(
        "conclave serve --node {} --secret-file FILE --data DIR --peer-address {} \
         --client-address {} --join MEMBERS",
        node.node_id,
        output::clean(&node.peer_address),
        output::clean(&node.client_address),
    )
}

/// Returns the error for a node that would replace itself.
fn itself(node: u64) -> anyhow::Error {
    let sentence = format!("node {node} cannot replace itself");
    let hint = "start a node that has moved with its data at its new addresses: it announces \
                them; a new machine takes its place with a token: conclave token create --replaces";
    CommandError::new(EXIT_USAGE, sentence, hint).into()
}

/// Repeats the request while a learner is catching up.
async fn when_caught_up(
    client: &Client,
    request: &v1::ChangeMembersRequest,
) -> Result<v1::ChangeMembersResponse, CallError> {
    let deadline = Instant::now() + CATCH_UP_LIMIT;
    let mut told = false;
    loop {
        match client.change_members(request.clone()).await {
            Err(CallError::Refused { reason, sentence })
                if reason == Reason::LearnerBehind && Instant::now() < deadline =>
            {
                if !std::mem::replace(&mut told, true) {
                    note(&format!("{sentence}; waiting until it has caught up"));
                }
                sleep(CATCH_UP_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

fn tell(done: &v1::ChangeMembersResponse, dry_run: bool) -> anyhow::Result<()> {
    let list = |nodes: &[u64]| match nodes {
        [] => "none".to_owned(),
        nodes => nodes
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    };
    let verb = match (dry_run, done.changed) {
        (_, false) => "nothing to change",
        (true, true) => "would be",
        (false, true) => "is now",
    };
    note(verb);
    output::line(&format!("voters: {}", list(&done.voter_node_ids)))?;
    output::line(&format!("learners: {}", list(&done.learner_node_ids)))?;
    output::line(&format!(
        "tolerates: {} more failures before, {} after",
        done.tolerated_before, done.tolerated_after
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn the_command_that_starts_an_added_node_is_whole() {
        let node = v1::AddNode {
            node_id: 4,
            peer_address: "10.0.0.4:7401".to_owned(),
            client_address: "10.0.0.4:7400".to_owned(),
            replaces_node_id: 0,
        };
        let start = start(&node);
        assert!(next_steps(&node).contains(&start));
        Cli::try_parse_from(start.split(' ')).unwrap();
        // Without its number it would ask for one, and without the secret it does not start.
        for part in [" --node 4 ", " --secret-file ", " --join ", " --data "] {
            assert!(start.contains(part), "{part}");
        }
    }
}
