//! The chain at fixed places of the log, so that nodes that are not equally far can compare it.
//!
//! Always true: the points are part of the state, in the same transaction as the entry that they
//! follow; a snapshot brings them along.

use rusqlite::{Connection, Result, params};

use crate::state::{
    ReadError, Reader,
    column::{count, number, stored},
    meta::Meta,
};

/// Entries from one point to the next: few, so that nodes differ for a moment only until it shows,
/// and enough that a row more is nothing beside what the entries write.
pub const CHAIN_POINT_ENTRIES: u64 = 64;
/// Points that are kept. Nodes that are further apart than this many points compare later.
pub const CHAIN_POINTS_KEPT: u64 = 64;

/// The chain after one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPoint {
    /// The entry's index.
    pub index: u64,
    /// BLAKE3 over all answers and events up to it.
    pub chain: [u8; 32],
}

/// Notes the chain if the entry just applied is at a fixed place.
pub(crate) fn note(connection: &Connection, index: u64, chain: &[u8; 32]) -> Result<()> {
    if !index.is_multiple_of(CHAIN_POINT_ENTRIES) {
        return Ok(());
    }
    let sql = "INSERT INTO chain_points (log_index, chain) VALUES (?1, ?2)";
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute(params![stored(index), chain])?;
    let forgotten = index.saturating_sub(CHAIN_POINT_ENTRIES * CHAIN_POINTS_KEPT);
    let sql = "DELETE FROM chain_points WHERE log_index <= ?1";
    connection
        .prepare_cached(sql)?
        .execute([stored(forgotten)])?;
    Ok(())
}

impl Reader {
    /// Returns the chain at the fixed places that are kept, and at the last applied entry; oldest
    /// first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn chain_points(&self) -> std::result::Result<Vec<ChainPoint>, ReadError> {
        self.read(|connection| {
            let sql = "SELECT log_index, chain FROM chain_points ORDER BY log_index LIMIT ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([count(CHAIN_POINTS_KEPT as usize)], |row| {
                Ok(ChainPoint {
                    index: number(row, 0)?,
                    chain: row.get(1)?,
                })
            })?;
            let mut points = rows.collect::<Result<Vec<_>>>()?;
            let meta = Meta::load(connection)?;
            let last = meta.applied.map(|applied| ChainPoint {
                index: applied.index,
                chain: meta.chain,
            });
            points.extend(last.filter(|last| points.last().is_none_or(|p| p.index < last.index)));
            Ok(points)
        })
    }
}
