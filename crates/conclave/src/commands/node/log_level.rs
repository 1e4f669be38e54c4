//! `conclave node log-level`: which lines the logs of the nodes have.

use std::process::ExitCode;

use conclave_client::{CallError, Client};
use futures::future::join_all;
use serde_json::json;

use crate::{
    connection::Connection,
    errors::{CommandError, EXIT_NOT_FOUND, EXIT_UNAVAILABLE},
    output::{self, Format},
};

/// Arguments of `node log-level`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Level (off, error, warn, info, debug, trace), or TARGET=LEVEL with commas between; without
    /// it, show the filters in use
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Number of the node [default: all nodes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    node: Option<u64>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Changes the filters of the nodes if one is given, and shows those in use.
///
/// # Errors
/// If the caller is no operator, the filter is none, or a node does not answer.
pub(super) async fn run(args: Args, connection: &Connection) -> anyhow::Result<ExitCode> {
    let client = connection.connect_as_operator().await?.client;
    let nodes = nodes(&client, args.node).await?;
    let filter = args.filter.as_deref().unwrap_or_default();
    let asked = nodes.into_iter().map(|(node, endpoint)| {
        let client = &client;
        async move { (node, client.change_log_filter(&endpoint, filter).await) }
    });
    let mut silent = Vec::new();
    let mut found = Vec::new();
    for (node, answer) in join_all(asked).await {
        match answer {
            Ok(filter) => found.push((node, filter)),
            Err(CallError::NotDone { .. } | CallError::Unknown { .. }) => silent.push(node),
            Err(refused) => return Err(refused.into()),
        }
    }
    match args.output {
        Format::Json => {
            for (node, filter) in &found {
                output::json_line(&json!({"node": node, "filter": filter}))?;
            }
        }
        Format::Table => {
            let row = |(node, filter): &(u64, String)| vec![node.to_string(), filter.clone()];
            output::table(
                &["node", "filter"],
                &found.iter().map(row).collect::<Vec<_>>(),
            )?;
        }
    }
    if silent.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let silent: Vec<String> = silent.iter().map(u64::to_string).collect();
    let sentence = format!("these nodes do not answer: {}", silent.join(", "));
    let hint = "see which nodes are up with: conclave cluster status";
    Err(CommandError::new(EXIT_UNAVAILABLE, sentence, hint).into())
}

/// Returns the number and the client address of this node, or of all nodes.
async fn nodes(client: &Client, only: Option<u64>) -> anyhow::Result<Vec<(u64, String)>> {
    let statuses = client.cluster_statuses().await;
    let status = statuses.into_iter().find_map(|(_, status)| status.ok());
    let Some(status) = status else {
        let sentence = "no node answers";
        let hint = "name nodes that run with --endpoints";
        return Err(CommandError::new(EXIT_UNAVAILABLE, sentence, hint).into());
    };
    let nodes = status.nodes.into_iter();
    let nodes = nodes.filter(|node| only.is_none_or(|only| only == node.node_id));
    let nodes: Vec<(u64, String)> = nodes
        .map(|node| (node.node_id, node.client_address))
        .collect();
    match (nodes.is_empty(), only) {
        (true, Some(node)) => {
            let sentence = format!("there is no node {node}");
            let hint = "see the nodes with: conclave cluster status";
            Err(CommandError::new(EXIT_NOT_FOUND, sentence, hint).into())
        }
        _ => Ok(nodes),
    }
}
