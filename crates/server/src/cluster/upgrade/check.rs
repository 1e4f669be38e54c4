//! Says whether a node can be stopped to be upgraded now, whether the upgrade can be finalized, and
//! why not.
//!
//! Always true: it changes nothing, and it says what every member says now.

use conclave_core::{ClusterVersion, VersionRange};
use conclave_replica::{Members, Role};
use conclave_wire::{Problem, peer, v1};

use super::range_in;
use crate::{
    cluster::{leader::preferred::LAG_MAX, membership::Margin},
    context::{
        call::Call,
        node_context::{NodeContext, StatusOf},
    },
};

impl NodeContext {
    /// Returns whether the cluster can be upgraded now.
    pub(crate) async fn check_upgrade(
        &self,
        call: Call,
        _: v1::CheckUpgradeRequest,
    ) -> Result<v1::CheckUpgradeResponse, Problem> {
        self.for_operators(&call, "CheckUpgrade").await?;
        let statuses = self.statuses().await;
        let status = self.replica.status();
        let seen = Seen {
            version: self.replica.cluster_version(),
            members: &status.members,
            settled: status.members_settled,
            leader: status.leader,
            rotates: self.peer_authority().next.is_some(),
            statuses: &statuses,
        };
        Ok(v1::CheckUpgradeResponse {
            cluster_version: seen.version.0,
            finalizes_to: seen.finalizes_to().0,
            nodes: seen.nodes(),
            stop_obstacles: seen.stop_obstacles(),
            finalize_obstacles: seen.finalize_obstacles(),
        })
    }
}

/// What a node sees of the cluster.
struct Seen<'a> {
    version: ClusterVersion,
    members: &'a Members,
    settled: bool,
    leader: Option<u64>,
    /// Whether the secret is being rotated.
    rotates: bool,
    statuses: &'a [StatusOf],
}

impl Seen<'_> {
    fn ranges(&self) -> impl Iterator<Item = (u64, Option<VersionRange>)> {
        self.statuses.iter().map(|(node, _, told)| {
            let told = told.as_ref();
            let range = told.map(|told| range_in(told.oldest_version, told.newest_version));
            (*node, range)
        })
    }

    /// Returns the newest version that every member that answers can apply, and at least the
    /// cluster's.
    fn finalizes_to(&self) -> ClusterVersion {
        let newest = self
            .ranges()
            .filter_map(|(_, range)| range.map(|r| r.newest));
        newest.min().unwrap_or(self.version).max(self.version)
    }

    fn nodes(&self) -> Vec<v1::UpgradeNode> {
        let nodes = self.statuses.iter().zip(self.ranges());
        let nodes = nodes.map(|((node, _, told), (_, range))| v1::UpgradeNode {
            node_id: *node,
            reachable: told.is_some(),
            program_version: told
                .as_ref()
                .map_or_else(String::new, |t| t.version.clone()),
            oldest_version: range.map_or(0, |range| range.oldest.0),
            newest_version: range.map_or(0, |range| range.newest.0),
            leads: self.leader == Some(*node),
        });
        nodes.collect()
    }

    fn stop_obstacles(&self) -> Vec<v1::UpgradeObstacle> {
        let mut found = Vec::new();
        let up = self.statuses.iter().filter(|(_, _, told)| told.is_some());
        let up = up.map(|(node, ..)| *node).collect();
        let margins = self.members.voters.iter().map(|set| Margin::of(set, &up));
        let margins: Vec<Margin> = margins.collect();
        let voters = self.members.all_voters().len();
        if self.leader.is_none() || margins.iter().any(|margin| !margin.quorum) {
            found.push(of_cluster(
                "no_quorum",
                "the cluster has no leader or no majority",
            ));
        } else if voters < 3 {
            let sentence =
                format!("a cluster of {voters} voters serves nothing while one of them is stopped");
            found.push(of_cluster("few_voters", &sentence));
        } else if margins.iter().any(|margin| margin.spare == 0) {
            let sentence = "one voter less is no majority: start those that are down first";
            found.push(of_cluster("no_margin", sentence));
        }
        if !self.settled {
            found.push(of_cluster(
                "membership",
                "a change of the members is under way",
            ));
        }
        if self.rotates {
            found.push(of_cluster(
                "rotation",
                "the secret of the cluster is being rotated",
            ));
        }
        let commit = self
            .statuses
            .iter()
            .filter_map(|(_, _, told)| told.as_ref());
        let commit = commit.map(|told| told.commit_index).max().unwrap_or(0);
        for (node, _, told) in self.statuses {
            match told {
                None => found.push(of_node(*node, "unreachable", "it does not answer")),
                Some(told) => found.extend(of_status(*node, told, commit)),
            }
        }
        found
    }

    fn finalize_obstacles(&self) -> Vec<v1::UpgradeObstacle> {
        let mut found = Vec::new();
        let newest = self
            .ranges()
            .filter_map(|(_, range)| range.map(|r| r.newest));
        let newest = newest.max().unwrap_or(self.version);
        for (node, range) in self.ranges() {
            match range {
                None => found.push(of_node(node, "unreachable", "it does not answer")),
                Some(range) if range.newest < newest => {
                    let sentence = format!(
                        "its program applies cluster versions up to {}, others up to {newest}",
                        range.newest
                    );
                    found.push(of_node(node, "older_program", &sentence));
                }
                Some(_) => {}
            }
        }
        if !self.settled {
            found.push(of_cluster(
                "membership",
                "a change of the members is under way",
            ));
        }
        found
    }
}

/// Returns what is wrong with a node that answers.
fn of_status(
    node: u64,
    told: &peer::GetNodeStatusResponse,
    commit: u64,
) -> Vec<v1::UpgradeObstacle> {
    let lag = commit.saturating_sub(told.applied_index);
    let is_down =
        told.role == u32::try_from(crate::peer::convert::role_number(Role::Stopped)).unwrap_or(0);
    let cases = [
        (is_down, "stopped", "it has stopped"),
        (
            told.waits,
            "waits",
            "it does not take part yet: too few members have confirmed its data",
        ),
        (told.unreached, "unreached", "the leader does not reach it"),
        (
            told.differs_at_index != 0,
            "differs",
            "the states of the nodes differ: conclave cluster check",
        ),
        (told.clock_is_off, "clock", "its clock is off: set it"),
        (told.low_space, "low_space", "its disk is nearly full"),
        (
            !told.transfers.is_empty(),
            "transfer",
            "it sends or receives a snapshot",
        ),
    ];
    let mut found: Vec<_> = cases
        .into_iter()
        .filter(|(is_so, ..)| *is_so)
        .map(|(_, kind, sentence)| of_node(node, kind, sentence))
        .collect();
    if lag > LAG_MAX {
        found.push(of_node(
            node,
            "behind",
            &format!("it is {lag} entries behind"),
        ));
    }
    found
}

fn of_node(node_id: u64, kind: &str, sentence: &str) -> v1::UpgradeObstacle {
    v1::UpgradeObstacle {
        node_id,
        sentence: sentence.to_owned(),
        kind: kind.to_owned(),
    }
}

fn of_cluster(kind: &str, sentence: &str) -> v1::UpgradeObstacle {
    of_node(0, kind, sentence)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use conclave_replica::Member;

    use super::*;

    /// Returns members 1 to n, of which these answer with their newest versions.
    fn statuses(newest: &[Option<u32>]) -> (Members, Vec<StatusOf>) {
        let told = |newest: u32| peer::GetNodeStatusResponse {
            oldest_version: 1,
            newest_version: newest,
            ..peer::GetNodeStatusResponse::default()
        };
        let statuses: Vec<StatusOf> = (1..)
            .zip(newest)
            .map(|(node, newest)| (node, Member::default(), newest.map(told)))
            .collect();
        let numbers: BTreeSet<u64> = statuses.iter().map(|(node, ..)| *node).collect();
        let members = Members {
            nodes: numbers.iter().map(|n| (*n, Member::default())).collect(),
            voters: vec![numbers],
        };
        (members, statuses)
    }

    fn kinds(obstacles: &[v1::UpgradeObstacle]) -> Vec<(u64, &str)> {
        obstacles.iter().map(|o| (o.node_id, &*o.kind)).collect()
    }

    /// Checks the answer for a cluster at version 1.
    fn check(newest: &[Option<u32>], to: u32, stop: &[(u64, &str)], finalize: &[(u64, &str)]) {
        let (members, statuses) = statuses(newest);
        let seen = Seen {
            version: ClusterVersion(1),
            members: &members,
            settled: true,
            leader: Some(1),
            rotates: false,
            statuses: &statuses,
        };
        assert_eq!(seen.finalizes_to().0, to, "{newest:?}");
        assert_eq!(kinds(&seen.stop_obstacles()), stop, "{newest:?}");
        assert_eq!(kinds(&seen.finalize_obstacles()), finalize, "{newest:?}");
    }

    #[test]
    fn an_upgrade_is_finalized_only_when_every_member_can_apply_it() {
        check(&[Some(1); 3], 1, &[], &[]);
        check(&[Some(2); 3], 2, &[], &[]);
        let one_old = [Some(2), Some(1), Some(2)];
        check(&one_old, 1, &[], &[(2, "older_program")]);
        // A build from before there were versions says nothing.
        let says_nothing = [Some(2), Some(0), Some(2)];
        check(&says_nothing, 1, &[], &[(2, "older_program")]);
    }

    #[test]
    fn no_node_is_stopped_while_another_one_is_down() {
        let down = [Some(2), None, Some(2)];
        let stop = [(0, "no_margin"), (2, "unreachable")];
        check(&down, 2, &stop, &[(2, "unreachable")]);
        check(&[Some(2)], 2, &[(0, "few_voters")], &[]);
        let no_majority = [Some(2), None, None];
        let stop = [(0, "no_quorum"), (2, "unreachable"), (3, "unreachable")];
        check(
            &no_majority,
            2,
            &stop,
            &[(2, "unreachable"), (3, "unreachable")],
        );
        // Five nodes have room for one that is down and one that is stopped.
        let five = [Some(2), None, Some(2), Some(2), Some(2)];
        check(&five, 2, &[(2, "unreachable")], &[(2, "unreachable")]);
    }

    #[test]
    fn a_node_that_is_not_well_is_named() {
        let (members, mut statuses) = statuses(&[Some(2); 3]);
        let told = statuses[2].2.as_mut().unwrap();
        told.clock_is_off = true;
        told.low_space = true;
        statuses[0].2.as_mut().unwrap().commit_index = LAG_MAX + 1;
        for at in [0, 1] {
            statuses[at].2.as_mut().unwrap().applied_index = LAG_MAX;
        }
        let seen = Seen {
            version: ClusterVersion(2),
            members: &members,
            settled: false,
            leader: Some(1),
            rotates: true,
            statuses: &statuses,
        };
        let expected = [
            (0, "membership"),
            (0, "rotation"),
            (3, "clock"),
            (3, "low_space"),
            (3, "behind"),
        ];
        assert_eq!(kinds(&seen.stop_obstacles()), expected);
    }
}
