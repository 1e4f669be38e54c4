//! Writes join tokens, operators, the numbers of nodes, and what holds for the whole cluster.

use std::collections::BTreeSet;

use conclave_core::{
    AuthorityId, ClusterEvent, ClusterVersion, NodeId, OperatorName, lookup::PeerAuthority,
};
use rusqlite::params;

use crate::state::{
    ApplyError,
    column::{count, number, stored},
    write::writer::Writer,
};

/// Members of a cluster at most, far above what a membership may have.
const NODES_MAX: usize = 1024;

impl Writer {
    /// Returns the numbers of all members, in order.
    pub(super) fn member_numbers(&self) -> rusqlite::Result<BTreeSet<u64>> {
        let sql = "SELECT node FROM cluster_nodes ORDER BY node LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_map([count(NODES_MAX)], |row| number(row, 0))?;
        found.collect()
    }

    /// Writes the members of the cluster. A number that a member has or had is given to no other
    /// node: the numbers of removed members are retired in the transaction of their removal.
    pub(in crate::state) fn write_members(
        &mut self,
        nodes: &BTreeSet<u64>,
    ) -> Result<(), ApplyError> {
        let known = self.member_numbers()?;
        for gone in known.difference(nodes) {
            // It may have got what is about to be trusted: another authority is wanted.
            if let Some(next) = &mut self.meta.authority.next {
                *next = AuthorityId::WANTED;
            }
            let sql = "DELETE FROM cluster_nodes WHERE node = ?1";
            self.change_one(sql, [stored(*gone)])?;
            // A command may have retired the number before the member was removed.
            let sql = "INSERT OR IGNORE INTO retired_nodes (node) VALUES (?1)";
            self.connection
                .prepare_cached(sql)?
                .execute([stored(*gone)])?;
        }
        for new in nodes.difference(&known) {
            let sql = "INSERT INTO cluster_nodes (node) VALUES (?1)";
            self.change_one(sql, [stored(*new)])?;
            self.meta.node_last = self.meta.node_last.max(NodeId(*new));
        }
        Ok(())
    }

    pub(super) fn write_cluster(&mut self, event: &ClusterEvent) -> Result<(), ApplyError> {
        match event {
            ClusterEvent::JoinTokenCreated {
                token,
                expires_at,
                voter,
                by,
                at,
            } => {
                let sql = "INSERT INTO join_tokens (token, expires_at, voter, by_operator,
                        created_at)
                    VALUES (?1, ?2, ?3, ?4, ?5)";
                let (until, since) = (stored(expires_at.0), stored(at.0));
                self.change_one(sql, params![token.0, until, voter, by.as_str(), since])
            }
            ClusterEvent::JoinTokenRemoved { token } => {
                self.change_one("DELETE FROM join_tokens WHERE token = ?1", [token.0])
            }
            ClusterEvent::OperatorCreated {
                name,
                token,
                by,
                at,
            } => {
                let sql = "INSERT INTO operators (key, name, token, by_operator, created_at)
                    VALUES (?1, ?2, ?3, ?4, ?5)";
                let by = by.as_ref().map(OperatorName::as_str);
                let row = params![name.key(), name.as_str(), token.0, by, stored(at.0)];
                self.change_one(sql, row)
            }
            ClusterEvent::OperatorRemoved { name } => {
                self.change_one("DELETE FROM operators WHERE key = ?1", [name.key()])
            }
            ClusterEvent::NodeAdmitted { node } => {
                self.meta.node_last = *node;
                Ok(())
            }
            ClusterEvent::NodeRetired { node } => {
                self.meta.node_last = self.meta.node_last.max(*node);
                let sql = "INSERT INTO retired_nodes (node) VALUES (?1)";
                self.change_one(sql, [stored(node.0)])
            }
            ClusterEvent::AuthorityRotated {
                generation,
                authority,
                is_final,
            } => {
                self.meta.authority = match is_final {
                    true => PeerAuthority {
                        generation: *generation,
                        next: None,
                    },
                    false => PeerAuthority {
                        next: Some(*authority),
                        ..self.meta.authority
                    },
                };
                Ok(())
            }
            ClusterEvent::VersionRaised { to } => {
                self.meta.cluster_version = Some(*to);
                if *to >= ClusterVersion::RETENTION && self.meta.aged_since.is_none() {
                    self.meta.aged_since = Some(self.meta.now.log_time);
                }
                Ok(())
            }
            ClusterEvent::RetentionChanged { retention } => {
                self.meta.retention = *retention;
                Ok(())
            }
            ClusterEvent::LeaderPreferred { node } => {
                self.meta.preferred_leader = *node;
                Ok(())
            }
            ClusterEvent::AckPolicyChanged { policy } => {
                self.meta.ack_policy = *policy;
                Ok(())
            }
        }
    }
}
