//! Tokens with which machines join, operators, and the numbers of nodes.

use conclave_core::{Event, OperatorName};
use rusqlite::params;

use crate::state::{ApplyError, column::stored, writer::Writer};

impl Writer {
    pub(super) fn write_node(&mut self, event: &Event) -> Result<(), ApplyError> {
        match event {
            Event::JoinTokenCreated {
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
            Event::JoinTokenRemoved { token } => {
                self.change_one("DELETE FROM join_tokens WHERE token = ?1", [token.0])
            }
            Event::OperatorCreated {
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
            Event::OperatorRemoved { name } => {
                self.change_one("DELETE FROM operators WHERE key = ?1", [name.key()])
            }
            Event::NodeAdmitted { node } => {
                self.meta.node_last = *node;
                Ok(())
            }
            Event::NodeRetired { node } => {
                self.meta.node_last = self.meta.node_last.max(*node);
                let sql = "INSERT INTO retired_nodes (node) VALUES (?1)";
                self.change_one(sql, [stored(node.0)])
            }
            Event::LeaderPreferred { node } => {
                self.meta.preferred_leader = *node;
                Ok(())
            }
            _ => unreachable!("the caller has looked"),
        }
    }
}
