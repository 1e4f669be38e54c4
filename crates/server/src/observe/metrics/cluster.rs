//! Metrics of the cluster as this node sees it: members, engine, proposals, followers, snapshots.

use std::{collections::BTreeSet, fmt};

use conclave_core::AckPolicy;
use conclave_replica::Role;

use super::OfStarted;
use crate::{
    cluster::{membership::Margin, roll_call::CONTACT_MAX},
    observe::page::{Page, label},
    peer::snapshots::Direction,
};

/// All roles, with their names as labels.
const ROLES: [(Role, &str); 5] = [
    (Role::Leader, "leader"),
    (Role::Follower, "follower"),
    (Role::Candidate, "candidate"),
    (Role::Learner, "learner"),
    (Role::Stopped, "stopped"),
];

impl OfStarted<'_> {
    /// Returns the members that this node reaches, itself included, without those that it refuses.
    fn up(&self) -> BTreeSet<u64> {
        let mut up = self.node.roll.answering();
        up.insert(self.node.identity.node);
        let refused = self.node.roll.refused();
        up.retain(|member| !refused.contains(member));
        up
    }

    /// Returns those of them that take entries.
    fn taking(&self, up: &BTreeSet<u64>) -> BTreeSet<u64> {
        let mut taking = self.node.roll.taking();
        if self.node.takes_entries() {
            taking.insert(self.node.identity.node);
        }
        &taking & up
    }

    /// Returns the margin of each set of voters.
    fn margins(&self, up: &BTreeSet<u64>) -> Vec<Margin> {
        let sets = self.status.members.voters.iter();
        sets.map(|set| Margin::of(set, up)).collect()
    }

    pub(super) fn members(&self, page: &mut Page<'_>) -> fmt::Result {
        let (node, members) = (self.node, &self.status.members);
        let voters = members.all_voters();
        let (refused, up) = (node.roll.refused(), self.up());
        let margins = self.margins(&up);
        let spare = self.margins(&self.taking(&up));
        let spare = spare.iter().map(|margin| margin.spare).min();
        let learners = members.nodes.len().saturating_sub(voters.len());
        page.gauges(
            "conclave_members",
            "Members of the cluster, by role.",
            [
                ([label("role", "voter")], voters.len()),
                ([label("role", "learner")], learners),
            ],
        )?;
        page.gauge(
            "conclave_voters_reachable",
            "Voters that this node reaches, itself included.",
            voters.intersection(&up).count(),
        )?;
        page.gauge(
            "conclave_quorum_reachable",
            "Whether this node reaches a majority of the voters.",
            has_quorum(&margins),
        )?;
        page.gauge(
            "conclave_failures_tolerated",
            "How many more failures of voters the cluster would survive, as this node sees it; a \
             voter that takes no entries counts as failed.",
            spare.unwrap_or(0),
        )?;
        let set_aside = members.nodes.values().filter(|member| member.set_aside);
        page.gauge(
            "conclave_members_set_aside",
            "Members without a vote, for which acknowledgements have waited for too long.",
            set_aside.count(),
        )?;
        page.gauge(
            "conclave_recovered_alone",
            "Whether the node has recovered the cluster without an operator, and votes alone \
             since.",
            node.recovery.has_recovered() && voters.len() == 1,
        )?;
        let others = members.nodes.keys().filter(|id| **id != node.identity.node);
        page.gauges(
            "conclave_peer_reachable",
            "Whether another member has answered this node within the last second or so.",
            others.map(|id| ([label("peer", id.to_string())], up.contains(id))),
        )?;
        page.gauges(
            "conclave_peer_refused",
            "Whether the state of another member is refused, so that it takes no part.",
            refused
                .iter()
                .map(|id| ([label("peer", id.to_string())], 1_u64)),
        )
    }

    pub(super) fn engine(&self, page: &mut Page<'_>) -> fmt::Result {
        let (status, counts) = (&self.status, &self.figures.counts);
        let roles = ROLES.into_iter();
        page.gauges(
            "conclave_raft_role",
            "Role of the node in the cluster: 1 for the one that it has.",
            roles.map(|(role, name)| ([label("role", name)], role == status.role)),
        )?;
        let contact = self.node.replica.cut_off_for();
        page.gauge(
            "conclave_raft_leader_known",
            "Whether the node knows a leader, and has heard it lately or, if it leads, reaches a \
             majority.",
            status.leader.is_some() && contact < CONTACT_MAX,
        )?;
        page.gauge(
            "conclave_raft_leader_node",
            "Number of the leader that the node knows; 0: none.",
            status.leader.unwrap_or(0),
        )?;
        page.gauge(
            "conclave_raft_contact_age_seconds",
            "Time since a leader with a majority was heard or, on a leader, since a majority \
             answered it, in seconds.",
            contact.as_secs_f64(),
        )?;
        for (name, help, value) in [
            ("conclave_raft_term", "Term of the node.", status.term),
            (
                "conclave_raft_last_index",
                "Index of the last entry in its log.",
                status.log_index_last,
            ),
            (
                "conclave_raft_commit_index",
                "Index of the last entry that it knows to be committed.",
                status.commit_index,
            ),
            (
                "conclave_raft_purged_index",
                "Index of the last entry that is gone from its log.",
                status.purged_index,
            ),
        ] {
            page.gauge(name, help, value)?;
        }
        page.counter(
            "conclave_raft_leader_changes_total",
            "How often the node has learnt of another leader, or has become it.",
            counts.leader_changes,
        )?;
        page.counter(
            "conclave_raft_elections_won_total",
            "How often the node has become the leader.",
            counts.elections_won,
        )
    }

    pub(super) fn proposals(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = &self.figures.counts;
        page.latencies(
            "conclave_proposal_duration_seconds",
            "Time from the proposal of an entry by this leader until a majority has it and it is \
             decided here, in seconds.",
            [([], counts.commits)],
        )?;
        page.counter(
            "conclave_proposals_unknown_total",
            "Entries that this node has proposed and whose outcome it does not know.",
            counts.outcomes_unknown,
        )?;
        page.counter(
            "conclave_proposals_busy_total",
            "Refusals of commands because too many wait to be proposed.",
            counts.busy,
        )?;
        page.gauge(
            "conclave_acknowledgements_wait_for_all",
            "Whether acknowledgements wait for all voters, and not only for a majority.",
            self.node.replica.ack_policy() == AckPolicy::All,
        )?;
        page.gauge(
            "conclave_acknowledgements_held",
            "Entries of this leader that are decided and whose acknowledgements wait for voters.",
            self.figures.acknowledgements_held,
        )?;
        page.counter(
            "conclave_voters_set_aside_total",
            "How often this node has set a voter aside, as the leader.",
            counts.voters_set_aside,
        )
    }

    pub(super) fn followers(&self, page: &mut Page<'_>) -> fmt::Result {
        let followers = self.figures.followers.iter();
        let last = self.status.log_index_last;
        page.gauges(
            "conclave_replication_lag_entries",
            "Entries of this leader that a follower is not known to have.",
            followers.clone().map(|follower| {
                let lag = last.saturating_sub(follower.matched_index);
                ([label("peer", follower.node.to_string())], lag)
            }),
        )?;
        let heard = followers.filter_map(|follower| Some((follower.node, follower.heard?)));
        page.gauges(
            "conclave_replication_heard_age_seconds",
            "Age of the last request of this leader that a follower has answered, in seconds.",
            heard.map(|(id, ago)| ([label("peer", id.to_string())], ago.as_secs_f64())),
        )
    }

    pub(super) fn snapshots(&self, page: &mut Page<'_>) -> fmt::Result {
        let transfers = self.node.snapshots.transfers();
        let under_way = transfers.list();
        let directions = [(Direction::Out, "out"), (Direction::In, "in")];
        let of = |direction| {
            under_way
                .iter()
                .filter(move |one| one.direction == direction)
        };
        page.counters(
            "conclave_snapshot_transfers_total",
            "Attempts to send (out) or to receive (in) a snapshot.",
            directions.map(|(way, name)| ([label("direction", name)], transfers.begun(way))),
        )?;
        page.gauges(
            "conclave_snapshot_transfers_active",
            "Snapshots that are being sent (out) or received (in).",
            directions.map(|(way, name)| ([label("direction", name)], of(way).count())),
        )?;
        page.gauges(
            "conclave_snapshot_missing_bytes",
            "Bytes of these snapshots that are still to come.",
            directions.map(|(way, name)| {
                let missing = of(way).map(|one| one.bytes_total.saturating_sub(one.bytes_done));
                ([label("direction", name)], missing.sum::<u64>())
            }),
        )?;
        page.counter(
            "conclave_snapshots_installed_total",
            "Received snapshots that have taken the place of the database.",
            self.figures.counts.snapshots_installed,
        )
    }
}

/// Returns whether a majority of each set of voters is reached.
fn has_quorum(margins: &[Margin]) -> bool {
    !margins.is_empty() && margins.iter().all(|margin| margin.quorum)
}
