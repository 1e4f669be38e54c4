//! Makes of a snapshot the state with which another cluster begins.
//!
//! Accounts, conversations and messages stay, and so do the place in the log and every number that
//! was given. What belongs to the cluster that the snapshot was taken of goes: its nodes, its
//! operators, its tokens for machines, and all sessions, because a token must not work in two
//! clusters.
//!
//! Always true: the file appears under the name of a state only when it is whole and synced.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

use super::install::VerifiedSnapshot;
use crate::{
    log::LogId,
    state::{InstallError, database, meta, write::writer::FILE},
};

/// Removes what belongs to one cluster. Nothing is read between the statements.
const BEGIN: &str = "
    DELETE FROM membership;
    DELETE FROM cluster_nodes;
    DELETE FROM retired_nodes;
    DELETE FROM operators;
    DELETE FROM join_tokens;
    DELETE FROM sessions;
    DELETE FROM answers;
    DELETE FROM seal;
    UPDATE meta SET setup_token = NULL, node_last = 0, preferred_leader = NULL,
        authority_generation = 0, authority_next = NULL, ack_all = NULL;
";

impl VerifiedSnapshot {
    /// Makes the snapshot the state of a new node in `directory`, which has none, and uses it up.
    /// Returns the last entry whose changes are in it: the log must go on after it.
    ///
    /// # Errors
    /// See [`InstallError`]. The directory then has no state.
    pub fn begin_cluster(self, directory: &Path) -> Result<LogId, InstallError> {
        let snapshot = self.into_path();
        let last = remove_cluster(&snapshot).map_err(InstallError::Damaged)?;
        let last = last.ok_or_else(|| InstallError::Refused("it holds no entry".to_owned()))?;
        let put = || {
            File::open(&snapshot)?.sync_all()?;
            let state: PathBuf = directory.join(FILE);
            fs::rename(&snapshot, &state)?;
            database::sync_directory_of(&state)
        };
        put().map_err(InstallError::Swap)?;
        Ok(last)
    }
}

fn remove_cluster(snapshot: &Path) -> rusqlite::Result<Option<LogId>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(snapshot, flags)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(BEGIN)?;
    let last = meta::load_applied(&transaction)?.last;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(last)
}
