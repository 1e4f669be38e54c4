//! A leader whose disk is nearly full transfers leadership to a voter that has room.
//!
//! A cluster of which a majority has room need not refuse growth because the leader has none. So
//! such a leader lets another voter lead, and a voter whose disk is nearly full leaves early
//! campaigns to the others. If it is elected all the same it transfers leadership again.
//!
//! Always true: leadership goes only to a voter that answers, has nearly everything and has room,
//! and only if a majority has room without this node; so it never goes in a circle. Between two
//! transfers there is a pause, and a leader that is not relieved refuses what grows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use conclave_core::NodeId;
use conclave_replica::Role;
use tokio::time::{Instant, sleep};

use crate::{
    cluster::leader::preferred::LAG_MAX, context::node_context::NodeContext, protocol::problems,
};

/// How often a node looks whether it leads with a disk that is nearly full.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a transfer may take.
const TRANSFER_LIMIT: Duration = Duration::from_secs(2);
/// Pause after a transfer before the next one: with a disk at its mark, leadership moves at most
/// this often.
const PAUSE: Duration = Duration::from_secs(5);
/// Transfers that may fail, one after the other, before this leader refuses what grows.
const TRIES_MAX: u32 = 3;

/// Status that a voter reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct VoterStatus {
    has_room: bool,
    is_draining: bool,
    applied_index: u64,
}

/// Transfers leadership whenever this node leads and its disk is nearly full.
pub(crate) async fn keep(shared: Arc<NodeContext>) {
    let (mut tries, mut next) = (0, Instant::now());
    loop {
        sleep(LOOK_EVERY).await;
        let space = &shared.space;
        shared
            .replica
            .stand_back(!shared.may_lead() || space.is_low() && !space.refuses());
        let status = shared.replica.status();
        if status.role != Role::Leader || !space.is_low() {
            tries = 0;
            space.set_leaving(false);
            continue;
        }
        let successor = successor_of(&shared).await;
        space.set_leaving(successor.is_some() && tries < TRIES_MAX && !space.is_full());
        let Some(node) = successor.filter(|_| Instant::now() >= next) else {
            continue;
        };
        tries += 1;
        tracing::warn!(
            node,
            free_bytes = space.free(),
            "the disk is nearly full: transferring leadership to a voter that has room"
        );
        let done = shared.replica.transfer_leader(Some(node), TRANSFER_LIMIT);
        if let Err(error) = done.await {
            let problem = problems::of_change(&error);
            tracing::warn!(node, %problem, "failed to transfer leadership");
        }
        next = Instant::now() + PAUSE;
    }
}

/// Asks the voters, and returns the one that is to lead.
async fn successor_of(shared: &NodeContext) -> Option<u64> {
    let statuses = shared.statuses().await.into_iter();
    let told = statuses.filter_map(|(node, _, status)| {
        let status = status?;
        let told = VoterStatus {
            has_room: !status.low_space,
            is_draining: status.draining || status.witness,
            applied_index: status.applied_index,
        };
        Some((node, told))
    });
    let status = shared.replica.status();
    let preferred = shared.preferred_leader().map(|NodeId(node)| node);
    successor(
        &status.members.voters,
        &told.collect(),
        status.log_index_last,
        preferred,
    )
}

/// Returns the voter that is to lead instead of a leader without room: the preferred leader, or the
/// voter with the most of the log. `None` if no majority has room.
fn successor(
    voters: &[BTreeSet<u64>],
    told: &BTreeMap<u64, VoterStatus>,
    log_index_last: u64,
    preferred: Option<u64>,
) -> Option<u64> {
    let has_room = |node: &&u64| told.get(node).is_some_and(|told| told.has_room);
    let suffices = |set: &BTreeSet<u64>| set.iter().filter(has_room).count() > set.len() / 2;
    if voters.is_empty() || !voters.iter().all(suffices) {
        return None;
    }
    let votes = |node: &u64| voters.iter().all(|set| set.contains(node));
    let is_near = |told: &VoterStatus| told.applied_index.saturating_add(LAG_MAX) >= log_index_last;
    told.iter()
        .filter(|(node, told)| votes(node) && told.has_room && !told.is_draining && is_near(told))
        .max_by_key(|(node, told)| {
            let is_preferred = Some(**node) == preferred;
            (is_preferred, told.applied_index, std::cmp::Reverse(**node))
        })
        .map(|(node, _)| *node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(list: &[(u64, bool, u64)]) -> BTreeMap<u64, VoterStatus> {
        let one = |(node, has_room, applied_index): &(u64, bool, u64)| {
            let (has_room, applied_index) = (*has_room, *applied_index);
            let told = VoterStatus {
                has_room,
                is_draining: false,
                applied_index,
            };
            (*node, told)
        };
        list.iter().map(one).collect()
    }

    fn voters(nodes: &[u64]) -> Vec<BTreeSet<u64>> {
        vec![nodes.iter().copied().collect()]
    }

    #[test]
    fn the_preferred_or_most_advanced_voter_with_space_leads() {
        let three = voters(&[1, 2, 3]);
        let all = told(&[(1, false, 100), (2, true, 90), (3, true, 95)]);
        assert_eq!(successor(&three, &all, 100, None), Some(3));
        assert_eq!(successor(&three, &all, 100, Some(2)), Some(2));
        // The preferred leader has no room itself.
        assert_eq!(successor(&three, &all, 100, Some(1)), Some(3));
        let equal = told(&[(1, false, 100), (2, true, 100), (3, true, 100)]);
        assert_eq!(successor(&three, &equal, 100, None), Some(2));
    }

    #[test]
    fn leadership_stays_without_a_majority_with_free_space() {
        let three = voters(&[1, 2, 3]);
        let one = told(&[(1, false, 100), (2, false, 100), (3, true, 100)]);
        assert_eq!(successor(&three, &one, 100, None), None);
        // Voter 2 is silent: without it there is no majority that has room.
        let silent = told(&[(1, false, 100), (3, true, 100)]);
        assert_eq!(successor(&three, &silent, 100, None), None);
        assert_eq!(
            successor(&voters(&[1]), &told(&[(1, false, 1)]), 1, None),
            None
        );
        assert_eq!(successor(&[], &all_well(), 1, None), None);
    }

    fn all_well() -> BTreeMap<u64, VoterStatus> {
        told(&[(1, true, 1), (2, true, 1), (3, true, 1)])
    }

    #[test]
    fn a_drained_voter_is_not_chosen_as_leader() {
        let three = voters(&[1, 2, 3]);
        let mut all = told(&[(1, false, 100), (2, true, 90), (3, true, 95)]);
        all.get_mut(&3).unwrap().is_draining = true;
        assert_eq!(successor(&three, &all, 100, Some(3)), Some(2));
    }

    #[test]
    fn lagging_voters_and_learners_are_not_chosen_as_leader() {
        let three = voters(&[1, 2, 3]);
        let last = 10 * LAG_MAX;
        let far = told(&[(1, false, last), (2, true, 1), (3, true, last - LAG_MAX)]);
        assert_eq!(successor(&three, &far, last, Some(2)), Some(3));
        let learner = told(&[(1, false, 9), (2, true, 1), (3, true, 1), (4, true, 9)]);
        assert_eq!(successor(&three, &learner, 9, None), Some(2));
        // During a change of the members both majorities count.
        let both = [voters(&[1, 2, 3]), voters(&[1, 4, 5])].concat();
        let all = told(&[
            (1, false, 9),
            (2, true, 9),
            (3, true, 9),
            (4, true, 9),
            (5, false, 9),
        ]);
        assert_eq!(successor(&both, &all, 9, None), None);
    }
}
