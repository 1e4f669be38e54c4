//! What a snapshot holds, without a look at its rows one by one: for the head of a backup.

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, Result};

use crate::state::{
    Applied, InstallError, database,
    integrity::digest,
    meta::{self, Meta},
};

/// What a snapshot's file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// State that it holds.
    pub applied: Applied,
    /// BLAKE3 of all rows, as its maker has sealed it.
    pub digest: [u8; 32],
    /// BLAKE3 over all answers and events since the first entry.
    pub chain: [u8; 32],
    /// Number of rows of each table.
    pub rows: BTreeMap<&'static str, u64>,
}

impl Contents {
    /// Reads what a snapshot's file says. It verifies nothing: that is for
    /// [`VerifiedSnapshot`](crate::state::VerifiedSnapshot).
    ///
    /// # Errors
    /// [`InstallError::Refused`] and [`InstallError::Damaged`].
    pub fn of(snapshot: &Path) -> std::result::Result<Self, InstallError> {
        let connection = database::open_read_only(snapshot).map_err(InstallError::Damaged)?;
        database::check_kind(&connection)
            .map_err(|error| InstallError::Refused(error.to_string()))?;
        Self::read(&connection).map_err(InstallError::Damaged)
    }

    fn read(connection: &Connection) -> Result<Self> {
        let sql = "SELECT digest FROM seal WHERE id = 1";
        let mut rows = BTreeMap::new();
        let version = meta::cluster_version_of(connection)?;
        for table in digest::tables(version) {
            let sql = format!("SELECT count(*) FROM {}", table.name);
            let count: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
            rows.insert(table.name, count.unsigned_abs());
        }
        Ok(Self {
            applied: meta::load_applied(connection)?,
            digest: connection.query_row(sql, [], |row| row.get(0))?,
            chain: Meta::load(connection)?.chain,
            rows,
        })
    }
}
