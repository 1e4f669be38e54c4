//! The one place where unsigned numbers and roles become SQLite's signed numbers, and come back.

use conclave_core::{AccountRole, MemberRole, OperatorName};
use rusqlite::{
    Error, Result, Row, ToSql,
    types::{ToSqlOutput, Type},
};

/// A number to be stored.
///
/// The log gives out numbers one by one, times are capped, and the rules refuse numbers that were
/// never given; so none comes near the end. One that does is an error of the statement, which stops
/// the node, and not a panic.
#[derive(Clone, Copy)]
pub(super) struct Stored(u64);

/// Wraps a number for a column.
pub(super) fn stored(number: u64) -> Stored {
    Stored(number)
}

impl ToSql for Stored {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let Self(number) = *self;
        let number = i64::try_from(number);
        let number = number.map_err(|error| Error::ToSqlConversionFailure(error.into()))?;
        Ok(ToSqlOutput::from(number))
    }
}

/// Returns a number to look for, perhaps a client's invention: a number that cannot be stored is
/// one that no row has.
pub(super) fn sought(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(-1)
}

/// Returns a bound of a range: what cannot be stored lies behind every row.
pub(super) fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns all 64 bits, for numbers that are only compared for equality.
pub(super) fn bits(number: u64) -> i64 {
    number.cast_signed()
}

/// Returns a row count or limit.
pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
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

/// Returns how a role of an account is stored.
pub(super) fn account_role_number(role: AccountRole) -> i64 {
    match role {
        AccountRole::User => 0,
        AccountRole::Admin => 1,
        AccountRole::Bot => 2,
    }
}

pub(super) fn account_role(row: &Row<'_>, column: usize) -> Result<AccountRole> {
    match row.get(column)? {
        0 => Ok(AccountRole::User),
        1 => Ok(AccountRole::Admin),
        2 => Ok(AccountRole::Bot),
        other => Err(Error::IntegralValueOutOfRange(column, other)),
    }
}

/// Reads the name of an operator.
pub(super) fn operator_name(row: &Row<'_>, column: usize) -> Result<OperatorName> {
    let name: String = row.get(column)?;
    OperatorName::new(name)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// Returns how a role of a member is stored.
pub(super) fn member_role_number(role: MemberRole) -> i64 {
    match role {
        MemberRole::Member => 0,
        MemberRole::Moderator => 1,
        MemberRole::Owner => 2,
    }
}

pub(super) fn member_role(row: &Row<'_>, column: usize) -> Result<MemberRole> {
    member_role_of(column, row.get(column)?)
}

pub(super) fn member_role_or_none(row: &Row<'_>, column: usize) -> Result<Option<MemberRole>> {
    let value: Option<i64> = row.get(column)?;
    value.map(|value| member_role_of(column, value)).transpose()
}

/// Returns the role with this number, which stands in `column`.
pub(super) fn member_role_of(column: usize, value: i64) -> Result<MemberRole> {
    match value {
        0 => Ok(MemberRole::Member),
        1 => Ok(MemberRole::Moderator),
        2 => Ok(MemberRole::Owner),
        other => Err(Error::IntegralValueOutOfRange(column, other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_beyond_the_column_is_a_statement_error_not_damage() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let echo = |number| {
            let sql = "SELECT ?1";
            connection.query_row(sql, [stored(number)], |row| super::number(row, 0))
        };
        for number in [0, 1, (1 << 63) - 1] {
            assert_eq!(echo(number), Ok(number));
        }
        for number in [1 << 63, u64::MAX] {
            let error = echo(number).unwrap_err();
            assert!(crate::state::is_outside(&error), "{number}: {error}");
        }
    }
}
