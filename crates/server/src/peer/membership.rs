//! Translates requests to change the membership: what clients and nodes send, and what the replica
//! changes.

use conclave_core::ClusterVersion;
use conclave_replica::{Change, Member};
use conclave_wire::{
    Problem, Reason, address,
    v1::{self, change_members_request::Change as Asked},
};

/// Request to change the membership.
#[derive(Clone, Debug)]
pub(crate) struct ChangeRequest {
    pub(crate) change: Change,
    /// Whether only the consequences are asked for.
    pub(crate) dry_run: bool,
    /// Whether the change is made even if it leaves no majority.
    pub(crate) force: bool,
    /// The newest cluster version that a node to be added can apply, if it was asked.
    pub(crate) newest: Option<ClusterVersion>,
}

impl ChangeRequest {
    /// Returns what the audit log says of it: what it is about, and how.
    pub(crate) fn for_audit(&self) -> (String, String) {
        let (change, node, other) = match self.change {
            Change::Add { node, replaces, .. } => ("add", node, replaces),
            Change::Promote(node) => ("promote", node, None),
            Change::Demote(node) => ("demote", node, None),
            Change::Remove(node) => ("remove", node, None),
            Change::Replace { old, new } => ("replace", new, Some(old)),
        };
        let replaces = other.map_or_else(String::new, |other| format!(" replaces={other}"));
        let force = if self.force { " force" } else { "" };
        (
            format!("node {node}"),
            format!("change={change}{replaces}{force}"),
        )
    }

    /// Creates a request to make this change, unless it leaves no majority.
    pub(crate) fn of(change: Change) -> Self {
        Self {
            change,
            dry_run: false,
            force: false,
            newest: None,
        }
    }

    /// Returns this request, for a node that says what it is and which versions it applies.
    pub(crate) fn said_by_node(mut self, newest: Option<ClusterVersion>, is_witness: bool) -> Self {
        self.newest = newest;
        if let Change::Add { member, .. } = &mut self.change {
            member.witness = is_witness;
        }
        self
    }

    /// Returns whether the change adds a witness.
    pub(crate) fn adds_witness(&self) -> bool {
        matches!(&self.change, Change::Add { member, .. } if member.witness)
    }

    /// Reads a request of a client or a node.
    pub(crate) fn from_wire(request: v1::ChangeMembersRequest) -> Result<Self, Problem> {
        Ok(Self {
            change: change_in(request.change)?,
            dry_run: request.dry_run,
            force: request.force,
            newest: None,
        })
    }

    /// Returns the form for another node.
    pub(crate) fn to_wire(&self) -> v1::ChangeMembersRequest {
        v1::ChangeMembersRequest {
            change: Some(change_out(&self.change)),
            dry_run: self.dry_run,
            force: self.force,
        }
    }
}

fn change_in(asked: Option<Asked>) -> Result<Change, Problem> {
    match asked {
        Some(Asked::Add(node)) => {
            for address in [&node.peer_address, &node.client_address] {
                let invalid = |why| Problem::refused(Reason::AddressInvalid, why);
                address::check(address).map_err(invalid)?;
            }
            let member = Member {
                peer_address: node.peer_address,
                client_address: node.client_address,
                witness: false,
                set_aside: false,
            };
            Ok(Change::Add {
                node: node.node_id,
                member,
                replaces: (node.replaces_node_id != 0).then_some(node.replaces_node_id),
            })
        }
        Some(Asked::PromoteNodeId(node)) => Ok(Change::Promote(node)),
        Some(Asked::DemoteNodeId(node)) => Ok(Change::Demote(node)),
        Some(Asked::RemoveNodeId(node)) => Ok(Change::Remove(node)),
        Some(Asked::Replace(replace)) => Ok(Change::Replace {
            old: replace.old_node_id,
            new: replace.new_node_id,
        }),
        None => Err(Problem::refused(
            Reason::ChangeMissing,
            "the request names no change",
        )),
    }
}

fn change_out(change: &Change) -> Asked {
    match change {
        Change::Add {
            node,
            member,
            replaces,
        } => Asked::Add(v1::AddNode {
            node_id: *node,
            peer_address: member.peer_address.clone(),
            client_address: member.client_address.clone(),
            replaces_node_id: replaces.unwrap_or(0),
        }),
        Change::Promote(node) => Asked::PromoteNodeId(*node),
        Change::Demote(node) => Asked::DemoteNodeId(*node),
        Change::Remove(node) => Asked::RemoveNodeId(*node),
        Change::Replace { old, new } => Asked::Replace(v1::ReplaceNode {
            old_node_id: *old,
            new_node_id: *new,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_arrives_at_the_leader_as_it_was_asked_for() {
        let member = Member {
            peer_address: "10.0.0.1:7400".to_owned(),
            client_address: "10.0.0.1:7500".to_owned(),
            witness: false,
            set_aside: false,
        };
        let add = |replaces| Change::Add {
            node: 4,
            member: member.clone(),
            replaces,
        };
        for change in [
            add(None),
            add(Some(3)),
            Change::Promote(4),
            Change::Demote(4),
            Change::Remove(4),
            Change::Replace { old: 3, new: 4 },
        ] {
            for (dry_run, force) in [(false, true), (true, false)] {
                let sent = ChangeRequest {
                    change: change.clone(),
                    dry_run,
                    force,
                    newest: None,
                };
                let received = ChangeRequest::from_wire(sent.to_wire()).unwrap();
                assert_eq!(format!("{received:?}"), format!("{sent:?}"));
            }
        }
    }

    #[test]
    fn a_request_without_a_change_or_with_a_bad_address_is_refused() {
        let refused = |change| {
            let request = v1::ChangeMembersRequest {
                change,
                ..v1::ChangeMembersRequest::default()
            };
            let problem = ChangeRequest::from_wire(request).unwrap_err();
            problem.reason()
        };
        assert_eq!(refused(None), Reason::ChangeMissing);
        let bad = v1::AddNode {
            node_id: 4,
            peer_address: "10.0.0.1:7400".to_owned(),
            ..v1::AddNode::default()
        };
        assert_eq!(refused(Some(Asked::Add(bad))), Reason::AddressInvalid);
    }
}
