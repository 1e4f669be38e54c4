//! Makes of a backup, or of a state that an import has built, the data directory of the first node
//! of a new cluster.
//!
//! Offline: it needs a directory that is new, and talks to no node. The cluster gets a new secret,
//! and with it a new name and a new authority: neither the nodes nor the sessions, operators and
//! tokens of the cluster that the backup was taken of have a place in it. As after `recover`
//! (`node/recover.rs`), the node is the only member, and others join.
//!
//! Always true: the identity is written last. A directory that was left before that belongs to no
//! node, and is cleared by the next attempt.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use conclave_core::{
    ActNote, AuditAct, AuditText, Batch, ClusterVersion, Command, NodeId, OnceId, Timestamp,
    VersionRange,
};
use conclave_replica::{Member, Members, Survivor};
use conclave_storage::{
    backup::Head,
    log::LogId,
    state::{InstallError, VerifiedSnapshot},
};
use conclave_wire::request;

use super::{
    imported::{self, ImportNote},
    verify::{self, BackupError, failed},
};
use crate::{
    base::{random, system_time::system_time},
    files::durable,
    identity::{
        copies,
        node_identity::{self, Claim, IdentityError, Stored},
        owner,
        secret::ClusterSecret,
    },
    peer::codec::WireCodec,
};

/// Marks a directory into which a backup is being restored.
const UNFINISHED: &str = "restoring";
/// Name of the database while it is unpacked and verified.
const UNPACKED: &str = "restoring.db";
/// Number of the node: the first one of its cluster.
const NODE: u64 = 1;
/// Names in a directory that hold nothing: a lock, and what a new file system has. Copies of an
/// earlier node are kept as well, and belong to no node.
const EMPTY: [&str; 2] = ["lock", "lost+found"];
/// Beginnings of the names that a restore makes before the identity.
const MADE: [&str; 8] = [
    "restoring",
    // Of a start that an earlier version made of the half of a node.
    "damaged.json",
    "imported.json",
    "state.",
    "installed.",
    "secret",
    "log",
    "identity.json",
];

/// A backup cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory belongs to a node, or has other files.
    #[error("the directory {directory} is not empty: it has {name}")]
    NotEmpty {
        /// The directory.
        directory: PathBuf,
        /// Name of a file in it.
        name: String,
    },
    /// The directory cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The new node's log cannot be begun.
    #[error("the log of the new node cannot be begun")]
    Log(#[from] conclave_replica::StartError),
}

/// The new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Name of the new cluster.
    pub cluster_id: String,
    /// Number of the node, which is alone.
    pub node: u64,
}

/// Result of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup says of itself.
    pub backup: Head,
    /// Name of the new cluster.
    pub cluster_id: String,
    /// Number of the node, which is alone.
    pub node: u64,
}

/// Restores a backup into a directory that is empty or does not exist. `progress` gets how many
/// bytes of the database were unpacked, and how many there are; after the last one the database is
/// verified.
///
/// # Errors
/// See [`RestoreError`]. The directory then belongs to no node, and the same call may be made
/// again.
pub fn restore(
    source: impl Read,
    directory: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, RestoreError> {
    let (backup, Begun { cluster_id, node }) = in_new(directory, true, |file| {
        verify::unpack(source, file, progress).map_err(RestoreError::from)
    })?;
    Ok(Restored {
        backup,
        cluster_id,
        node,
    })
}

/// Makes of a snapshot that an import has built the data directory of the first node of a new
/// cluster, in the same way; `make` leaves the snapshot in the file that it gets, and returns what
/// the caller wants to know of it. `describe` says in a few words what was imported, for the audit
/// log.
///
/// # Errors
/// See [`RestoreError`], or what `make` fails with. The directory then belongs to no node, and the
/// same call may be made again.
pub fn begin_cluster<T, E: From<RestoreError>>(
    directory: &Path,
    make: impl FnOnce(&Path) -> Result<T, E>,
    describe: impl FnOnce(&T) -> String,
) -> Result<(T, Begun), E> {
    in_new(directory, false, |file| {
        let made = make(file)?;
        let (machine_ms, what) = (machine_ms(), describe(&made));
        let detail = format!("machine_ms={machine_ms} {what}");
        let noted = imported::leave(directory, &ImportNote { detail });
        noted.map_err(|source| RestoreError::from(failed("noting the import")(source)))?;
        let verified = VerifiedSnapshot::new(file.to_owned(), VersionRange::BUILD.newest);
        let verified = verified.map_err(BackupError::Snapshot);
        Ok((made, verified.map_err(RestoreError::from)?))
    })
}

/// Claims an empty directory, has a snapshot made, and begins a cluster with it.
fn in_new<T, E: From<RestoreError>>(
    directory: &Path,
    is_restore: bool,
    make: impl FnOnce(&Path) -> Result<(T, VerifiedSnapshot), E>,
) -> Result<(T, Begun), E> {
    owner::check_owner(directory).map_err(RestoreError::from)?;
    let claim = Claim::take(directory).map_err(RestoreError::from)?;
    clear(directory)?;
    let io = |what| move |source| RestoreError::from(failed(what)(source));
    File::create(directory.join(UNFINISHED))
        .and_then(|marker| marker.sync_all())
        .map_err(io("marking the directory"))?;
    let done = make(&claim.directory().join(UNPACKED)).and_then(|(made, verified)| {
        let begun = fill(verified, is_restore, &claim)?;
        Ok((made, begun))
    });
    if done.is_err() {
        // The error that matters is the first one.
        let _ = clear(directory);
    }
    done
}

fn fill(
    verified: VerifiedSnapshot,
    is_restore: bool,
    claim: &Claim,
) -> Result<Begun, RestoreError> {
    let io = |what| move |source| RestoreError::from(failed(what)(source));
    let directory = claim.directory();
    let last = verified
        .begin_cluster(directory)
        .map_err(|error| match error {
            InstallError::Swap(source) => failed("putting the database in its place")(source),
            other => BackupError::Snapshot(other),
        })?;
    let secret = ClusterSecret::generate().map_err(io("making the secret"))?;
    secret.store(directory).map_err(io("storing the secret"))?;
    let members = Members {
        voters: vec![BTreeSet::from([NODE])],
        // The node announces where it is reached when it runs.
        nodes: BTreeMap::from([(NODE, Member::default())]),
    };
    let survivor = Survivor::begin(
        directory,
        Arc::new(WireCodec::of(VersionRange::BUILD)),
        last,
    )?;
    let version = survivor.standing().cluster_version;
    let first = Batch {
        // Log time and date stay what they were.
        proposed_at: Timestamp(0),
        date: Timestamp(0),
        commands: match version {
            Some(version) if is_restore && version >= ClusterVersion::AUDIT => {
                vec![note(last).map_err(io("noting the restore"))?]
            }
            _ => Vec::new(),
        },
    };
    let ruled = survivor.rule_alone(NODE, &members, &first);
    ruled.map_err(io("writing the membership"))?;
    let cluster_id = secret.cluster_id();
    let stored = Stored::made(cluster_id.clone(), NODE);
    node_identity::write(directory, &stored).map_err(io("writing the node's identity"))?;
    remove_mark(directory).map_err(io("removing the mark"))?;
    Ok(Begun {
        cluster_id,
        node: NODE,
    })
}

/// Returns what the clock of this machine says, in milliseconds since 1970.
fn machine_ms() -> u128 {
    let machine = system_time().duration_since(SystemTime::UNIX_EPOCH);
    machine.unwrap_or_default().as_millis()
}

/// Returns the note of the restore for the audit log of the new cluster. A backup of an earlier
/// cluster version has no audit log; an import is noted later (`imported.rs`).
fn note(last: LogId) -> io::Result<Command> {
    let id = random::bytes().map_err(|problem| io::Error::other(problem.to_string()))?;
    let machine_ms = machine_ms();
    let detail = format!("after_log_index={} machine_ms={machine_ms}", last.index);
    let note = ActNote {
        node: NodeId(NODE),
        act: AuditText::cut(AuditAct::Restore.word()),
        target: AuditText::cut(&format!("node {NODE}")),
        detail: AuditText::cut(&detail),
        refusal: AuditText::default(),
    };
    Ok(request::note_act(OnceId(id), None, note))
}

/// Returns whether the directory has the mark of a restore or an import that has not ended.
pub(crate) fn is_unfinished(directory: &Path) -> bool {
    directory.join(UNFINISHED).exists()
}

/// Removes the mark from a directory that belongs to a node.
pub(crate) fn remove_mark(directory: &Path) -> io::Result<()> {
    durable::remove(&directory.join(UNFINISHED))
}

/// Removes what an interrupted restore has left; refuses a directory with anything else.
fn clear(directory: &Path) -> Result<(), RestoreError> {
    let io = |source| RestoreError::from(failed("looking into the directory")(source));
    let mut names = Vec::new();
    for item in fs::read_dir(directory).map_err(io)? {
        let name = item.map_err(io)?.file_name().to_string_lossy().into_owned();
        if !EMPTY.contains(&&*name) && !copies::is_copy(&name) {
            names.push(name);
        }
    }
    let is_unfinished = names.iter().any(|name| name == UNFINISHED)
        && !names.iter().any(|name| name == node_identity::FILE);
    let is_made = |name: &str| is_unfinished && MADE.iter().any(|made| name.starts_with(made));
    if let Some(name) = names.iter().find(|name| !is_made(name)) {
        return Err(RestoreError::NotEmpty {
            directory: directory.to_owned(),
            name: name.clone(),
        });
    }
    // The mark goes last: until then it says whose the other files are.
    names.sort_by_key(|name| name == UNFINISHED);
    for name in names {
        remove(&directory.join(name))
            .map_err(|source| failed("removing an unfinished restore")(source))?;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

#[cfg(test)]
#[path = "restore_tests.rs"]
mod tests;
