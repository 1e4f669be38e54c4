//! Questions about the nodes of the cluster, as the log knows them.

use std::collections::BTreeSet;

use conclave_core::{NodeId, limits::NODES_EVER_MAX};

use super::{
    ReadError, Reader,
    column::{number, number_or_none, stored},
    rows::NodesRow,
};

impl Reader {
    /// What the log says of nodes: which numbers are used up, and which node shall lead.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn nodes(&self) -> Result<NodesRow, ReadError> {
        self.read(|c| {
            let sql = "SELECT node_last, preferred_leader FROM meta WHERE id = 1";
            let mut statement = c.prepare_cached(sql)?;
            let (last, preferred_leader) = statement.query_row([], |row| {
                Ok((NodeId(number(row, 0)?), number_or_none(row, 1)?.map(NodeId)))
            })?;
            // Eight bytes each.
            let sql = "SELECT node FROM retired_nodes ORDER BY node LIMIT ?1";
            let mut statement = c.prepare_cached(sql)?;
            let retired =
                statement.query_map([stored(NODES_EVER_MAX)], |row| number(row, 0).map(NodeId))?;
            Ok(NodesRow {
                last,
                preferred_leader,
                retired: retired.collect::<rusqlite::Result<BTreeSet<_>>>()?,
            })
        })
    }
}
