//! Gives pages of the database that hold nothing back to the file system, a few at a time, so that
//! the file becomes smaller after messages were forgotten or deleted.
//!
//! It never runs inside a transaction of entries, and changes no row, so no digest. A part of the
//! free pages stays: new rows use them, and a file that shrinks and grows in turn costs more than
//! it saves. Files that were made before they could shrink stay as long as they are; see
//! `docs/operations.md`.

use rusqlite::Connection;

use super::writer::State;
use crate::state::{ApplyError, column};

/// Pages that one step gives back at most, each of 4 KiB: half a
/// millisecond at the median, 9 ms at p99 on a busy machine.
pub const VACUUM_STEP_PAGES: u64 = 64;

/// Free pages that stay in any case: 8 MiB.
const KEPT_PAGES: u64 = 2048;

/// Part of the file that may be free.
const KEPT_PART: u64 = 10;

/// The free room inside the database file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeRoom {
    /// Bytes that new rows can use before the file grows.
    pub bytes: u64,
    /// Whether [`State::vacuum`] would give some of them back.
    pub may_shrink: bool,
}

impl State {
    /// Gives back the pages of one step, if there are more free ones than stay; returns what is
    /// free then. It does nothing while entries are decided and not written.
    ///
    /// # Errors
    /// See [`ApplyError`]. After [`ApplyError::Full`] nothing has changed; after any other error
    /// the node must stop.
    pub fn vacuum(&mut self) -> Result<FreeRoom, ApplyError> {
        let vacuumed = match &self.writer {
            Some(writer) if self.unwritten.is_empty() && writer.connection.is_autocommit() => {
                step(&writer.connection)
            }
            _ => Ok(FreeRoom::default()),
        };
        vacuumed.map_err(|error| self.judged(error.into()))
    }
}

fn step(connection: &Connection) -> rusqlite::Result<FreeRoom> {
    let surplus = surplus_of(connection)?;
    if surplus > 0 {
        let pages = surplus.min(VACUUM_STEP_PAGES);
        let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut rows = statement.query([])?;
        // Each row is a page that was given back.
        while rows.next()?.is_some() {}
    }
    let page_bytes = number(connection, "page_size")?;
    Ok(FreeRoom {
        bytes: number(connection, "freelist_count")? * page_bytes,
        may_shrink: surplus > VACUUM_STEP_PAGES,
    })
}

/// Returns how many free pages there are more than stay; 0 for a file that cannot shrink.
fn surplus_of(connection: &Connection) -> rusqlite::Result<u64> {
    const INCREMENTAL: u64 = 2;
    if number(connection, "auto_vacuum")? != INCREMENTAL {
        return Ok(0);
    }
    let pages = number(connection, "page_count")?;
    let free = number(connection, "freelist_count")?;
    Ok(free.saturating_sub(KEPT_PAGES.max(pages / KEPT_PART)))
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, pragma, |row| column::number(row, 0))
}
