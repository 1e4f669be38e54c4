//! `conclave cluster ack`, and what the status says of acknowledgements and of nodes that recover
//! the cluster by themselves; for operators.

use std::process::ExitCode;

use clap::ValueEnum;
use conclave_client::v1::{self, AckPolicy, RecoveryMode};

use crate::{connection::Connection, errors::note, output};

/// Voters that an acknowledgement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Voters {
    /// A majority: fast, and goes on while a minority is away
    Majority,
    /// All: whichever voter is left after crashes has all that was acknowledged. One that is away
    /// holds every acknowledgement back for up to 3 seconds, and then loses its vote until it has
    /// caught up
    All,
}

/// Sets which voters acknowledgements wait for.
///
/// # Errors
/// If the caller is no operator, the cluster version is too low, or there is no quorum.
pub(super) async fn run(voters: Voters, connection: &Connection) -> anyhow::Result<ExitCode> {
    let client = connection.connect_as_operator().await?.client;
    let policy = match voters {
        Voters::Majority => AckPolicy::Majority,
        Voters::All => AckPolicy::All,
    };
    client.set_ack_policy(policy).await?;
    match voters {
        Voters::Majority => output::line("acknowledgements wait for a majority of the voters")?,
        Voters::All => {
            output::line("acknowledgements wait for all voters")?;
            note(RISK);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What an operator must know who has set that all voters are waited for.
const RISK: &str = "a voter that is away holds every acknowledgement back for up to 3 seconds, \
    then loses its vote until it has caught up. The last survivor has all that was acknowledged \
    only if it had its vote until the others stopped";

/// Returns the word for a policy; `None` if the node has not said it.
pub(super) fn word(policy: AckPolicy) -> Option<&'static str> {
    match policy {
        AckPolicy::Unspecified => None,
        AckPolicy::Majority => Some("majority"),
        AckPolicy::All => Some("all"),
    }
}

/// Returns what the status says for people: nothing if acknowledgements wait for a majority and no
/// node is set aside.
pub(super) fn told(status: &v1::GetClusterStatusResponse) -> Vec<String> {
    let mut told = Vec::new();
    if status.ack_policy() == AckPolicy::All {
        told.push(format!("acknowledgements wait for all voters: {RISK}"));
        if status.voters == 1 {
            let sentence = "warning: acknowledgements wait for all voters, and there is only one";
            told.push(sentence.to_owned());
        }
    }
    for node in status.nodes.iter().filter(|node| node.set_aside) {
        let id = node.node_id;
        told.push(format!(
            "warning: node {id} was set aside, because acknowledgements waited for it: it votes \
             again once it has caught up; to give it up: conclave cluster remove {id}"
        ));
    }
    told.extend(
        status
            .nodes
            .iter()
            .filter_map(|node| alone(node, status.voters)),
    );
    told
}

/// Returns what is said of a node that recovers the cluster without an operator, or has.
fn alone(node: &v1::NodeStatus, voters: u32) -> Option<String> {
    let recovery = node.recovery.as_ref()?;
    let id = node.node_id;
    // Once another machine votes again, the operator has seen it.
    if recovery.recovered_by() != RecoveryMode::Unspecified && voters == 1 {
        let given_up = recovery.given_up_node_ids.iter().map(u64::to_string);
        let given_up = given_up.collect::<Vec<_>>().join(", ");
        let how = match recovery.recovered_by() {
            RecoveryMode::Fenced => "the command has proven the other voter off",
            _ => "without proof that the other voter was off",
        };
        return Some(format!(
            "warning: node {id} has recovered the cluster alone ({how}), and nodes {given_up} are \
             given up: let machines join with empty directories: conclave token create"
        ));
    }
    (recovery.mode() == RecoveryMode::Assumed).then(|| {
        format!(
            "warning: node {id} takes a machine that does not answer to be off \
             (recover.assume_fail_stop): of two voters the one with the lowest number goes on \
             alone, also when only the network between them is cut; the other is given up then"
        )
    })
}

/// Returns what the JSON of a node has about that.
pub(super) fn recovery(recovery: &v1::NodeRecovery) -> serde_json::Value {
    let word = |mode: RecoveryMode| match mode {
        RecoveryMode::Unspecified => None,
        RecoveryMode::Fenced => Some("fenced"),
        RecoveryMode::Assumed => Some("assumed"),
    };
    let has = recovery.recovered_by() != RecoveryMode::Unspecified;
    serde_json::json!({
        "mode": word(recovery.mode()),
        "ready": recovery.ready,
        "recovered_by": word(recovery.recovered_by()),
        "recovered_at_ms": has.then_some(recovery.recovered_at_ms),
        "given_up": recovery.given_up_node_ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_names_the_risk_and_the_nodes_that_are_set_aside() {
        let mut status = v1::GetClusterStatusResponse {
            voters: 3,
            ack_policy: AckPolicy::Majority.into(),
            ..Default::default()
        };
        assert_eq!(told(&status), Vec::<String>::new());
        status.ack_policy = AckPolicy::All.into();
        assert!(told(&status)[0].contains("loses its vote"));
        status.voters = 1;
        status.nodes = vec![v1::NodeStatus {
            node_id: 2,
            set_aside: true,
            ..Default::default()
        }];
        let shown = told(&status);
        assert!(shown[1].contains("only one"), "{shown:?}");
        assert!(shown[2].contains("node 2 was set aside"), "{shown:?}");
        status.ack_policy = AckPolicy::Majority.into();
        status.nodes[0].set_aside = false;
        status.nodes[0].recovery = Some(v1::NodeRecovery {
            mode: RecoveryMode::Assumed.into(),
            ..Default::default()
        });
        assert!(told(&status)[0].contains("recover.assume_fail_stop"));
        status.nodes[0].recovery = Some(v1::NodeRecovery {
            mode: RecoveryMode::Fenced.into(),
            recovered_by: RecoveryMode::Fenced.into(),
            recovered_at_ms: 7,
            given_up_node_ids: vec![1, 3],
            ready: false,
        });
        let shown = told(&status);
        assert!(shown[0].contains("nodes 1, 3 are given up"), "{shown:?}");
        status.voters = 3;
        assert_eq!(told(&status), Vec::<String>::new());
    }
}
