//! A node that recovers its cluster alone: the program restarts, carries the recovery out while
//! nothing of the node runs, and starts the node.
//!
//! Always true: the decision goes from the process that has made it to the program that takes its
//! place, and to no later start: that one would not know what has happened meanwhile.

use std::{ffi::OsString, os::unix::process::CommandExt as _, path::Path, process::Command};

use conclave_server::{GoesAlone, recover_alone};

use crate::errors::{CommandError, EXIT_FAILED, note};

/// Variable that carries the decision: how it is proven, and the name of the cluster.
pub(super) const VARIABLE: &str = "CONCLAVE_DECIDED_TO_RECOVER";
const PROVEN: &str = "proven";
const ASSUMED: &str = "assumed";

/// Restarts the program to recover the cluster. Returns if that fails.
pub(super) fn restart(decided: &GoesAlone) -> anyhow::Error {
    note("the other voter is gone: the node restarts, and recovers the cluster alone");
    let proof = if decided.proven { PROVEN } else { ASSUMED };
    let why = match std::env::current_exe() {
        Ok(program) => Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(VARIABLE, format!("{proof} {}", decided.cluster_id))
            .exec(),
        Err(error) => error,
    };
    let sentence = format!("the node cannot restart to recover the cluster: {why}");
    let hint = "recover it by hand: conclave cluster recover";
    CommandError::new(EXIT_FAILED, sentence, hint).into()
}

/// Returns the decision that the process before this one has made; `None` if there is none.
pub(super) fn decided() -> Option<GoesAlone> {
    parsed(std::env::var_os(VARIABLE)?)
}

fn parsed(value: OsString) -> Option<GoesAlone> {
    let value = value.into_string().ok()?;
    let (proof, cluster_id) = value.split_once(' ')?;
    let proven = match proof {
        PROVEN => true,
        ASSUMED => false,
        _ => return None,
    };
    let cluster_id = cluster_id.to_owned();
    Some(GoesAlone { cluster_id, proven })
}

/// Recovers the cluster on the node of this directory.
///
/// # Errors
/// If it is not certain any more that nothing is lost, or the disk refuses.
pub(super) fn carry_out(data: &Path, decided: &GoesAlone) -> anyhow::Result<()> {
    let done = recover_alone(data, decided).map_err(|error| {
        let causes = std::iter::successors(std::error::Error::source(&error), |e| e.source());
        let sentence = causes.fold(error.to_string(), |all, cause| format!("{all}: {cause}"));
        let hint = "nothing more is done by itself: look at all machines, and recover one by \
                    hand: conclave cluster recover";
        anyhow::Error::from(CommandError::new(EXIT_FAILED, sentence, hint))
    })?;
    tracing::error!(
        proven = decided.proven,
        cluster = done.cluster_id,
        log_index_last = done.log_index_last,
        backup = %done.backup.display(),
        "this node has recovered the cluster alone, without an operator"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_decision_is_one() {
        let decided = |text: &str| parsed(text.into());
        let proven = decided("proven ab12.1-77").unwrap();
        assert!(proven.proven && proven.cluster_id == "ab12.1-77");
        assert!(!decided("assumed ab12").unwrap().proven);
        for text in ["", "proven", "yes ab12", "true"] {
            assert_eq!(decided(text), None, "{text}");
        }
    }
}
