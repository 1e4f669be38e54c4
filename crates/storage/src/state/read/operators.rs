//! Questions about operators and join tokens.

use conclave_core::{
    JoinTokenId, Timestamp, TokenHash,
    limits::{JOIN_TOKENS_MAX, OPERATORS_MAX},
};
use rusqlite::{OptionalExtension as _, Result, Row};

use crate::state::{
    ReadError, Reader,
    column::{count, number, stored},
    rows::{JoinTokenRow, OperatorRow},
};

impl Reader {
    /// Finds the operator with this credential.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn operator_by_token(
        &self,
        token: &TokenHash,
    ) -> std::result::Result<Option<OperatorRow>, ReadError> {
        let sql = "SELECT name, by_operator, created_at FROM operators WHERE token = ?1";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            statement.query_row([token.0], operator).optional()
        })
    }

    /// Lists all operators in order of their names.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn operators(&self) -> std::result::Result<Vec<OperatorRow>, ReadError> {
        let sql = "SELECT name, by_operator, created_at FROM operators ORDER BY key LIMIT ?1";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            statement
                .query_map([count(OPERATORS_MAX)], operator)?
                .collect()
        })
    }

    /// Lists all join tokens in order of their ends, those included that have run out and were not
    /// swept away.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn join_tokens(&self) -> std::result::Result<Vec<JoinTokenRow>, ReadError> {
        let sql = "SELECT token, expires_at, voter, by_operator, created_at FROM join_tokens
            ORDER BY expires_at, token LIMIT ?1";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            statement
                .query_map([stored(JOIN_TOKENS_MAX)], join_token)?
                .collect()
        })
    }

    /// Returns whether a machine may join with this token: it is known and has not expired.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn is_join_token_usable(&self, token: &TokenHash) -> std::result::Result<bool, ReadError> {
        let sql = "SELECT 1 FROM join_tokens WHERE token = ?1
            AND expires_at > (SELECT log_time FROM meta WHERE id = 1)";
        self.read(|c| c.prepare_cached(sql)?.exists([token.0]))
    }
}

fn operator(row: &Row<'_>) -> Result<OperatorRow> {
    Ok(OperatorRow {
        name: row.get(0)?,
        by_name: row.get(1)?,
        created_at: Timestamp(number(row, 2)?),
    })
}

fn join_token(row: &Row<'_>) -> Result<JoinTokenRow> {
    Ok(JoinTokenRow {
        id: JoinTokenId::of(&TokenHash(row.get(0)?)),
        expires_at: Timestamp(number(row, 1)?),
        voter: row.get(2)?,
        by_name: row.get(3)?,
        created_at: Timestamp(number(row, 4)?),
    })
}
