//! Admission as an observer sees it: of accounts by invites and log-ins, of nodes by join tokens
//! and operators.

use conclave_core::{
    AccessEvent, AccountEvent, ClusterEvent, Event,
    limits::{LOGIN_PLACES_MAX, THROTTLE_MAX_MS},
};

use super::Observer;

impl Observer {
    pub(super) fn read_admission(&mut self, event: &Event) {
        match event {
            Event::Access(AccessEvent::SetupOffered { token }) => self.setup = Some(*token),
            Event::Access(AccessEvent::InviteCreated {
                invite,
                expires_at,
                uses,
                ..
            }) => {
                self.invite_last += 1;
                assert_eq!(
                    invite.0, self.invite_last,
                    "invites are numbered without gaps"
                );
                assert!(*expires_at > self.time, "an invite was never of use");
                self.invites.insert(*invite, (*uses, *expires_at));
            }
            Event::Access(AccessEvent::InviteUsed { invite, uses_left }) => {
                let (left, until) = self.invites.get_mut(invite).expect("there is one");
                assert!(*until > self.time, "an invite was used after its time");
                *left -= 1;
                assert_eq!(left, uses_left, "uses are counted");
                if *left == 0 {
                    self.invites.remove(invite);
                }
            }
            Event::Access(AccessEvent::InviteRemoved { invite }) => {
                self.invites.remove(invite).expect("there is one");
            }
            Event::Access(AccessEvent::LoginFailed {
                key,
                failures,
                not_before,
                at,
            }) => {
                assert!(*failures > 0, "no failure was counted");
                // Failures that are forgiven of an address set its time back.
                assert!(*at <= self.time);
                let wait = not_before.0.saturating_sub(self.time.0);
                assert!(wait <= THROTTLE_MAX_MS, "a wait is too long");
                self.throttled.insert(*key);
            }
            Event::Access(AccessEvent::LoginForgiven { key }) => {
                assert!(self.throttled.remove(key), "there was nothing to forgive");
            }
            Event::Access(AccessEvent::LoginKnown { account, place, at }) => {
                assert_eq!(*at, self.time);
                assert!(self.is_alive(*account), "a missing account logged in");
                self.places.insert(*place, *account);
                let places = self.places.values().filter(|of| *of == account);
                assert!(
                    places.count() <= LOGIN_PLACES_MAX,
                    "too many places are known"
                );
            }
            Event::Access(AccessEvent::LoginForgotten { account, place }) => {
                assert_eq!(
                    self.places.remove(place),
                    Some(*account),
                    "it was not known"
                );
            }
            Event::Cluster(ClusterEvent::JoinTokenCreated {
                token, expires_at, ..
            }) => {
                assert!(*expires_at > self.time, "a token was never of use");
                self.join_tokens.insert(*token, *expires_at);
            }
            Event::Cluster(ClusterEvent::JoinTokenRemoved { token }) => {
                self.join_tokens.remove(token).expect("there is one");
            }
            Event::Cluster(ClusterEvent::OperatorCreated { name, token, .. }) => {
                let known = self.operators.values().any(|other| other == token);
                assert!(!known, "one credential for two operators");
                let before = self.operators.insert(name.key(), *token);
                assert!(before.is_none(), "one name for two operators");
            }
            Event::Cluster(ClusterEvent::OperatorRemoved { name }) => {
                self.operators.remove(&name.key()).expect("there is one");
            }
            Event::Cluster(ClusterEvent::NodeAdmitted { node }) => {
                assert!(*node > self.node_last, "a number is given twice");
                self.node_last = *node;
            }
            Event::Cluster(ClusterEvent::NodeRetired { node }) => {
                assert!(self.retired.insert(*node), "a number is used up twice");
                self.node_last = self.node_last.max(*node);
            }
            Event::Cluster(ClusterEvent::AuthorityRotated { is_final, .. }) => {
                let was_announced = std::mem::replace(&mut self.rotating, !is_final);
                assert!(was_announced || !is_final, "nothing was announced");
            }
            Event::Cluster(ClusterEvent::VersionRaised { to }) => {
                assert!(Some(*to) > self.version, "the version falls");
                self.version = Some(*to);
            }
            Event::Cluster(ClusterEvent::RetentionChanged { retention }) => {
                assert_ne!(self.retention, *retention, "nothing is kept anew");
                self.retention = *retention;
            }
            Event::Cluster(ClusterEvent::LeaderPreferred { .. })
            | Event::Cluster(ClusterEvent::AckPolicyChanged { .. })
            | Event::Account(AccountEvent::LimitsChanged { .. }) => {}
            other => panic!("{other:?} is not about access"),
        }
    }
}
