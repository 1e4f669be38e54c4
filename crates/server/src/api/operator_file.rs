//! Keeps the credential of the first operator in the data directory of the node that made it, and
//! replaces all operators if the owner of a voter's directory asks for it.
//!
//! Three files, which only the owner of the directory can read:
//! * `operator.token`: the credential of an operator of the cluster, at the time it was written;
//! * `operator.draft`: the same credential before the log has accepted it;
//! * `operator.reset`: a credential that replaces all operators, written by `conclave operator
//!   reset`.
//!
//! Always true: a credential is on disk before the log is asked to accept it, and is never logged.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use conclave_core::{Command, Rejection};
use conclave_wire::{OperatorCredential, Problem, request};

use crate::{
    api::operators::once_of,
    base::{deadline::Deadline, random},
    context::{access::accepted, node_context::NodeContext},
    files::durable,
    protocol::problems,
};

/// File of a credential that the cluster has accepted.
pub const OPERATOR_FILE: &str = "operator.token";
/// File of a credential that the cluster has not accepted yet.
const DRAFT_FILE: &str = "operator.draft";
/// File of a credential that replaces all operators.
pub const OPERATOR_RESET_FILE: &str = "operator.reset";

/// Maximum length of a file in bytes: a credential has 63.
const FILE_BYTES_MAX: u64 = 1024;
/// How often a node looks for work: two file names.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a look that failed: a leader cannot propose right after its election.
const AGAIN_INTERVAL: Duration = Duration::from_millis(100);
/// How long the log may take to accept a credential. A credential without an outcome is proposed
/// again.
const PROPOSE_LIMIT: Duration = Duration::from_secs(3);

/// Reason why a look failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Problem(#[from] Problem),
    #[error(transparent)]
    File(#[from] io::Error),
}

/// Looks after the files for as long as the node runs.
pub(crate) async fn keep(shared: Arc<NodeContext>) {
    let mut leader = shared.replica.leader();
    let mut stopping = shared.stopping.subscribe();
    let mut has_first = false;
    loop {
        leader.borrow_and_update();
        let mut pause = LOOK_INTERVAL;
        if let Err(error) = look(&shared, &mut has_first).await {
            tracing::debug!(%error, "failed to maintain the operators; retrying");
            if matches!(error, Failed::Problem(_)) {
                pause = AGAIN_INTERVAL;
            }
        }
        tokio::select! {
            changed = leader.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

async fn look(shared: &NodeContext, has_first: &mut bool) -> Result<(), Failed> {
    if !*has_first {
        *has_first = !shared.read(|reader| reader.operators()).await?.is_empty();
    }
    if *has_first {
        settle_draft(shared).await?;
    } else if *shared.replica.leader().borrow() == Some(shared.identity.node) {
        make_first(shared).await?;
    }
    reset(shared).await
}

/// Makes the first operator, as the leader of a cluster without operators. The next look finds out
/// what became of the proposal.
async fn make_first(shared: &NodeContext) -> Result<(), Failed> {
    let credential = match read(&path(shared, DRAFT_FILE))? {
        Some(credential) => credential,
        None => {
            let made = OperatorCredential::from_bytes(random::bytes()?);
            write(&path(shared, DRAFT_FILE), &made)?;
            made
        }
    };
    let hash = credential.hash();
    let command = request::make_first_operator(once_of(&hash), hash);
    // Only proposed at this node: other leaders make credentials of their own.
    let mut proposed = shared
        .replica
        .propose_here(vec![command], PROPOSE_LIMIT)
        .await;
    let outcome = match proposed.pop() {
        Some(outcome) => outcome.map_err(|error| problems::of_propose(&error))?,
        None => return Err(Problem::GoingAway.into()),
    };
    match outcome.answer {
        Ok(_) | Err(Rejection::NotAllowed) => settle_draft(shared).await,
        Err(rejection) => Err(Problem::from(rejection).into()),
    }
}

/// Publishes the draft if it is the credential of an operator; removes it if another node's
/// credential was accepted instead.
async fn settle_draft(shared: &NodeContext) -> Result<(), Failed> {
    let draft = path(shared, DRAFT_FILE);
    let Some(credential) = read(&draft)? else {
        return Ok(());
    };
    let hash = credential.hash();
    let known =
        shared.read(move |reader| Ok((reader.operator_by_token(&hash)?, reader.operators()?)));
    let (own, all) = known.await?;
    if own.is_some() {
        publish(shared, &credential)?;
    } else if all.is_empty() {
        // The log has accepted an operator, and this node has not applied it yet.
        return Ok(());
    }
    Ok(durable::remove(&draft)?)
}

/// Replaces all operators if the owner of this directory asks for it.
async fn reset(shared: &NodeContext) -> Result<(), Failed> {
    let file = path(shared, OPERATOR_RESET_FILE);
    let Some(credential) = read(&file)? else {
        return Ok(());
    };
    let members = shared.replica.status().members;
    if !members.all_voters().contains(&shared.identity.node) {
        if shared.operators.should_log("operator reset") {
            let file = file.display();
            tracing::warn!(%file, "failed to replace the operators: this node does not vote");
        }
        return Ok(());
    }
    let hash = credential.hash();
    let command: Command = request::reset_operators(once_of(&hash), hash);
    let outcome = shared
        .propose(command, Deadline::after(PROPOSE_LIMIT))
        .await?;
    accepted(&outcome, |_| Some(()))?;
    publish(shared, &credential)?;
    durable::remove(&file)?;
    tracing::warn!("replaced all operators by one, as the owner of this directory asked");
    Ok(())
}

fn publish(shared: &NodeContext, credential: &OperatorCredential) -> io::Result<()> {
    let file = path(shared, OPERATOR_FILE);
    write(&file, credential)?;
    tracing::info!(file = %file.display(), "wrote the credential of an operator");
    Ok(())
}

fn path(shared: &NodeContext, name: &str) -> PathBuf {
    shared.identity.directory().join(name)
}

fn write(file: &std::path::Path, credential: &OperatorCredential) -> io::Result<()> {
    durable::replace(file, format!("{}\n", credential.to_text()).as_bytes())
}

/// Returns the credential in a file; `None` if there is no file, or if it holds no credential.
fn read(file: &std::path::Path) -> io::Result<Option<OperatorCredential>> {
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    let whole = opened.take(FILE_BYTES_MAX).read_to_string(&mut text);
    let credential = whole
        .ok()
        .and_then(|_| OperatorCredential::from_text(&text));
    if credential.is_none() {
        tracing::warn!(file = %file.display(), "removing a file that holds no credential");
        fs::remove_file(file)?;
    }
    Ok(credential)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_no_credential_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(DRAFT_FILE);
        assert!(read(&file).unwrap().is_none());
        let credential = OperatorCredential::from_bytes([7; 32]);
        write(&file, &credential).unwrap();
        assert_eq!(read(&file).unwrap(), Some(credential));
        for bad in ["", "conclave-operator-1.x", &"x".repeat(4096)] {
            fs::write(&file, bad).unwrap();
            assert!(read(&file).unwrap().is_none());
            assert!(!file.exists(), "{bad}");
        }
    }
}
