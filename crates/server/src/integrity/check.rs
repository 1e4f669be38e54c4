//! Checks the whole cluster: every node reads its log again and has SQLite check its tables, then
//! the rows of all nodes are compared (`walk.rs`).
//!
//! The node that receives the call leads the check. The leader of the cluster does so by itself
//! once a day, slowly.
//!
//! Always true: a check changes nothing. A node whose state diverges finds that out by itself
//! (`digests.rs`).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use conclave_replica::{Lane, Member, NodeMembership, Role};
use conclave_storage::state::CheckError;
use conclave_wire::{Problem, Reason, peer, v1};
use futures::future::join_all;
use tokio::time::sleep;

use crate::{
    base::random,
    context::{
        check_state::{Check, sound},
        node_context::NodeContext,
    },
    integrity::walk::Walk,
};

/// How long a node may read its log and its tables: ten minutes are hundreds of gigabytes of log.
const LOOK_LIMIT: Duration = Duration::from_secs(600);
/// How long the check of one table may take: so long the write-ahead log is not emptied.
const TABLE_LIMIT: Duration = Duration::from_secs(2);
/// Pause between two pieces that are read.
const PAUSE: Duration = Duration::from_millis(1);
/// Time from its start until a node looks whether a check is due, and the interval after that.
const FIRST_AFTER: Duration = Duration::from_secs(600);
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// Part of a check that runs on every node.
impl NodeContext {
    /// Reads the log again, and has SQLite check the tables.
    pub(crate) async fn check_here(self: &Arc<Self>) -> Result<peer::CheckNodeResponse, Problem> {
        let _turn = self.checks.look.try_acquire().map_err(|_| Problem::Busy)?;
        let shared = self.clone();
        let looked = tokio::task::spawn_blocking(move || shared.look_blocking());
        looked.await.map_err(|_| Problem::GoingAway)
    }

    fn look_blocking(&self) -> peer::CheckNodeResponse {
        let mut found = peer::CheckNodeResponse::default();
        let mut pause = || {
            std::thread::park_timeout(PAUSE);
            !self.is_stopping()
        };
        match self.replica.verify_log(&mut pause) {
            Ok(verified) => {
                found.log_whole = true;
                found.log_frames = verified.frames;
            }
            Err(error) => {
                found.unread = !error.is_damage();
                found.problem = error.to_string();
                return found;
            }
        }
        match self.replica.reader().check_tables(TABLE_LIMIT, &mut pause) {
            Ok(checked) if checked.left_out.is_empty() => {}
            Ok(checked) => {
                let tables = checked.left_out;
                tracing::info!(?tables, "left out the indexes of tables that are too large");
            }
            Err(error) => {
                found.unread = !matches!(error, CheckError::Damaged(_));
                found.problem = error.to_string();
            }
        }
        found
    }

    /// Asks any member to do so; returns `None` if it does not answer.
    async fn check_at(
        self: &Arc<Self>,
        node: u64,
        member: &Member,
    ) -> Option<peer::CheckNodeResponse> {
        if node == self.identity.node {
            return self.check_here().await.ok();
        }
        let peer = self.transport.grpc_peer(node, member, Lane::Calls);
        peer.check(LOOK_LIMIT).await.ok()
    }
}

/// Part of a check that runs on the node that leads it.
impl NodeContext {
    /// Returns the check with this number; 0: the check that is under way, or else a new one. If an
    /// operator waits for it, it goes on at once after each step.
    pub(crate) fn check(self: &Arc<Self>, id: u64, is_asked: bool) -> Result<Arc<Check>, Problem> {
        let mut last = sound(&self.checks.last);
        let known = last.as_ref().filter(|check| match id {
            0 => !check.lock().finished,
            id => check.lock().check_id == id,
        });
        if let Some(known) = known {
            known.hurry(is_asked);
            return Ok(known.clone());
        }
        if id != 0 {
            let sentence = "this node does not know this check; begin another one";
            return Err(Problem::refused(Reason::NoSuchCheck, sentence));
        }
        let mut members = self.members();
        // A witness has no rows of people.
        members.retain(|_, member| !member.witness);
        let node = |(node, member): (&u64, &Member)| v1::NodeCheck {
            node_id: *node,
            client_address: member.client_address.clone(),
            ..v1::NodeCheck::default()
        };
        let check = Arc::new(Check::begin(v1::CheckClusterResponse {
            check_id: u64::from_le_bytes(random::bytes()?).max(1),
            finished: false,
            log_index: 0,
            nodes: members.iter().map(node).collect(),
        }));
        check.hurry(is_asked);
        *last = Some(check.clone());
        tokio::spawn(self.clone().lead(check.clone(), members));
        Ok(check)
    }

    async fn lead(self: Arc<Self>, check: Arc<Check>, members: BTreeMap<u64, Member>) {
        let end = check.end_when_dropped();
        join_all(members.iter().map(|(node, member)| {
            let (shared, check) = (&self, &check);
            async move {
                let found = shared.check_at(*node, member).await;
                check.set(*node, |told| found_in(told, found));
            }
        }))
        .await;
        let unspecified = v1::CheckVerdict::Unspecified;
        let well = check.progress().nodes.into_iter();
        let well = well.filter(|node| node.verdict() == unspecified);
        let well: Vec<u64> = well.map(|node| node.node_id).collect();
        // Without rows of its own it cannot ask for those of others.
        if well.contains(&self.identity.node) {
            let walk = Walk::new(&self, &check, &members, well.into_iter());
            walk.run().await;
        }
        drop(end);
        let progress = check.progress();
        let log_index = progress.log_index;
        let bad: Vec<u64> = progress
            .nodes
            .iter()
            .filter(|node| node.verdict() != v1::CheckVerdict::Same)
            .map(|node| node.node_id)
            .collect();
        match bad.is_empty() {
            true => tracing::info!(log_index, "the cluster was checked: all is well"),
            false => tracing::error!(
                log_index,
                nodes = ?bad,
                "the cluster was checked: conclave cluster check shows what is wrong"
            ),
        }
    }

    /// Returns the last entry that this node or any voter has applied.
    pub(crate) async fn applied_anywhere(&self) -> u64 {
        let statuses = self.statuses().await.into_iter();
        let applied = statuses.filter_map(|(node, _, status)| Some((node, status?.applied_index)));
        let believed = |node: u64| {
            let is_voter = self.replica.membership_of(node) == NodeMembership::Voter;
            is_voter || node == self.identity.node
        };
        greatest_of(applied, believed)
    }

    pub(crate) async fn answering_nodes(&self) -> Vec<u64> {
        let statuses = self.statuses().await.into_iter();
        let up = statuses.filter(|(_, _, status)| status.is_some());
        up.map(|(node, ..)| node).collect()
    }
}

/// Returns the greatest index that a node has told that is believed. A learner may be hostile, and
/// an entry that is never reached would end the comparison.
fn greatest_of(told: impl Iterator<Item = (u64, u64)>, believed: impl Fn(u64) -> bool) -> u64 {
    let believed = told.filter(|(node, _)| believed(*node));
    believed.map(|(_, index)| index).max().unwrap_or(0)
}

/// Records what one node has found.
fn found_in(told: &mut v1::NodeCheck, found: Option<peer::CheckNodeResponse>) {
    let Some(found) = found else {
        // A node that finds damage restarts.
        told.set_verdict(v1::CheckVerdict::Unreachable);
        return;
    };
    told.log_whole = found.log_whole;
    told.log_frames = found.log_frames;
    told.problem = found.problem;
    if !told.problem.is_empty() {
        told.set_verdict(match found.unread {
            true => v1::CheckVerdict::Unread,
            false => v1::CheckVerdict::Damaged,
        });
    }
}

/// Checks the cluster once a day, if this node leads then.
pub(crate) async fn daily(shared: Arc<NodeContext>) {
    sleep(FIRST_AFTER).await;
    loop {
        if shared.replica.status().role == Role::Leader
            && let Err(problem) = shared.check(0, false)
        {
            tracing::warn!(%problem, "failed to check the cluster");
        }
        sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_only_a_learner_has_counts_for_nothing() {
        let told = [(1, 90), (2, 100), (4, u64::MAX)].into_iter();
        assert_eq!(greatest_of(told, |node| node < 4), 100);
    }

    #[test]
    fn damaged_and_unreachable_nodes_have_different_verdicts() {
        let mut told = v1::NodeCheck::default();
        found_in(&mut told, None);
        assert_eq!(told.verdict(), v1::CheckVerdict::Unreachable);
        let problem = peer::CheckNodeResponse {
            problem: "a page is bad".to_owned(),
            log_whole: true,
            ..peer::CheckNodeResponse::default()
        };
        let unread = peer::CheckNodeResponse {
            unread: true,
            ..problem.clone()
        };
        found_in(&mut told, Some(unread));
        assert_eq!(told.verdict(), v1::CheckVerdict::Unread);
        found_in(&mut told, Some(problem));
        assert_eq!(told.verdict(), v1::CheckVerdict::Damaged);
        assert!(told.log_whole);
    }
}
