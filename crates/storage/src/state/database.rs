//! Opens the database file: as the writer, as a reader, or as a snapshot that is to be verified.
//!
//! Always true: no connection leaves here whose file is not ours and of a version that we know.

use std::{fs::File, io, path::Path};

use rusqlite::{Connection, OpenFlags};

use super::{
    Options,
    error::OpenError,
    meta,
    migrations::{self, APPLICATION_ID},
};
use crate::files::{remove_if_there, with_suffix};

/// Older ones can, rarely, lose a write-ahead log's frames to a race of two checkpoints.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// Pages in the write-ahead log after which the writer moves them into the database itself,
/// because the checkpointer does not keep up: 64 MiB.
const WAL_PAGES: u32 = 16_000;

/// The write-ahead log is cut to this size when it starts anew: 64 MiB.
const WAL_BYTES_KEPT: u32 = 64 << 20;

/// How long a connection waits for a lock, in milliseconds. Only a foreign program or a recovery
/// can hold one.
const LOCK_WAIT_MS: u32 = 5000;

/// Prepared statements that a connection keeps: more than there are.
const STATEMENTS_MAX: usize = 256;

/// Suffix of a snapshot that is verified and not yet in use.
pub(super) const NEW: &str = ".new";

/// Removes the snapshot that an interrupted exchange left beside the state at `path`.
pub(super) fn clean_up(path: &Path) -> io::Result<()> {
    remove_if_there(&with_suffix(path, NEW))
}

/// Opens the file for writing, and makes it if there is none.
pub(super) fn open_writer(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    let found = rusqlite::version_number();
    if found < SQLITE_VERSION_MIN {
        return Err(OpenError::SqliteTooOld {
            found,
            needed: SQLITE_VERSION_MIN,
        });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "busy_timeout", LOCK_WAIT_MS)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 {
        check_kind(&connection)?;
        check_cluster_version(&connection, options)?;
    } else {
        // So that the file can become smaller (`write/vacuum.rs`). It cannot be set later.
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
    }
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::NotWal { found: mode });
    }
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "cache_size", -i64::from(options.cache_kib))?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    migrations::run(&mut connection)?;
    if tables == 0 {
        let io = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        sync_directory_of(path).map_err(io)?;
    }
    // A snapshot that was installed brings its seal along; the next entry would break it.
    connection.execute("DELETE FROM seal", [])?;
    Ok(connection)
}

/// Opens the file for reading beside the writer.
pub(super) fn open_reader(path: &Path, options: &Options) -> rusqlite::Result<Connection> {
    let connection = open_read_only(path)?;
    connection.pragma_update(None, "cache_size", -i64::from(options.reader_cache_kib))?;
    connection.pragma_update(None, "busy_timeout", LOCK_WAIT_MS)?;
    Ok(connection)
}

/// Opens any database file for reading.
pub(super) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// Refuses files of other programs and of versions that we do not know.
pub(super) fn check_kind(connection: &Connection) -> Result<(), OpenError> {
    let found: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if found != APPLICATION_ID {
        return Err(OpenError::NotOurs { found });
    }
    migrations::check_version(connection)
}

/// Refuses a state that goes on by rules which this build does not have.
fn check_cluster_version(connection: &Connection, options: &Options) -> Result<(), OpenError> {
    let (found, known) = (meta::cluster_version_of(connection)?, options.versions);
    match known.contains(found) {
        true => Ok(()),
        false => Err(OpenError::ClusterVersion { found, known }),
    }
}

/// Makes new and renamed names in the directory of `path` survive a power loss.
pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
