//! `conclave cluster upgrade-check` and `upgrade finalize`: the way to another release; for
//! operators.
//!
//! Always true: a check changes nothing, and finalizing is refused unless every member has said
//! that it can apply the new version.

use std::{io::IsTerminal as _, process::ExitCode};

use conclave_client::v1;
use serde_json::{Value, json};

use crate::{
    connection::Connection,
    errors::{EXIT_CONFLICT, note},
    output::{self, Format},
};

/// Arguments of `cluster upgrade`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Raise the cluster version once every node runs the new release: what the release adds works
    /// from then on, and no node can go back to the release before
    Finalize {
        /// Cluster version to raise to, if it is not the newest one that every node can apply
        #[arg(
            long,
            value_name = "NUMBER",
            default_value_t = 0,
            hide_default_value = true
        )]
        version: u32,
        /// Output format
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

/// Finalizes an upgrade.
///
/// # Errors
/// If the caller is no operator, a member does not answer or cannot apply the version, or there is
/// no quorum.
pub(super) async fn run(args: Args, connection: &Connection) -> anyhow::Result<ExitCode> {
    let Command::Finalize { version, output } = args.command;
    let client = connection.connect_as_operator().await?.client;
    let version = client.finalize_upgrade(version).await?;
    match output {
        Format::Json => output::json_line(&json!({ "cluster_version": version }))?,
        Format::Table => output::line(&format!("the cluster has version {version}"))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows whether a node can be stopped to be upgraded now, and whether the upgrade can be
/// finalized.
///
/// # Errors
/// If the caller is no operator, or no node answers.
pub(super) async fn check(format: Format, connection: &Connection) -> anyhow::Result<ExitCode> {
    let client = connection.connect_as_operator().await?.client;
    let told = client.check_upgrade().await?;
    if format == Format::Json {
        output::json_line(&json(&told))?;
    } else {
        show(&told)?;
    }
    Ok(match told.stop_obstacles.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(EXIT_CONFLICT),
    })
}

fn show(told: &v1::CheckUpgradeResponse) -> anyhow::Result<()> {
    const HEADER: [&str; 4] = ["node", "program", "versions", "role"];
    let rows: Vec<_> = told.nodes.iter().map(row).collect();
    for line in output::table_lines(&HEADER, &rows) {
        output::line(&line)?;
    }
    for line in verdict(told) {
        // Between columns for programs it would be a row of its own kind.
        match std::io::stdout().is_terminal() {
            true => output::line(&line)?,
            false => note(&line),
        }
    }
    Ok(())
}

fn row(node: &v1::UpgradeNode) -> Vec<String> {
    let (program, versions, role) = match node.reachable {
        false => ("-".to_owned(), "-".to_owned(), "unreachable"),
        true => (
            output::clean(&node.program_version),
            format!("{} to {}", node.oldest_version, node.newest_version),
            if node.leads { "leader" } else { "" },
        ),
    };
    vec![node.node_id.to_string(), program, versions, role.to_owned()]
}

/// Returns the answer in sentences: first whether it is safe, then the cluster version.
fn verdict(told: &v1::CheckUpgradeResponse) -> Vec<String> {
    let mut lines = Vec::new();
    if told.stop_obstacles.is_empty() {
        let leader = told.nodes.iter().find(|node| node.leads);
        let last = leader.map_or_else(String::new, |leader| {
            format!(", node {} (the leader) last", leader.node_id)
        });
        lines.push(format!(
            "safe: nodes can be upgraded now, one at a time{last}"
        ));
    } else {
        lines.push("not safe: no node should be stopped now".to_owned());
        lines.extend(told.stop_obstacles.iter().map(obstacle));
    }
    let (now, to) = (told.cluster_version, told.finalizes_to);
    if now >= to && told.finalize_obstacles.is_empty() {
        lines.push(format!(
            "cluster version {now}: there is nothing to finalize"
        ));
    } else if told.finalize_obstacles.is_empty() {
        lines.push(format!(
            "cluster version {now}: nodes can go back to the release before, until the upgrade to \
             version {to} is finalized: conclave cluster upgrade finalize"
        ));
    } else {
        lines.push(format!(
            "cluster version {now}: the upgrade cannot be finalized yet"
        ));
        lines.extend(told.finalize_obstacles.iter().map(obstacle));
    }
    lines
}

fn obstacle(obstacle: &v1::UpgradeObstacle) -> String {
    let sentence = output::clean(&obstacle.sentence);
    match obstacle.node_id {
        0 => format!("  {sentence}"),
        node => format!("  node {node}: {sentence}"),
    }
}

fn json(told: &v1::CheckUpgradeResponse) -> Value {
    let obstacles = |of: &[v1::UpgradeObstacle]| -> Vec<Value> {
        let shown = |o: &v1::UpgradeObstacle| {
            let (node, kind, sentence) = (o.node_id, &o.kind, &o.sentence);
            json!({"node": node, "kind": kind, "sentence": sentence})
        };
        of.iter().map(shown).collect()
    };
    let node = |node: &v1::UpgradeNode| {
        json!({
            "node": node.node_id,
            "reachable": node.reachable,
            "program": node.program_version,
            "oldest_version": node.oldest_version,
            "newest_version": node.newest_version,
            "leads": node.leads,
        })
    };
    json!({
        "safe": told.stop_obstacles.is_empty(),
        "obstacles": obstacles(&told.stop_obstacles),
        "cluster_version": told.cluster_version,
        "finalizes_to": told.finalizes_to,
        "can_finalize": told.finalizes_to > told.cluster_version
            && told.finalize_obstacles.is_empty(),
        "finalize_obstacles": obstacles(&told.finalize_obstacles),
        "nodes": told.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(stop: &[&str], finalize: &[&str], now: u32, to: u32) -> v1::CheckUpgradeResponse {
        let obstacle = |sentence: &&str| v1::UpgradeObstacle {
            node_id: 3,
            sentence: (*sentence).to_owned(),
            kind: "kind".to_owned(),
        };
        v1::CheckUpgradeResponse {
            cluster_version: now,
            finalizes_to: to,
            nodes: vec![v1::UpgradeNode {
                node_id: 1,
                reachable: true,
                leads: true,
                ..Default::default()
            }],
            stop_obstacles: stop.iter().map(obstacle).collect(),
            finalize_obstacles: finalize.iter().map(obstacle).collect(),
        }
    }

    #[test]
    fn the_verdict_says_whether_it_is_safe_and_what_is_next() {
        let lines = verdict(&told(&[], &[], 2, 2));
        assert!(lines[0].starts_with("safe") && lines[0].contains("node 1"));
        assert!(lines[1].contains("nothing to finalize"), "{lines:?}");
        let lines = verdict(&told(&["it sleeps"], &[], 1, 2));
        assert!(lines[0].starts_with("not safe"), "{lines:?}");
        assert_eq!(lines[1], "  node 3: it sleeps");
        assert!(lines[2].contains("upgrade finalize"), "{lines:?}");
        let lines = verdict(&told(&[], &["it is old"], 1, 1));
        assert!(lines[1].contains("cannot be finalized"), "{lines:?}");
        assert_eq!(lines[2], "  node 3: it is old");
    }

    #[test]
    fn the_json_says_what_a_script_asks() {
        let shown = json(&told(&[], &[], 1, 2));
        assert_eq!(
            (&shown["safe"], &shown["can_finalize"]),
            (&json!(true), &json!(true))
        );
        let shown = json(&told(&["it sleeps"], &["it is old"], 1, 2));
        assert_eq!(
            (&shown["safe"], &shown["can_finalize"]),
            (&json!(false), &json!(false))
        );
        assert_eq!(shown["obstacles"][0]["node"], 3);
    }
}
