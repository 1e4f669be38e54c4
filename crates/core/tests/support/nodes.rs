//! The part of the simplest state about nodes and join tokens.

use std::collections::{BTreeMap, BTreeSet};

use conclave_core::{
    AckPolicy, ClusterEvent, ClusterRetention, ClusterVersion, Event, NodeId, OperatorName,
    Timestamp, TokenHash,
    lookup::{JoinToken, PeerAuthority},
};

/// A part of [`super::Memory`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Nodes {
    pub(super) last: NodeId,
    pub(super) retired: BTreeSet<NodeId>,
    pub(super) preferred: Option<NodeId>,
    pub(super) ack_policy: AckPolicy,
    pub(super) authority: PeerAuthority,
    pub(super) version: Option<ClusterVersion>,
    pub(super) retention: ClusterRetention,
    pub(super) tokens: BTreeMap<TokenHash, JoinToken>,
    /// Operators by the keys of their names.
    pub(super) operators: BTreeMap<String, (OperatorName, TokenHash)>,
}

impl Nodes {
    pub(super) fn write(&mut self, event: &Event) {
        match event {
            Event::Cluster(ClusterEvent::JoinTokenCreated {
                token,
                expires_at,
                voter,
                ..
            }) => {
                let row = JoinToken {
                    expires_at: *expires_at,
                    voter: *voter,
                };
                assert_eq!(self.tokens.insert(*token, row), None, "made twice");
            }
            Event::Cluster(ClusterEvent::JoinTokenRemoved { token }) => {
                self.tokens.remove(token).expect("it was made");
            }
            Event::Cluster(ClusterEvent::OperatorCreated { name, token, .. }) => {
                let row = (name.clone(), *token);
                let before = self.operators.insert(name.key(), row);
                assert_eq!(before, None, "one name for two operators");
            }
            Event::Cluster(ClusterEvent::OperatorRemoved { name }) => {
                self.operators.remove(&name.key()).expect("it was there");
            }
            Event::Cluster(ClusterEvent::NodeAdmitted { node }) => {
                assert!(*node > self.last, "a number is given twice");
                self.last = *node;
            }
            Event::Cluster(ClusterEvent::NodeRetired { node }) => {
                assert!(self.retired.insert(*node), "retired twice");
                self.last = self.last.max(*node);
            }
            Event::Cluster(ClusterEvent::AuthorityRotated {
                generation,
                authority,
                is_final,
            }) => {
                assert!(*generation > self.authority.generation, "a step back");
                match is_final {
                    true => {
                        assert_eq!(self.authority.next.take(), Some(*authority));
                        self.authority.generation = *generation;
                    }
                    false => self.authority.next = Some(*authority),
                }
            }
            Event::Cluster(ClusterEvent::VersionRaised { to }) => {
                assert!(Some(*to) > self.version, "the version falls");
                self.version = Some(*to);
            }
            Event::Cluster(ClusterEvent::RetentionChanged { retention }) => {
                assert_ne!(self.retention, *retention, "nothing is kept anew");
                self.retention = *retention;
            }
            Event::Cluster(ClusterEvent::LeaderPreferred { node }) => {
                assert_ne!(self.preferred, *node, "nothing is preferred anew");
                self.preferred = *node;
            }
            Event::Cluster(ClusterEvent::AckPolicyChanged { policy }) => {
                assert_ne!(self.ack_policy, *policy, "nothing is set anew");
                self.ack_policy = *policy;
            }
            other => panic!("{other:?} is not about nodes"),
        }
    }

    /// Returns the tokens that have expired, in order.
    pub(super) fn expired(&self, now: Timestamp) -> Vec<TokenHash> {
        let expired = self.tokens.iter().filter(|(_, row)| row.expires_at <= now);
        let by_time: BTreeSet<_> = expired
            .map(|(token, row)| (row.expires_at, *token))
            .collect();
        by_time.into_iter().map(|(_, token)| token).collect()
    }
}
