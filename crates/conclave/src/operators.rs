//! The operator's credentials that this user keeps, and the cluster to which each of them goes.
//!
//! Always true: the file is readable by its owner alone; a credential goes to the cluster for which
//! it was kept or named, and to no other.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use conclave_client::OperatorCredential;
use serde::{Deserialize, Serialize};

use crate::{
    credentials,
    errors::{CommandError, EXIT_FAILED, EXIT_PERMISSION, EXIT_USAGE, OPERATOR_HINT},
};

/// Maximum number of clusters whose credential is kept. At the bound the oldest is forgotten.
const CLUSTERS_MAX: usize = 64;
/// Maximum length of the file in bytes: a credential has 63, and each cluster some hundred.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// The mode bits that give access to other users.
const OTHERS: u32 = 0o077;

/// The credential for one cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredCredential {
    /// The nodes, as `HOST:PORT`.
    endpoints: Vec<String>,
    /// Credential of the operator: a secret.
    credential: String,
}

/// Reads the credential in a file.
///
/// # Errors
/// If the file cannot be read, others can read it, or it holds no credential.
pub(crate) fn read(path: &Path) -> Result<OperatorCredential, CommandError> {
    let text = read_private(path)?.ok_or_else(|| {
        let sentence = format!("there is no file {}", path.display());
        CommandError::new(EXIT_USAGE, sentence, OPERATOR_HINT)
    })?;
    OperatorCredential::from_text(&text).ok_or_else(|| {
        let sentence = format!("{} holds no credential of an operator", path.display());
        CommandError::new(EXIT_USAGE, sentence, OPERATOR_HINT)
    })
}

/// Finds the credential that is kept for the cluster at one of these addresses.
///
/// # Errors
/// If the file must not be used or is damaged.
pub(crate) fn find(endpoints: &[String]) -> Result<Option<OperatorCredential>, CommandError> {
    let Ok(path) = path() else {
        // Without a home directory nothing is kept.
        return Ok(None);
    };
    let found = load(&path)?.into_iter().rev().find(|kept| {
        let mut known = kept.endpoints.iter();
        known.any(|endpoint| endpoints.contains(endpoint))
    });
    Ok(found.and_then(|kept| OperatorCredential::from_text(&kept.credential)))
}

/// Keeps the credential for the cluster at these addresses.
///
/// # Errors
/// If the file cannot be read or written.
pub(crate) fn keep(
    endpoints: &[String],
    credential: &OperatorCredential,
) -> Result<PathBuf, CommandError> {
    let path = path()?;
    let mut all = load(&path)?;
    // An earlier entry for these addresses is another cluster, or has another credential now.
    for kept in &mut all {
        kept.endpoints
            .retain(|endpoint| !endpoints.contains(endpoint));
    }
    all.retain(|kept| !kept.endpoints.is_empty());
    all.push(StoredCredential {
        endpoints: endpoints.to_vec(),
        credential: credential.to_text(),
    });
    let surplus = all.len().saturating_sub(CLUSTERS_MAX);
    all.drain(..surplus);
    credentials::replace(&path, &all)?;
    Ok(path)
}

fn path() -> Result<PathBuf, CommandError> {
    Ok(credentials::directory()?.join("operators.json"))
}

fn load(path: &Path) -> Result<Vec<StoredCredential>, CommandError> {
    let Some(text) = read_private(path)? else {
        return Ok(Vec::new());
    };
    serde_json::from_str(&text).map_err(|error| {
        CommandError::new(
            EXIT_FAILED,
            format!("{} is damaged: {error}", path.display()),
            "delete the file, and keep the credentials again: conclave operator use FILE",
        )
    })
}

/// Reads the text of a file that only its owner can read; `None` if there is no file.
fn read_private(path: &Path) -> Result<Option<String>, CommandError> {
    let failed = |error: io::Error| credentials::failed("read", path, &error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // The mode is that of the open file: another process may replace the file in between.
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & OTHERS != 0 {
        return Err(CommandError::new(
            EXIT_PERMISSION,
            format!("{} can be read by others", path.display()),
            format!("run: chmod 600 '{}'", path.display()),
        ));
    }
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(failed)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_credential_is_read_only_from_a_private_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("operator.token");
        assert!(read(&path).unwrap_err().to_string().contains("no file"));
        let credential = conclave_client::new_credential();
        fs::write(&path, format!(" {}\r\n", credential.to_text())).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let refused = read(&path).unwrap_err();
        assert_eq!(refused.exit(), EXIT_PERMISSION);
        assert!(!refused.to_string().contains(&credential.to_text()));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&path).unwrap(), credential);
        fs::write(&path, "conclave-join-1.abc").unwrap();
        let refused = read(&path).unwrap_err();
        assert!(refused.to_string().contains("holds no credential"));
    }
}
