//! Tokens with which machines join, and the numbers of nodes.

use conclave_core::Event;
use rusqlite::params;

use crate::state::{ApplyError, column::stored, writer::Writer};

impl Writer {
    pub(super) fn write_node(&mut self, event: &Event) -> Result<(), ApplyError> {
        match event {
            Event::JoinTokenCreated {
                token,
                expires_at,
                voter,
            } => {
                let sql = "INSERT INTO join_tokens (token, expires_at, voter) VALUES (?1, ?2, ?3)";
                self.change_one(sql, params![token.0, stored(expires_at.0), voter])
            }
            Event::JoinTokenRemoved { token } => {
                self.change_one("DELETE FROM join_tokens WHERE token = ?1", [token.0])
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
