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
    path::{Path, PathBuf},
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
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// Returns the error for a file of this name.
fn failed(path: &Path) -> impl FnOnce(io::Error) -> Failed {
    let path = path.to_owned();
    move |source| Failed::File { path, source }
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
            match &error {
                // What belongs to another user, or to a disk that fails, does not pass by itself.
                Failed::File { .. } if shared.operators.should_log("operator files") => {
                    tracing::warn!(%error, "failed to maintain the operators; retrying");
                }
                _ => tracing::debug!(%error, "failed to maintain the operators; retrying"),
            }
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
    durable::remove(&draft).map_err(failed(&draft))
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
    durable::remove(&file).map_err(failed(&file))?;
    tracing::warn!("replaced all operators by one, as the owner of this directory asked");
    Ok(())
}

fn publish(shared: &NodeContext, credential: &OperatorCredential) -> Result<(), Failed> {
    let file = path(shared, OPERATOR_FILE);
    write(&file, credential)?;
    tracing::info!(file = %file.display(), "wrote the credential of an operator");
    Ok(())
}

fn path(shared: &NodeContext, name: &str) -> PathBuf {
    shared.identity.directory().join(name)
}

fn write(file: &Path, credential: &OperatorCredential) -> Result<(), Failed> {
    let text = format!("{}\n", credential.to_text());
    durable::replace(file, text.as_bytes()).map_err(failed(file))
}

/// Returns the credential in a file; `None` if there is no file, or if it holds no credential.
///
/// # Errors
/// If the file cannot be read, such as one of another user: it stays where it is.
fn read(file: &Path) -> Result<Option<OperatorCredential>, Failed> {
    let text = File::open(file).and_then(|opened| {
        let mut bytes = Vec::new();
        opened.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let text = match text {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(file)(error)),
    };
    let text = str::from_utf8(&text).ok();
    let credential = text.and_then(OperatorCredential::from_text);
    if credential.is_none() {
        tracing::warn!(file = %file.display(), "removing a file that holds no credential");
        fs::remove_file(file).map_err(failed(file))?;
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

    #[test]
    fn a_file_that_cannot_be_read_stays_and_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(OPERATOR_RESET_FILE);
        // Root may read the files of every user; a directory cannot be read as a file.
        fs::create_dir(&file).unwrap();
        let error = read(&file).unwrap_err();
        assert!(matches!(error, Failed::File { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.starts_with(&format!("{}: ", file.display())), "{said}");
        assert!(said.to_lowercase().contains("is a directory"), "{said}");
        assert!(file.is_dir());
    }
}
