//! Questions about the nodes of the cluster, as the log knows them.

use std::collections::BTreeSet;

use conclave_core::{NodeId, limits::NODES_EVER_MAX};

use crate::state::{
    ReadError, Reader,
    column::{number, stored},
    meta::Meta,
    rows::NodesRow,
};

impl Reader {
    /// Returns what the log says of nodes: the retired numbers, the preferred leader, which
    /// voters acknowledgements wait for, the authority that peers trust, and the cluster version.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn nodes(&self) -> Result<NodesRow, ReadError> {
        self.read(|c| {
            let meta = Meta::load(c)?;
            // Eight bytes each.
            let sql = "SELECT node FROM retired_nodes ORDER BY node LIMIT ?1";
            let mut statement = c.prepare_cached(sql)?;
            let retired =
                statement.query_map([stored(NODES_EVER_MAX)], |row| number(row, 0).map(NodeId))?;
            Ok(NodesRow {
                last: meta.node_last,
                preferred_leader: meta.preferred_leader,
                ack_policy: meta.ack_policy,
                authority: meta.authority,
                version: meta.cluster_version,
                retired: retired.collect::<rusqlite::Result<BTreeSet<_>>>()?,
            })
        })
    }
}
