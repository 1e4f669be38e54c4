//! The one place where unsigned numbers become SQLite's signed ones, and come back.

use rusqlite::{Error, Result, Row};

/// A number to be stored. The log gives out numbers one by one and times are capped, so none
/// comes near the end.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).expect("numbers and times stay below 2^63")
}

/// A number to look for, perhaps a client's invention: what cannot be stored is what no row has.
pub(super) fn sought(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(-1)
}

/// A bound of a range: what cannot be stored lies behind every row.
pub(super) fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// All 64 bits, for numbers that are only compared for equality.
pub(super) fn bits(number: u64) -> i64 {
    number.cast_signed()
}

/// A row count or limit.
pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).expect("counts are small")
}

pub(super) fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(column, value))
}

pub(super) fn number_or_none(row: &Row<'_>, column: usize) -> Result<Option<u64>> {
    let value: Option<i64> = row.get(column)?;
    value
        .map(|value| {
            u64::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(column, value))
        })
        .transpose()
}

pub(super) fn from_bits(row: &Row<'_>, column: usize) -> Result<u64> {
    let value: i64 = row.get(column)?;
    Ok(value.cast_unsigned())
}
