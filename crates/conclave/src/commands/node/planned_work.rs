//! `conclave node drain`, `undrain` and `wait`: takes the clients of a node to the others before
//! work on its machine, and waits until the node is back.

use std::{process::ExitCode, time::Duration};

use conclave_client::{Client, v1};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::super::cluster::{best_status, commit_max, takes_part};
use crate::{
    connection::{Connected, Connection},
    errors::{CommandError, EXIT_NOT_FOUND, EXIT_TEMPORARY, EXIT_UNAVAILABLE, EXIT_USAGE, note},
    output::{self, Format},
};

/// Longest time that a node may take to leave its clients.
const DRAIN_LIMIT: Duration = Duration::from_secs(120);
/// Interval between two looks at a node.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Maximum lag of a node that is back, in entries: as of a node that may lead. Under load a node is
/// always behind the others by what they have decided since it was asked.
const LAG_MAX: u64 = 1000;

/// Planned work on the machine of a node.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Take the clients of a node to the other nodes: it is not ready, does not lead, and sends its
    /// streams and calls elsewhere. It goes on voting. A restart of the node ends this
    Drain {
        /// Node number [default: the one node that --endpoints names]
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        node: Option<u64>,
        /// Proceed even if too few of the other voters answer that are not drained
        #[arg(long)]
        force: bool,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Let a drained node serve clients again
    Undrain {
        /// Node number [default: the one node that --endpoints names]
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        node: Option<u64>,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Wait until a node has restarted and caught up, and all voters answer
    Wait {
        /// Node number
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        node: u64,
        /// Longest time to wait, in seconds
        #[arg(
            long,
            default_value_t = 300,
            value_parser = clap::value_parser!(u64).range(1..=86_400),
            value_name = "SECONDS"
        )]
        within: u64,
    },
}

/// Drains a node, ends that, or waits for a node.
///
/// # Errors
/// If the caller is no operator, the node is unknown or does not answer, or too few voters would be
/// left.
pub(super) async fn run(command: Command, connection: &Connection) -> anyhow::Result<ExitCode> {
    let connected = connection.connect_as_operator().await?;
    match command {
        Command::Drain {
            node,
            force,
            output,
        } => {
            let node_id = named(node, &connected).await?;
            let request = v1::DrainNodeRequest {
                node_id,
                undrain: false,
                force,
            };
            tell(&drain(&connected.client, request).await?, output)?;
        }
        Command::Undrain { node, output } => {
            let request = v1::DrainNodeRequest {
                node_id: named(node, &connected).await?,
                undrain: true,
                force: false,
            };
            tell(&connected.client.drain_node(request).await?, output)?;
        }
        Command::Wait { node, within } => {
            wait(&connected.client, node, Duration::from_secs(within)).await?;
            output::line(&format!("node {node} is back"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the number that was given, or that of the one node that the command asks.
async fn named(node: Option<u64>, connected: &Connected) -> anyhow::Result<u64> {
    match (node, &connected.endpoints[..]) {
        (Some(node), _) => Ok(node),
        (None, [endpoint]) => Ok(connected.client.cluster_status(endpoint).await?.node_id),
        (None, _) => {
            let sentence = "which node is meant?";
            let hint = "give its number (conclave cluster status), or one address with --endpoints";
            Err(CommandError::new(EXIT_USAGE, sentence, hint).into())
        }
    }
}

/// Asks until the node has left its clients.
async fn drain(
    client: &Client,
    request: v1::DrainNodeRequest,
) -> anyhow::Result<v1::DrainNodeResponse> {
    let (node, deadline) = (request.node_id, Instant::now() + DRAIN_LIMIT);
    let mut has_begun = false;
    loop {
        let told = client.drain_node(request).await?;
        if told.drained {
            return Ok(told);
        }
        if has_begun && !told.draining {
            let sentence = format!("the drain of node {node} was ended");
            let hint =
                "another operator has run `conclave node undrain`, or the node was restarted";
            return Err(CommandError::new(EXIT_TEMPORARY, sentence, hint).into());
        }
        if Instant::now() >= deadline {
            let sentence = format!("node {node} has not left its clients yet");
            let hint = "it goes on doing so; run the command again";
            return Err(CommandError::new(EXIT_TEMPORARY, sentence, hint).into());
        }
        if !std::mem::replace(&mut has_begun, true) {
            note(&format!("draining node {node}: {} streams", told.streams));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn tell(told: &v1::DrainNodeResponse, output: Format) -> anyhow::Result<()> {
    let node = told.node_id;
    if output == Format::Json {
        return Ok(output::json_line(&json!({
            "node": node,
            "draining": told.draining,
            "drained": told.drained,
            "leader": told.leader_node_id,
            "streams": told.streams,
        }))?);
    }
    let sentence = match (told.draining, told.leader_node_id) {
        (false, _) => format!("node {node} serves clients"),
        (true, 0) => format!("node {node} is drained; no leader is known"),
        (true, leader) => format!("node {node} is drained; node {leader} leads"),
    };
    Ok(output::line(&sentence)?)
}

/// Waits until nothing is missing.
async fn wait(client: &Client, node: u64, limit: Duration) -> Result<(), CommandError> {
    let deadline = Instant::now() + limit;
    let mut told = None;
    loop {
        let missing = match best_status(client.cluster_statuses().await) {
            Some(status) => missing(&status, node)?,
            None => Some("no node answers".to_owned()),
        };
        let Some(missing) = missing else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            let seconds = limit.as_secs();
            let sentence = format!("node {node} is not back after {seconds} s: {missing}");
            let hint = "see the log of the node that is missing, and `conclave cluster status`; \
                        restart no other node before";
            return Err(CommandError::new(EXIT_UNAVAILABLE, sentence, hint));
        }
        if told.as_ref() != Some(&missing) {
            note(&format!("waiting: {missing}"));
            told = Some(missing);
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Returns what keeps the cluster from losing another node: this one is not back, or another voter
/// is missing.
fn missing(
    status: &v1::GetClusterStatusResponse,
    node: u64,
) -> Result<Option<String>, CommandError> {
    let Some(own) = status.nodes.iter().find(|known| known.node_id == node) else {
        let sentence = format!("node {node} is no member of the cluster");
        let hint = "conclave cluster status shows the numbers of the members";
        return Err(CommandError::new(EXIT_NOT_FOUND, sentence, hint));
    };
    let lag = commit_max(status).saturating_sub(own.applied_index);
    let missing = if !own.reachable {
        format!("node {node} does not answer")
    } else if own.draining {
        format!("node {node} is drained: it was not restarted yet")
    } else if !takes_part(own) {
        format!("node {node} does not take part yet")
    } else if lag > LAG_MAX {
        format!("node {node} lacks {lag} entries")
    } else if status.leader_id == 0 {
        "no leader is elected".to_owned()
    } else if status.voters_reachable < status.voters {
        let (up, all) = (status.voters_reachable, status.voters);
        format!("{up} of {all} voters answer")
    } else {
        return Ok(None);
    };
    Ok(Some(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_back_when_nothing_is_missing() {
        let back = v1::NodeStatus {
            node_id: 2,
            reachable: true,
            applied_index: 9_500,
            ..Default::default()
        };
        let leader = v1::NodeStatus {
            node_id: 1,
            commit_index: 10_000,
            ..back.clone()
        };
        let whole = v1::GetClusterStatusResponse {
            nodes: vec![leader.clone(), back.clone()],
            voters: 3,
            voters_reachable: 3,
            leader_id: 1,
            ..Default::default()
        };
        let look = |status: &v1::GetClusterStatusResponse| missing(status, 2).unwrap();
        let with = |own: v1::NodeStatus| v1::GetClusterStatusResponse {
            nodes: vec![leader.clone(), own],
            ..whole.clone()
        };
        assert_eq!(look(&whole), None);
        for (status, part) in [
            (
                with(v1::NodeStatus {
                    reachable: false,
                    ..back.clone()
                }),
                "does not answer",
            ),
            (
                with(v1::NodeStatus {
                    draining: true,
                    ..back.clone()
                }),
                "not restarted yet",
            ),
            (
                with(v1::NodeStatus {
                    waits: true,
                    ..back.clone()
                }),
                "does not take part",
            ),
            (
                with(v1::NodeStatus {
                    applied_index: 8_000,
                    ..back.clone()
                }),
                "lacks 2000 entries",
            ),
            (
                v1::GetClusterStatusResponse {
                    leader_id: 0,
                    ..whole.clone()
                },
                "no leader",
            ),
            (
                v1::GetClusterStatusResponse {
                    voters_reachable: 2,
                    ..whole.clone()
                },
                "2 of 3 voters",
            ),
        ] {
            let told = look(&status).unwrap();
            assert!(told.contains(part), "{told}");
        }
        assert!(missing(&whole, 9).is_err());
    }
}
