//! Numbers in the columns of the index.
//!
//! Always true: a stored number is not negative; one that is negative is an error of the file.

use rusqlite::Row;

/// Returns how a number is stored. A number from a client may be too great: it lies behind every
/// row.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns a number that was stored.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
