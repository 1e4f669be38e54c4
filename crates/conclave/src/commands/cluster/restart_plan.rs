//! `conclave cluster restart-plan`: the commands that restart every node in turn.
//!
//! It changes nothing. What it writes to stdout is a script for `sh`.
//!
//! Always true: there is no plan while a voter is missing; the leader comes last, so leadership
//! moves once. The script is read whole before its first command runs, and none of its commands
//! reads it: a script that ends with 0 has restarted every node.

use std::process::ExitCode;

use conclave_client::v1;
use serde_json::{Value, json};

use super::{best_status, takes_part};
use crate::{
    connection::Connection,
    errors::{CommandError, EXIT_CONFLICT, EXIT_PERMISSION, EXIT_UNAVAILABLE, OPERATOR_HINT},
    output::{self, Format},
};

/// Arguments of `cluster restart-plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Command that restarts one node and ends when it has: {host}, {node} and {address} stand for
    /// the host of its client address, its number and that address
    #[arg(
        long,
        value_name = "COMMAND",
        default_value = "ssh -n {host} sudo systemctl restart conclave"
    )]
    restart: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// A node, and the commands that restart it.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    node: u64,
    address: String,
    role: &'static str,
    commands: Vec<String>,
}

/// Prints the plan.
///
/// # Errors
/// If no node answers, the caller is no operator, or a node is missing.
pub(super) async fn run(args: Args, connection: &Connection) -> anyhow::Result<ExitCode> {
    let client = connection.connect_as_operator().await?.client;
    let status = best_status(client.cluster_statuses().await).ok_or_else(|| {
        let hint = "start the nodes, or name others with --endpoints";
        CommandError::new(EXIT_UNAVAILABLE, "no node answered", hint)
    })?;
    let plan = plan(&status, &args.restart)?;
    match args.output {
        Format::Json => output::json_line(&Value::from_iter(plan.iter().map(json)))?,
        Format::Table => script(&plan)
            .iter()
            .try_for_each(|line| output::line(line))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the steps in their order: learners, followers, the leader.
fn plan(status: &v1::GetClusterStatusResponse, restart: &str) -> Result<Vec<Step>, CommandError> {
    if status.partial {
        let sentence = "the credential is no operator's of this cluster";
        return Err(CommandError::new(EXIT_PERMISSION, sentence, OPERATOR_HINT));
    }
    if let Some(why) = not_now(status) {
        let hint = "see `conclave cluster status`; a node that is missing while another one is \
                    restarted may be one too many";
        return Err(CommandError::new(EXIT_CONFLICT, why, hint));
    }
    let place = |node: &v1::NodeStatus| match node.role() {
        v1::NodeRole::Learner => 0,
        _ if node.node_id == status.leader_id => 2,
        _ => 1,
    };
    let mut nodes: Vec<&v1::NodeStatus> = status.nodes.iter().collect();
    nodes.sort_by_key(|node| (place(node), node.node_id));
    // A drain of the only voter would be refused: no other node can serve meanwhile.
    let is_alone = |node: &v1::NodeStatus| status.voters == 1 && place(node) > 0;
    let step = |node| step(node, restart, !is_alone(node));
    Ok(nodes.into_iter().map(step).collect())
}

/// Returns why no node may be restarted now.
fn not_now(status: &v1::GetClusterStatusResponse) -> Option<String> {
    if status.leader_id == 0 {
        return Some("no leader is elected: nothing may be restarted now".to_owned());
    }
    if let Some(node) = status.nodes.iter().find(|node| !takes_part(node)) {
        let id = node.node_id;
        let sentence = format!("node {id} does not take part: restart no other one before it does");
        return Some(sentence);
    }
    if let Some(node) = status.nodes.iter().find(|node| node.draining) {
        let id = node.node_id;
        return Some(format!(
            "node {id} is drained already: finish the work on it first"
        ));
    }
    // Addresses become words of a script.
    let is_word = |char: char| char.is_ascii_alphanumeric() || ".:-_[]".contains(char);
    let is_odd = |node: &&v1::NodeStatus| !node.client_address.chars().all(is_word);
    if let Some(node) = status.nodes.iter().find(is_odd) {
        let id = node.node_id;
        return Some(format!("the address of node {id} is not one for a script"));
    }
    if status.tolerates_failures == 0 && status.voters > 1 {
        let sentence = "no voter may be missing in this cluster: every restart would be a pause";
        return Some(sentence.to_owned());
    }
    None
}

fn step(node: &v1::NodeStatus, restart: &str, drained: bool) -> Step {
    let (id, address) = (node.node_id, output::clean(&node.client_address));
    let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host);
    let restart = restart
        .replace("{host}", host.trim_matches(['[', ']']))
        .replace("{node}", &id.to_string())
        .replace("{address}", &address);
    let drain = drained.then(|| format!("conclave node drain {id}"));
    let wait = format!("conclave node wait {id}");
    Step {
        node: id,
        role: super::role(node.role()),
        commands: drain.into_iter().chain([restart, wait]).collect(),
        address,
    }
}

fn json(step: &Step) -> Value {
    json!({
        "node": step.node,
        "address": step.address,
        "role": step.role,
        "commands": step.commands,
    })
}

/// Returns the plan as a script that ends at the first command that fails.
///
/// The braces make the shell read it whole before it runs any of it, and give each command another
/// stdin than the script: `ssh` reads its stdin to the end, and would take the steps that follow.
fn script(plan: &[Step]) -> Vec<String> {
    let count = plan.len();
    let mut lines = vec![
        format!("# Restarts {count} nodes in turn. Run it with: sh -e"),
        "set -e".to_owned(),
        "{".to_owned(),
    ];
    for (done, step) in plan.iter().enumerate() {
        let (node, role, address) = (step.node, step.role, &step.address);
        lines.push(format!(
            "# {} of {count}: node {node}, {role}, {address}",
            done + 1
        ));
        lines.extend(step.commands.iter().cloned());
    }
    lines.push(format!("echo 'restarted nodes: {count}'"));
    lines.push("} </dev/null".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write as _,
        os::unix::fs::PermissionsExt as _,
        process::{Command, Output, Stdio},
    };

    use super::*;

    fn node(id: u64, role: v1::NodeRole) -> v1::NodeStatus {
        v1::NodeStatus {
            node_id: id,
            client_address: format!("10.0.0.{id}:7400"),
            reachable: true,
            role: role.into(),
            ..Default::default()
        }
    }

    fn five() -> v1::GetClusterStatusResponse {
        let mut nodes: Vec<_> = (1..=5).map(|id| node(id, v1::NodeRole::Follower)).collect();
        nodes[1] = node(2, v1::NodeRole::Leader);
        nodes.push(node(6, v1::NodeRole::Learner));
        v1::GetClusterStatusResponse {
            nodes,
            voters: 5,
            voters_reachable: 5,
            tolerates_failures: 2,
            leader_id: 2,
            quorum: true,
            ..Default::default()
        }
    }

    #[test]
    fn the_leader_comes_last_and_each_step_waits_for_its_node() {
        let plan = plan(&five(), "ssh {host} restart-{node} {address}").unwrap();
        let order: Vec<u64> = plan.iter().map(|step| step.node).collect();
        assert_eq!(order, [6, 1, 3, 4, 5, 2]);
        let commands = [
            "conclave node drain 2",
            "ssh 10.0.0.2 restart-2 10.0.0.2:7400",
            "conclave node wait 2",
        ];
        assert_eq!(plan[5].commands, commands);
        let script = script(&plan);
        assert_eq!(script[3], "# 1 of 6: node 6, learner, 10.0.0.6:7400");
        assert_eq!(script.len(), 5 + 6 * 4);
    }

    /// Pipes a script into `sh -e`, with stand-ins for the programs that it names: each notes how
    /// it was called, reads its stdin to the end as `ssh` does, and fails for the node `broken`.
    fn piped(script: &str, broken: &str) -> (Output, Vec<String>) {
        let bin = tempfile::tempdir().unwrap();
        let calls = bin.path().join("calls");
        fs::write(&calls, "").unwrap();
        for name in ["conclave", "ssh"] {
            let file = bin.path().join(name);
            let text = format!(
                "#!/bin/sh\necho {name} \"$@\" >>'{}'\ncat >/dev/null\n\
                 case \"$*\" in *{broken}*) exit 69;; esac\n",
                calls.display()
            );
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = std::env::var("PATH").unwrap();
        let mut shell = Command::new("sh")
            .arg("-e")
            .env("PATH", format!("{}:{path}", bin.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = shell.stdin.take().unwrap();
        stdin.write_all(script.as_bytes()).unwrap();
        drop(stdin);
        let ended = shell.wait_with_output().unwrap();
        let calls = fs::read_to_string(&calls).unwrap();
        (ended, calls.lines().map(str::to_owned).collect())
    }

    #[test]
    fn every_step_of_the_script_runs_whatever_a_restart_reads() {
        let restart = "cat >/dev/null; ssh {host} restart";
        let plan = plan(&five(), restart).unwrap();
        let text = script(&plan).join("\n") + "\n";
        let (ended, calls) = piped(&text, "nothing");
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(ended.stdout, b"restarted nodes: 6\n");
        let expected = [6, 1, 3, 4, 5, 2].map(|id| {
            [
                format!("conclave node drain {id}"),
                format!("ssh 10.0.0.{id} restart"),
                format!("conclave node wait {id}"),
            ]
        });
        assert_eq!(calls, expected.concat());

        let (ended, calls) = piped(&text, "wait?1");
        assert_eq!(ended.status.code(), Some(69), "it ends at what fails");
        assert_eq!((calls.len(), &ended.stdout[..]), (6, &b""[..]));
        // A pipe that breaks half-way runs none of it.
        let (ended, calls) = piped(&text[..text.len() / 2], "nothing");
        assert!(!ended.status.success());
        assert_eq!(calls, [""; 0]);
    }

    #[test]
    fn the_only_voter_is_restarted_without_a_drain() {
        let alone = v1::GetClusterStatusResponse {
            nodes: vec![
                node(1, v1::NodeRole::Leader),
                node(2, v1::NodeRole::Learner),
            ],
            voters: 1,
            voters_reachable: 1,
            leader_id: 1,
            quorum: true,
            ..Default::default()
        };
        let plan = plan(&alone, "restart {node}").unwrap();
        let commands = plan.iter().map(|step| step.commands.join("; "));
        let expected = [
            "conclave node drain 2; restart 2; conclave node wait 2",
            "restart 1; conclave node wait 1",
        ];
        assert_eq!(commands.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn there_is_no_plan_while_a_node_is_missing() {
        let refused = |change: fn(&mut v1::GetClusterStatusResponse)| {
            let mut status = five();
            change(&mut status);
            plan(&status, "").unwrap_err().to_string()
        };
        let told = refused(|status| status.nodes[3].reachable = false);
        assert!(told.contains("node 4"), "{told}");
        let told = refused(|status| status.nodes[0].draining = true);
        assert!(told.contains("node 1 is drained"), "{told}");
        let told = refused(|status| status.leader_id = 0);
        assert!(told.contains("no leader"), "{told}");
        let told = refused(|status| status.tolerates_failures = 0);
        assert!(told.contains("pause"), "{told}");
        let told = refused(|status| status.nodes[2].client_address = "a;b:1".to_owned());
        assert!(told.contains("node 3 is not one"), "{told}");
        let told = refused(|status| status.partial = true);
        assert!(told.contains("operator"), "{told}");
    }
}
