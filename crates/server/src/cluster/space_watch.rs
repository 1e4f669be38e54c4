//! Watches the disks of the voters, and decides whether the cluster refuses commands that store
//! more (`NO_SPACE`).
//!
//! The leader looks at its own disk (`space.rs`) and asks the voters about theirs, the other nodes
//! ask the leader. A leader whose own disk alone is the cause transfers leadership instead
//! (`leader/full.rs`).
//!
//! Always true: refusing begins long before the disk is full, and ends by itself.

use std::{sync::Arc, time::Duration};

use conclave_replica::{Lane, Role};
use tokio::{task::spawn_blocking, time::sleep};

use crate::context::node_context::NodeContext;

/// How often a node looks at its disk. Between two looks a disk fills by less than the mark.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Number of looks between two questions to other nodes.
const ASK_EVERY_LOOKS: u32 = 2;
/// How long another node may take to report the state of its disk.
const STATUS_LIMIT: Duration = Duration::from_millis(500);

/// Watches the disks for as long as the node runs.
pub(crate) async fn watch(shared: Arc<NodeContext>) {
    let mut looks: u32 = 0;
    loop {
        let looking = shared.clone();
        match spawn_blocking(move || looking.space.look()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "failed to measure the disk space"),
            Err(error) => tracing::warn!(%error, "failed to measure the disk space"),
        }
        if looks.is_multiple_of(ASK_EVERY_LOOKS) {
            ask(&shared).await;
        }
        looks = looks.wrapping_add(1);
        sleep(LOOK_EVERY).await;
    }
}

/// Finds out whether the cluster refuses commands that store more.
async fn ask(shared: &NodeContext) {
    let status = shared.replica.status();
    let space = &shared.space;
    let refuses = if status.role == Role::Leader {
        let statuses = shared.statuses().await;
        let has_room = |voter: &u64| {
            let found = statuses.iter().find(|(node, ..)| node == voter);
            let status = found.and_then(|(.., status)| status.as_ref());
            status.map(|status| !status.low_space)
        };
        space.is_in_the_way()
            || status.members.voters.iter().any(|voters| {
                let told: Vec<Option<bool>> = voters.iter().map(has_room).collect();
                lacks_room(&told)
            })
    } else {
        let leader = *shared.replica.leader().borrow();
        let Some((node, member)) =
            leader.and_then(|node| Some((node, shared.replica.member(node)?)))
        else {
            return;
        };
        let peer = shared.transport.grpc_peer(node, &member, Lane::Calls);
        match peer.status(STATUS_LIMIT).await {
            Ok(told) => told.refuses_growth,
            Err(_) => return,
        }
    };
    if space.set_refuses(refuses) != refuses {
        tracing::info!(
            refuses,
            "the refusal of requests that need space has changed"
        );
    }
}

/// Returns whether too few voters have room: some have none, and those that report room are no
/// majority. A voter that does not answer counts for neither.
fn lacks_room(voters: &[Option<bool>]) -> bool {
    let with_room = voters.iter().filter(|room| **room == Some(true)).count();
    voters.contains(&Some(false)) && with_room <= voters.len() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_with_space_is_enough_and_silence_is_no_shortage() {
        let (yes, no) = (Some(true), Some(false));
        assert!(!lacks_room(&[yes, yes, no]));
        assert!(lacks_room(&[yes, no, no]));
        assert!(lacks_room(&[yes, no, None]));
        assert!(!lacks_room(&[yes, None, None]));
        assert!(lacks_room(&[no]));
        assert!(!lacks_room(&[]));
    }
}
