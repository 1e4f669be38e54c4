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

use crate::{cluster::preferred_leader::LAG_MAX, context::shared::Shared, protocol::problems};

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
struct Told {
    has_room: bool,
    applied_index: u64,
}

/// Transfers leadership whenever this node leads and its disk is nearly full.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let (mut tries, mut next) = (0, Instant::now());
    loop {
        sleep(LOOK_EVERY).await;
        let space = &shared.space;
        shared
            .replica
            .stand_back(space.is_low() && !space.refuses());
        let status = shared.replica.status();
        if status.role != Role::Leader || !space.is_low() {
            tries = 0;
            space.set_leaving(false);
            continue;
        }
        let heir = heir_of(&shared).await;
        space.set_leaving(heir.is_some() && tries < TRIES_MAX && !space.is_full());
        let Some(node) = heir.filter(|_| Instant::now() >= next) else {
            continue;
        };
        tries += 1;
        tracing::warn!(
            node,
            free_bytes = space.free(),
            "the disk is nearly full: leadership goes to a voter that has room"
        );
        let done = shared.replica.transfer_leader(Some(node), TRANSFER_LIMIT);
        if let Err(error) = done.await {
            let problem = problems::of_change(&error);
            tracing::warn!(node, %problem, "leadership could not be handed over");
        }
        next = Instant::now() + PAUSE;
    }
}

/// Asks the voters, and returns the one that is to lead.
async fn heir_of(shared: &Shared) -> Option<u64> {
    let statuses = shared.statuses().await.into_iter();
    let told = statuses.filter_map(|(node, _, status)| {
        let status = status?;
        let told = Told {
            has_room: !status.low_space,
            applied_index: status.applied_index,
        };
        Some((node, told))
    });
    let status = shared.replica.status();
    let preferred = shared.preferred_leader().map(|NodeId(node)| node);
    heir(
        &status.members.voters,
        &told.collect(),
        status.log_index_last,
        preferred,
    )
}

/// Returns the voter that is to lead instead of a leader without room: the preferred leader, or the
/// voter with the most of the log. `None` if no majority has room.
fn heir(
    voters: &[BTreeSet<u64>],
    told: &BTreeMap<u64, Told>,
    log_index_last: u64,
    preferred: Option<u64>,
) -> Option<u64> {
    let has_room = |node: &&u64| told.get(node).is_some_and(|told| told.has_room);
    let suffices = |set: &BTreeSet<u64>| set.iter().filter(has_room).count() > set.len() / 2;
    if voters.is_empty() || !voters.iter().all(suffices) {
        return None;
    }
    let votes = |node: &u64| voters.iter().all(|set| set.contains(node));
    let is_near = |told: &Told| told.applied_index.saturating_add(LAG_MAX) >= log_index_last;
    told.iter()
        .filter(|(node, told)| votes(node) && told.has_room && is_near(told))
        .max_by_key(|(node, told)| {
            let is_preferred = Some(**node) == preferred;
            (is_preferred, told.applied_index, std::cmp::Reverse(**node))
        })
        .map(|(node, _)| *node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(list: &[(u64, bool, u64)]) -> BTreeMap<u64, Told> {
        let one = |(node, has_room, applied_index): &(u64, bool, u64)| {
            let (has_room, applied_index) = (*has_room, *applied_index);
            let told = Told {
                has_room,
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
    fn the_voter_with_room_and_the_most_of_the_log_leads_or_the_preferred_one() {
        let three = voters(&[1, 2, 3]);
        let all = told(&[(1, false, 100), (2, true, 90), (3, true, 95)]);
        assert_eq!(heir(&three, &all, 100, None), Some(3));
        assert_eq!(heir(&three, &all, 100, Some(2)), Some(2));
        // The preferred leader has no room itself.
        assert_eq!(heir(&three, &all, 100, Some(1)), Some(3));
        let equal = told(&[(1, false, 100), (2, true, 100), (3, true, 100)]);
        assert_eq!(heir(&three, &equal, 100, None), Some(2));
    }

    #[test]
    fn without_a_majority_that_has_room_leadership_stays() {
        let three = voters(&[1, 2, 3]);
        let one = told(&[(1, false, 100), (2, false, 100), (3, true, 100)]);
        assert_eq!(heir(&three, &one, 100, None), None);
        // Voter 2 is silent: without it there is no majority that has room.
        let silent = told(&[(1, false, 100), (3, true, 100)]);
        assert_eq!(heir(&three, &silent, 100, None), None);
        assert_eq!(heir(&voters(&[1]), &told(&[(1, false, 1)]), 1, None), None);
        assert_eq!(heir(&[], &all_well(), 1, None), None);
    }

    fn all_well() -> BTreeMap<u64, Told> {
        told(&[(1, true, 1), (2, true, 1), (3, true, 1)])
    }

    #[test]
    fn a_voter_that_is_far_behind_or_no_voter_does_not_lead() {
        let three = voters(&[1, 2, 3]);
        let last = 10 * LAG_MAX;
        let far = told(&[(1, false, last), (2, true, 1), (3, true, last - LAG_MAX)]);
        assert_eq!(heir(&three, &far, last, Some(2)), Some(3));
        let learner = told(&[(1, false, 9), (2, true, 1), (3, true, 1), (4, true, 9)]);
        assert_eq!(heir(&three, &learner, 9, None), Some(2));
        // During a change of the members both majorities count.
        let both = [voters(&[1, 2, 3]), voters(&[1, 4, 5])].concat();
        let all = told(&[
            (1, false, 9),
            (2, true, 9),
            (3, true, 9),
            (4, true, 9),
            (5, false, 9),
        ]);
        assert_eq!(heir(&both, &all, 9, None), None);
    }
}
