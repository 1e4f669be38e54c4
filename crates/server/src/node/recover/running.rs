//! Asks the other voters, before they are given up, whether the cluster still runs.
//!
//! A survivor that is recovered takes the cluster from all others: they stop when they hear of it.
//! So a node that only stands still, while the others go on, must be started and not recovered.
//!
//! Always true: it asks in the node's name, changes nothing, and every question has a deadline.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use conclave_wire::peer;
use futures::future::join_all;

use super::{RecoverError, Recovery};
use crate::{
    peer::join_client,
    tls::{
        CertificateSubject, Security,
        security::{self, Credentials},
    },
};

/// How long a voter may take to answer. All are asked at the same time.
const LIMIT: Duration = Duration::from_secs(2);

/// Voters that answer although they were to be given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Numbers of the other voters that answer.
    pub nodes: Vec<u64>,
    /// Number of the leader that one of them knows, if any does.
    pub leader: Option<u64>,
}

impl Recovery {
    /// Asks the other voters for their status. Returns those that answer if they have a leader, or
    /// would have one together with this node; `None` if the cluster stands still.
    ///
    /// # Errors
    /// [`RecoverError::CannotAsk`] if the node has no credentials with which it could ask.
    pub async fn running(&self) -> Result<Option<Running>, RecoverError> {
        let security = self.security()?;
        let (node, members) = (self.node(), &self.standing().members);
        let others = members.all_voters().into_iter().filter(|id| *id != node);
        let asked = others.filter_map(|other| {
            let address = members.nodes.get(&other)?.peer_address.clone();
            let dial = security.dial(other);
            let envelope = peer::Envelope {
                cluster_id: self.cluster_id().to_owned(),
                source_node_id: node,
                target_node_id: other,
                // This start of the node is not announced.
                source_incarnation: 0,
            };
            Some(async move {
                let answer = join_client::status(&address, &dial, envelope, LIMIT).await;
                answer.ok().map(|status| (other, status.leader_id))
            })
        });
        let answers = join_all(asked).await.into_iter().flatten().collect();
        Ok(running(node, &members.voters, &answers))
    }

    fn security(&self) -> Result<Security, RecoverError> {
        let cannot = |why: String| RecoverError::CannotAsk { why };
        let credentials = Credentials::load(self.claim.directory());
        let credentials = credentials.map_err(|error| cannot(error.to_string()))?;
        let subject = CertificateSubject::at(Some(self.node()), &[]);
        let security = security::of(false, credentials.as_ref(), subject);
        security.map_err(|error| cannot(error.to_string()))
    }
}

/// Returns the voters that answer, if they go on or could go on with `node`. `voters`: the sets of
/// which each needs a majority; `answers`: the leader that each of the other voters knows, or 0.
fn running(node: u64, voters: &[BTreeSet<u64>], answers: &BTreeMap<u64, u64>) -> Option<Running> {
    // A voter may not have noticed yet that this node, as its leader, has stopped.
    let mut leaders = answers.values().copied();
    let leader = leaders.find(|leader| *leader != 0 && *leader != node);
    let is_there = |voter: &&u64| **voter == node || answers.contains_key(*voter);
    let is_majority = |set: &BTreeSet<u64>| set.iter().filter(is_there).count() > set.len() / 2;
    let can_go_on = !answers.is_empty() && voters.iter().all(is_majority);
    (leader.is_some() || can_go_on).then(|| Running {
        nodes: answers.keys().copied().collect(),
        leader,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the leader and the voters that keep node 3 from being recovered.
    fn refused(voters: &[&[u64]], answers: &[(u64, u64)]) -> Option<(Vec<u64>, Option<u64>)> {
        let voters: Vec<BTreeSet<u64>> = voters
            .iter()
            .map(|set| set.iter().copied().collect())
            .collect();
        let found = running(3, &voters, &answers.iter().copied().collect());
        found.map(|found| (found.nodes, found.leader))
    }

    #[test]
    fn only_a_cluster_that_stands_still_is_recovered() {
        let (two, three, five) = (&[2, 3][..], &[1, 2, 3][..], &[1, 2, 3, 4, 5][..]);
        // The other two of three go on, and one of them is enough to go on with this node.
        let both = Some((vec![1, 2], Some(1)));
        assert_eq!(refused(&[three], &[(1, 1), (2, 1)]), both);
        assert_eq!(refused(&[three], &[(2, 0)]), Some((vec![2], None)));
        assert_eq!(refused(&[two], &[(2, 0)]), Some((vec![2], None)));
        // A majority is gone, whether this node is the only survivor or not.
        assert_eq!(refused(&[three], &[]), None);
        assert_eq!(refused(&[two], &[]), None);
        assert_eq!(refused(&[five], &[(1, 0)]), None);
        assert_eq!(refused(&[five], &[(1, 3)]), None, "it is this node itself");
        let three_of_five = Some((vec![1, 2], None));
        assert_eq!(refused(&[five], &[(1, 0), (2, 0)]), three_of_five);
        // Some leader that it does not reach goes on.
        assert_eq!(refused(&[five], &[(1, 4)]), Some((vec![1], Some(4))));
        // A change of the members needs both majorities.
        assert_eq!(refused(&[three, &[3, 4, 5]], &[(1, 0)]), None);
        // A node alone needs no recovery, and there is no other to start instead.
        assert_eq!(refused(&[&[3]], &[]), None);
    }
}
