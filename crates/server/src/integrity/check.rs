//! Checks the whole cluster: every node reads its log again, and makes the digest of its state
//! after the same entry.
//!
//! The node that receives the call leads the check: it agrees with all nodes on an entry at which
//! each holds its state, then has each node examine it, then compares. The leader of the cluster
//! does so by itself once a day.
//!
//! Always true: a check changes nothing. A node whose state diverges finds that out by itself
//! (`digests.rs`).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use conclave_replica::{Lane, Member, Pin, Role};
use conclave_storage::state::{CheckError, Pinned};
use conclave_wire::{Problem, Reason, peer, v1};
use futures::future::join_all;
use tokio::time::sleep;

use crate::{
    base::random,
    context::{
        check_state::{Check, sound},
        node_context::NodeContext,
    },
    protocol::problems,
};

/// How long a node may take to reach the entry at which it is to hold its state.
const HOLD_LIMIT: Duration = Duration::from_secs(3);
/// How long a node holds its state until it is asked to examine it: less than a snapshot waits for
/// readers to release the state.
const HELD_MAX: Duration = Duration::from_secs(8);
/// How long a node may examine: ten minutes are hundreds of gigabytes of log, or tens of state.
const LOOK_LIMIT: Duration = Duration::from_secs(600);
/// Number of attempts to agree on an entry.
const AGREE_ATTEMPTS: u32 = 6;
/// Pause between two looks at how fast the log grows.
const PACE: Duration = Duration::from_millis(250);
/// Number of these pauses by which an agreed entry lies ahead, and number of entries on top.
const AHEAD: u64 = 6;
const AHEAD_ENTRIES: u64 = 16;
/// Pause between two pieces that are read.
const PAUSE: Duration = Duration::from_millis(1);
/// Time from its start until a node looks whether a check is due, and the interval after that.
const FIRST_AFTER: Duration = Duration::from_secs(600);
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// Part of a check that runs on every node.
impl NodeContext {
    /// Holds the state as it is after entry `index`, or examines what is held.
    pub(crate) async fn check_here(
        self: &Arc<Self>,
        index: u64,
        hold: bool,
    ) -> Result<peer::CheckNodeResponse, Problem> {
        match hold {
            true => self.hold(index).await,
            false => self.look(index).await,
        }
    }

    async fn hold(self: &Arc<Self>, index: u64) -> Result<peer::CheckNodeResponse, Problem> {
        let pin = self.replica.pin(index, HOLD_LIMIT).await;
        let (held, applied_index) = match pin.map_err(|error| problems::of_read(&error))? {
            Pin::Passed { applied } => (false, applied),
            Pin::Pinned(pinned) => {
                *sound(&self.checks.held) = Some(pinned);
                // A held state keeps the write-ahead log from being emptied.
                let shared = self.clone();
                tokio::spawn(async move {
                    sleep(HELD_MAX).await;
                    let mut held = sound(&shared.checks.held);
                    drop(held.take_if(|pinned| pinned.index() == index));
                });
                (true, index)
            }
        };
        Ok(peer::CheckNodeResponse {
            held,
            applied_index,
            ..peer::CheckNodeResponse::default()
        })
    }

    async fn look(self: &Arc<Self>, index: u64) -> Result<peer::CheckNodeResponse, Problem> {
        let _turn = self.checks.look.try_acquire().map_err(|_| Problem::Busy)?;
        let held = sound(&self.checks.held).take_if(|pinned| pinned.index() == index);
        let pinned = held.ok_or(Problem::Busy)?;
        let shared = self.clone();
        let looked = tokio::task::spawn_blocking(move || shared.look_blocking(&pinned));
        looked.await.map_err(|_| Problem::GoingAway)
    }

    fn look_blocking(&self, pinned: &Pinned) -> peer::CheckNodeResponse {
        let mut found = peer::CheckNodeResponse {
            held: true,
            applied_index: pinned.index(),
            ..peer::CheckNodeResponse::default()
        };
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
        let digest = pinned.check_file().and_then(|()| pinned.digest(&mut pause));
        match digest {
            Ok(digest) => {
                self.compared.note(pinned.index(), digest.digest);
                found.digest = digest.digest.to_vec().into();
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
        (index, hold): (u64, bool),
    ) -> Option<peer::CheckNodeResponse> {
        if node == self.identity.node {
            return self.check_here(index, hold).await.ok();
        }
        let peer = self.transport.grpc_peer(node, member, Lane::Calls);
        let limit = match hold {
            true => HOLD_LIMIT + HOLD_LIMIT / 2,
            false => LOOK_LIMIT,
        };
        peer.check(index, hold, limit).await.ok()
    }
}

/// Part of a check that runs on the node that leads it.
impl NodeContext {
    /// Returns the check with this number; 0: the check that is under way, or else a new one.
    pub(crate) fn check(self: &Arc<Self>, id: u64) -> Result<Arc<Check>, Problem> {
        let mut last = sound(&self.checks.last);
        let known = last.as_ref().filter(|check| match id {
            0 => !check.lock().finished,
            id => check.lock().check_id == id,
        });
        if let Some(known) = known {
            return Ok(known.clone());
        }
        if id != 0 {
            let sentence = "this node does not know this check; begin another one";
            return Err(Problem::refused(Reason::NoSuchCheck, sentence));
        }
        let members = self.members();
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
        *last = Some(check.clone());
        tokio::spawn(self.clone().lead(check.clone(), members));
        Ok(check)
    }

    async fn lead(self: Arc<Self>, check: Arc<Check>, members: BTreeMap<u64, Member>) {
        let (index, holding) = self.agree(&check, &members).await;
        check.lock().log_index = index;
        join_all(holding.into_iter().map(|node| {
            let (shared, check, member) = (&self, &check, &members[&node]);
            async move {
                let found = shared.check_at(node, member, (index, false)).await;
                check.set(node, |told| found_in(told, found));
            }
        }))
        .await;
        let voters = self.replica.status().members.all_voters();
        let mut progress = check.lock();
        compare(
            &mut progress.nodes,
            |node| voters.contains(&node),
            voters.len(),
        );
        progress.finished = true;
        let bad: Vec<u64> = progress
            .nodes
            .iter()
            .filter(|node| node.verdict() != v1::CheckVerdict::Same)
            .map(|node| node.node_id)
            .collect();
        match bad.is_empty() {
            true => tracing::info!(log_index = index, "the cluster was checked: all is well"),
            false => tracing::error!(
                log_index = index,
                nodes = ?bad,
                "the cluster was checked: conclave cluster check shows what is wrong"
            ),
        }
    }

    /// Has all nodes hold their states after one entry. Returns the entry, and the nodes that hold.
    async fn agree(
        self: &Arc<Self>,
        check: &Check,
        members: &BTreeMap<u64, Member>,
    ) -> (u64, Vec<u64>) {
        for attempt in 1..=AGREE_ATTEMPTS {
            let earlier = self.applied_anywhere().await;
            sleep(PACE).await;
            let now = self.applied_anywhere().await;
            let ahead = match now.saturating_sub(earlier) {
                0 => 0,
                grown => grown * AHEAD + AHEAD_ENTRIES,
            };
            let index = now + ahead;
            let asked = members.iter().map(|(node, member)| async move {
                let answer = self.check_at(*node, member, (index, true)).await;
                (*node, answer)
            });
            let answers = join_all(asked).await;
            let passed = answers
                .iter()
                .any(|(_, answer)| answer.as_ref().is_some_and(|answer| !answer.held));
            let holding: Vec<u64> = answers
                .iter()
                .filter(|(_, answer)| answer.as_ref().is_some_and(|answer| answer.held))
                .map(|(node, _)| *node)
                .collect();
            let majority = members.len() / 2 + 1;
            if (!passed && holding.len() >= majority) || attempt == AGREE_ATTEMPTS {
                let up: Vec<u64> = self.answering_nodes().await;
                for node in members.keys().filter(|node| !holding.contains(node)) {
                    let verdict = match up.contains(node) {
                        true => v1::CheckVerdict::Behind,
                        false => v1::CheckVerdict::Unreachable,
                    };
                    check.set(*node, |told| told.set_verdict(verdict));
                }
                return (index, holding);
            }
        }
        (0, Vec::new())
    }

    /// Returns the last entry that any member has applied.
    async fn applied_anywhere(&self) -> u64 {
        let statuses = self.statuses().await.into_iter();
        let applied = statuses.filter_map(|(_, _, status)| status.map(|s| s.applied_index));
        applied.max().unwrap_or(0)
    }

    async fn answering_nodes(&self) -> Vec<u64> {
        let statuses = self.statuses().await.into_iter();
        let up = statuses.filter(|(_, _, status)| status.is_some());
        up.map(|(node, ..)| node).collect()
    }
}

/// Records what one node has found.
fn found_in(told: &mut v1::NodeCheck, found: Option<peer::CheckNodeResponse>) {
    let Some(found) = found else {
        // The node held its state but no longer answers: a node that finds damage restarts.
        told.set_verdict(v1::CheckVerdict::Unreachable);
        return;
    };
    told.log_whole = found.log_whole;
    told.log_frames = found.log_frames;
    told.digest = found.digest;
    told.problem = found.problem;
    if !told.problem.is_empty() {
        told.set_verdict(match found.unread {
            true => v1::CheckVerdict::Unread,
            false => v1::CheckVerdict::Damaged,
        });
    }
}

/// Compares the digests of the nodes that have made one.
fn compare(nodes: &mut [v1::NodeCheck], is_voter: impl Fn(u64) -> bool, voters: usize) {
    let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for node in nodes.iter().filter(|node| is_voter(node.node_id)) {
        if !node.digest.is_empty() {
            *counts.entry(node.digest.to_vec()).or_default() += 1;
        }
    }
    let majority = voters / 2 + 1;
    let most = counts.into_iter().find(|(_, count)| *count >= majority);
    for node in nodes.iter_mut().filter(|node| !node.digest.is_empty()) {
        node.set_verdict(match &most {
            None => v1::CheckVerdict::NoMajority,
            Some((most, _)) if most[..] == node.digest[..] => v1::CheckVerdict::Same,
            Some(_) => v1::CheckVerdict::Diverged,
        });
    }
}

/// Checks the cluster once a day, if this node leads then.
pub(crate) async fn daily(shared: Arc<NodeContext>) {
    sleep(FIRST_AFTER).await;
    loop {
        if shared.replica.status().role == Role::Leader
            && let Err(problem) = shared.check(0)
        {
            tracing::warn!(%problem, "failed to check the cluster");
        }
        sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(node_id: u64, digest: &[u8]) -> v1::NodeCheck {
        v1::NodeCheck {
            node_id,
            digest: digest.to_vec().into(),
            ..v1::NodeCheck::default()
        }
    }

    fn verdicts(nodes: &mut [v1::NodeCheck], voters: u64) -> Vec<v1::CheckVerdict> {
        let count = usize::try_from(voters).unwrap();
        compare(nodes, |node| node <= voters, count);
        nodes.iter().map(v1::NodeCheck::verdict).collect()
    }

    #[test]
    fn a_node_that_differs_from_the_voter_majority_has_diverged() {
        use v1::CheckVerdict::{Diverged, NoMajority, Same, Unspecified};
        let (a, b) = (&[1; 32][..], &[2; 32][..]);
        let mut nodes = [node(1, a), node(2, a), node(3, b), node(4, b)];
        assert_eq!(verdicts(&mut nodes, 3), [Same, Same, Diverged, Diverged]);
        let mut nodes = [node(1, a), node(2, b), node(3, &[])];
        assert_eq!(
            verdicts(&mut nodes, 3),
            [NoMajority, NoMajority, Unspecified]
        );
    }

    #[test]
    fn damaged_and_unreachable_nodes_have_different_verdicts() {
        let mut told = node(1, &[]);
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
