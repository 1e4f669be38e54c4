//! Runs the operator's command that proves that machines are off.
//!
//! Always true: only exit code 0 within the limit is a proof; what the command has started in its
//! process group does not outlive the limit.

use std::{process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{process::Command, time::timeout};

/// Variable with the number of the node that runs the command.
const NODE: &str = "CONCLAVE_NODE";

/// Runs the command with `NUMBER=PEER_ADDRESS` of each other voter as an argument.
///
/// # Errors
/// Why nothing is proven, for the log.
pub(super) async fn prove(
    command: &str,
    limit: Duration,
    node: u64,
    others: &[(u64, String)],
) -> Result<(), String> {
    if others.is_empty() {
        return Err("no other voter is known".to_owned());
    }
    let arguments = others.iter().map(|(other, at)| format!("{other}={at}"));
    let started = Command::new("/bin/sh")
        .args(["-c", &format!("{command} \"$@\""), "conclave-fence"])
        .args(arguments)
        .env(NODE, node.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut running = started.map_err(|error| format!("cannot run the command: {error}"))?;
    let group = running.id();
    let ended = timeout(limit, running.wait()).await;
    // Nothing of it goes on behind the node's back, whatever came of it.
    let group = group.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("the command has ended with {status}")),
        Ok(Err(error)) => Err(format!("the command is lost: {error}")),
        Err(_) => Err(format!(
            "the command has not ended within {} s",
            limit.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn others() -> Vec<(u64, String)> {
        vec![(3, "10.0.0.3:7401".to_owned())]
    }

    #[tokio::test]
    async fn only_exit_code_0_within_the_limit_is_a_proof() {
        let directory = tempfile::tempdir().unwrap();
        let told = directory.path().join("told");
        let tells = format!("sh -c 'echo \"$CONCLAVE_NODE $@\" > {}' x", told.display());
        prove(&tells, LIMIT, 2, &others()).await.unwrap();
        let text = std::fs::read_to_string(told).unwrap();
        assert_eq!(text, "2 3=10.0.0.3:7401\n");
        let prove = async |command, limit| prove(command, limit, 2, &others()).await;
        let failed = prove("exit 3; true", LIMIT).await.unwrap_err();
        assert!(failed.contains('3'), "{failed}");
        let missing = prove("/no/such/program", LIMIT).await.unwrap_err();
        assert!(missing.contains("127"), "{missing}");
        let late = prove("sleep 600; true", Duration::from_millis(50));
        let late = late.await.unwrap_err();
        assert!(late.contains("not ended"), "{late}");
    }

    #[tokio::test]
    async fn without_another_voter_nothing_is_proven() {
        assert!(prove("true", LIMIT, 2, &[]).await.is_err());
    }
}
