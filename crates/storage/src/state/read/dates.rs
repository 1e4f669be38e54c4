//! Where in the log dates went back, so that a search by date knows where they grow.
//!
//! Always true: between two of these entries no message has an earlier date than one before it,
//! unless the step was forgotten; there are at most [`DATE_STEPS_MAX`].

use conclave_core::limits::DATE_STEPS_MAX;
use rusqlite::{Connection, Result};

use crate::state::{
    ReadError, Reader,
    column::{number, stored},
};

/// Notes that dates went back at entry `index`.
pub(crate) fn note_step(connection: &Connection, index: u64) -> Result<()> {
    let sql = "INSERT INTO date_steps (log_index) VALUES (?1)";
    connection.prepare_cached(sql)?.execute([stored(index)])?;
    let sql = "DELETE FROM date_steps WHERE log_index <= (
        SELECT log_index FROM date_steps ORDER BY log_index DESC LIMIT 1 OFFSET ?1)";
    let kept = stored(DATE_STEPS_MAX);
    connection.prepare_cached(sql)?.execute([kept])?;
    Ok(())
}

impl Reader {
    /// Returns the entries at which dates went back, the oldest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn date_steps(&self) -> std::result::Result<Vec<u64>, ReadError> {
        self.read(|connection| {
            let sql = "SELECT log_index FROM date_steps ORDER BY log_index LIMIT ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let kept = stored(DATE_STEPS_MAX);
            statement.query_map([kept], |row| number(row, 0))?.collect()
        })
    }
}
