//! Opens the file of the index, makes it and removes it.
//!
//! Always true: no connection leaves here whose file is not an index of our version.

use std::{fs, io, path::Path};

use conclave_core::{ConversationId, Position};
use conclave_words::tables_version;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::{
    column::number,
    docs,
    error::{SearchError, is_outside},
    schema::{APPLICATION_ID, TABLES, VERSION},
    terms,
};

/// How long a connection waits for a lock, in milliseconds. Only a foreign program holds one.
const LOCK_WAIT_MS: u32 = 2000;

/// Page cache of the writer in KiB.
const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// Page cache of each reader in KiB.
const READER_CACHE_KIB: i64 = 8 * 1024;

/// Pages in the write-ahead log after which the writer moves them into the database: 16 MiB.
const WAL_PAGES: u32 = 4000;

/// The write-ahead log is cut to this size when it starts anew.
const WAL_BYTES_KEPT: u32 = 16 << 20;

/// Opens the index for writing; begins an empty one if there is none, or none that can be used.
pub(super) fn open_writer(path: &Path) -> Result<Connection, SearchError> {
    match try_open(path) {
        Ok(Some(connection)) => return Ok(connection),
        Ok(None) => tracing::info!("the search index is of another version: rebuilding it"),
        Err(error) if is_outside(&error) => return Err(error.into()),
        Err(error) => tracing::warn!(%error, "the search index is damaged: rebuilding it"),
    }
    remove(path).map_err(SearchError::Remove)?;
    try_open(path)?.ok_or(SearchError::Sqlite(rusqlite::Error::InvalidQuery))
}

/// Opens the index; `None`: there is a database, but not our index.
fn try_open(path: &Path) -> rusqlite::Result<Option<Connection>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "busy_timeout", LOCK_WAIT_MS)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && !is_ours(&connection)? {
        return Ok(None);
    }
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    // Not "off": after a power loss the file may be old but must not be a mixture.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    if tables == 0 {
        let transaction = connection.transaction()?;
        transaction.execute_batch(TABLES)?;
        let sql = "INSERT INTO meta VALUES (1, 0, NULL, ?1)";
        transaction.execute(sql, [tables_version()])?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    // Damage of the file has to show now and not in the middle of a search.
    indexed_to(&connection)?;
    docs::last(&connection)?;
    let sql = "SELECT rowid FROM words WHERE words MATCH ?1 LIMIT 1";
    let tag = format!("\"{}\"", terms::conversation_tag(ConversationId(1)));
    let found = connection.query_row(sql, [tag], |_| Ok(()));
    found.optional()?;
    let sql = "SELECT tables FROM meta WHERE id = 1";
    let tables: String = connection.query_row(sql, [], |row| row.get(0))?;
    Ok((tables == tables_version()).then_some(connection))
}

fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((id, version) == (APPLICATION_ID, VERSION))
}

/// Opens the index for reading beside the writer.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "busy_timeout", LOCK_WAIT_MS)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(connection)
}

/// Removes the index. No connection may have it open.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Returns the position in the log up to which everything is in the index.
pub(super) fn indexed_to(connection: &Connection) -> rusqlite::Result<Position> {
    let sql = "SELECT indexed_to FROM meta WHERE id = 1";
    connection
        .prepare_cached(sql)?
        .query_row([], |row| number(row, 0).map(Position))
}
