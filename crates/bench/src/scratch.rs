//! Starts throw-away clusters for measurements and demonstrations, and makes secrets for their
//! accounts.

use std::{io, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_local_cluster::{Bootstrap, CAN_CUT_OFF, ClusterError, LocalCluster, Options, Ports};
use tempfile::TempDir;

/// Longest time until the cluster serves.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// Makes a directory that is removed when it is dropped.
///
/// # Errors
/// If the system makes none.
pub(crate) fn directory() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("conclave-bench-").tempdir()
}

/// Starts a cluster of nodes of `program` in `directory`, on ports that are free.
///
/// # Errors
/// If a node does not start or does not serve in time, or too few ports are free.
pub(crate) async fn cluster(
    program: &Path,
    nodes: u64,
    tls: bool,
    directory: &Path,
) -> Result<LocalCluster, ClusterError> {
    LocalCluster::start(options(program, nodes, tls, directory)?, READY_LIMIT).await
}

/// Starts the same with nodes whose settings can be changed and that can be cut off, where
/// [`CAN_CUT_OFF`].
///
/// # Errors
/// As [`cluster`].
pub(crate) async fn breakable(
    program: &Path,
    nodes: u64,
    settings: String,
    directory: &Path,
) -> Result<LocalCluster, ClusterError> {
    let options = Options {
        relays: CAN_CUT_OFF,
        settings: Some(settings),
        ..options(program, nodes, false, directory)?
    };
    LocalCluster::start(options, READY_LIMIT).await
}

fn options(
    program: &Path,
    nodes: u64,
    tls: bool,
    directory: &Path,
) -> Result<Options, ClusterError> {
    Ok(Options {
        program: program.to_owned(),
        directory: directory.to_owned(),
        nodes,
        initial_members: nodes,
        bootstrap: Bootstrap::Discovery,
        ports: Ports::free(nodes).ok_or(ClusterError::NoPorts { nodes })?,
        plain: !tls,
        relays: false,
        settings: None,
        environment: Default::default(),
    })
}

/// Makes a word that cannot be guessed, of 128 bits.
///
/// # Errors
/// If the machine gives no random bytes.
pub(crate) fn random_word() -> io::Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes::<16>()?))
}

/// Takes random bytes from the machine.
///
/// # Errors
/// If it gives none.
pub(crate) fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
