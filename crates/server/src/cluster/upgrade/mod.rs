//! Raises the cluster version, which opens what a new release adds and closes the way back.
//!
//! A cluster that has none yet is given the newest version that all of its members can apply, by
//! the task of its leader. Afterwards only an operator raises it (`conclave cluster upgrade
//! finalize`): until then every node can go back to the release before.
//!
//! Always true: only the leader raises it, and only after every member has said now that it can
//! apply the version; the log refuses the raise if another node has become a member meanwhile
//! (`core/src/decide/nodes/raise_version.rs`), and the leader adds no node that cannot apply it.

mod check;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use conclave_core::{AuditAct, ClusterVersion, NodeId, OnceId, VersionRange};
use conclave_replica::{Lane, Role};
use conclave_wire::{Problem, Reason, request, v1};
use tokio::time::sleep;

use crate::{
    base::{deadline::Deadline, random},
    context::{access::accepted, audit::ToNote, call::Call, node_context::NodeContext},
    protocol::problems,
};

/// Pause after which the leader of a cluster without a version asks the members for theirs, and the
/// longest one while a member does not answer.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_LATER: Duration = Duration::from_secs(5);
/// How long raising the version may take in that case.
const RAISE_LIMIT: Duration = Duration::from_secs(3);
/// How long the members may take to confirm that this node leads.
const BARRIER_LIMIT: Duration = Duration::from_secs(1);

/// Gives a cluster its first version. Ends once it has one.
pub(crate) async fn keep(shared: Arc<NodeContext>) {
    let mut pause = LOOK_FIRST;
    while !shared.replica.has_cluster_version() {
        sleep(pause).await;
        if shared.replica.status().role != Role::Leader {
            pause = LOOK_FIRST;
            continue;
        }
        if let Err(problem) = shared.raise_here(None, RAISE_LIMIT).await {
            tracing::debug!(%problem, "the cluster has no version yet");
            pause = (2 * pause).min(LOOK_LATER);
        }
    }
}

/// Returns the versions that a node says it can apply.
pub(crate) fn range_in(oldest: u32, newest: u32) -> VersionRange {
    // A build from before there were versions says nothing.
    VersionRange {
        oldest: ClusterVersion(oldest).max(ClusterVersion::FIRST),
        newest: ClusterVersion(newest).max(ClusterVersion::FIRST),
    }
}

impl NodeContext {
    /// Returns the cluster version that a new member must be able to apply: the cluster's, or the
    /// one that this node is about to raise it to.
    fn version_of_members(&self) -> ClusterVersion {
        let raising = ClusterVersion(self.raising.load(Ordering::SeqCst));
        self.replica.cluster_version().max(raising)
    }

    /// Refuses a node that cannot apply what the cluster writes.
    pub(crate) fn fits_the_cluster(&self, can: VersionRange) -> Result<(), Problem> {
        let cluster = self.version_of_members();
        match can.contains(cluster) {
            true => Ok(()),
            false => Err(Problem::refused(
                Reason::VersionUnsupported,
                format!(
                    "the program of this machine applies cluster versions {} to {}, and the \
                     cluster has version {cluster}",
                    can.oldest, can.newest
                ),
            )),
        }
    }

    /// Raises the version as the leader: to `wanted`, or to the newest one that every member can
    /// apply. Returns the version then.
    pub(crate) async fn raise_here(
        &self,
        wanted: Option<ClusterVersion>,
        limit: Duration,
    ) -> Result<ClusterVersion, Problem> {
        // No node becomes a member between the question and the entry.
        let _adding = self.rotation.adding.lock().await;
        let deadline = Deadline::after(limit);
        let confirmed = self.replica.read_barrier(BARRIER_LIMIT.min(limit)).await;
        confirmed.map_err(|error| problems::of_read(&error))?;
        let status = self.replica.status();
        if status.role != Role::Leader {
            return Err(Problem::NoLeader {
                nodes_reachable: None,
            });
        }
        if !status.members_settled {
            return Err(Problem::Busy);
        }
        let asked = self.statuses().await;
        let answered: BTreeSet<u64> = asked
            .iter()
            .filter_map(|(node, _, told)| told.as_ref().map(|_| *node))
            .collect();
        let silent = status.members.nodes.keys();
        if let Some(node) = silent.into_iter().find(|node| !answered.contains(node)) {
            let sentence = format!(
                "every member must say that it can apply the version, and node {node} does not \
                 answer: nothing was changed"
            );
            return Err(Problem::refused(Reason::MembersUnreachable, sentence));
        }
        let ranges = asked.iter().filter_map(|(node, _, told)| {
            let told = told.as_ref()?;
            Some((*node, range_in(told.oldest_version, told.newest_version)))
        });
        let ranges: Vec<(u64, VersionRange)> = ranges.collect();
        let newest = ranges.iter().map(|(_, range)| range.newest).min();
        let to = wanted.or(newest).unwrap_or(ClusterVersion::FIRST);
        let now = self.replica.cluster_version();
        if self.replica.has_cluster_version() && to <= now {
            return Ok(now);
        }
        if let Some((node, range)) = ranges.iter().find(|(_, range)| !range.contains(to)) {
            let sentence = format!(
                "the program of node {node} applies cluster versions {} to {}, not {to}: nothing \
                 was changed",
                range.oldest, range.newest
            );
            return Err(Problem::refused(Reason::VersionUnsupported, sentence));
        }
        // Also if the outcome is unknown: the entry may be on its way.
        self.raising.fetch_max(to.0, Ordering::SeqCst);
        let asked = ranges.into_iter().map(|(node, _)| NodeId(node)).collect();
        let command = request::raise_version(OnceId(random::bytes()?), to, asked);
        let outcome = self.propose(command, deadline).await?;
        accepted(&outcome, |_| Some(to))
    }

    /// Raises the version on behalf of an operator, on any node.
    pub(crate) async fn finalize_upgrade(
        &self,
        call: Call,
        asked: v1::FinalizeUpgradeRequest,
    ) -> Result<v1::FinalizeUpgradeResponse, Problem> {
        self.for_operators(&call, "FinalizeUpgrade").await?;
        let wanted = asked.cluster_version;
        let version = self
            .at_leader(call.deadline, |shared, leader, left| {
                let credential = call.credential.clone();
                Box::pin(async move {
                    match leader {
                        None => shared
                            .raise_here(version_in(wanted), left)
                            .await
                            .map(|v| v.0),
                        Some((node, member)) => {
                            let peer = shared.transport.grpc_peer(node, &member, Lane::Calls);
                            peer.finalize_upgrade(wanted, &credential, left).await
                        }
                    }
                })
            })
            .await;
        let target = match (&version, wanted) {
            (Ok(version), _) => format!("version {version}"),
            (Err(_), 0) => String::new(),
            (Err(_), wanted) => format!("version {wanted}"),
        };
        let act = ToNote {
            act: AuditAct::FinalizeUpgrade,
            target: &target,
            detail: "",
            problem: version.as_ref().err(),
        };
        self.note_act(&call.credential, act).await;
        Ok(v1::FinalizeUpgradeResponse {
            cluster_version: version?,
        })
    }
}

/// Returns the version that a request names; 0 names none.
pub(crate) fn version_in(asked: u32) -> Option<ClusterVersion> {
    (asked != 0).then_some(ClusterVersion(asked))
}
