//! Publishes which node leads, as the engine knows it.

use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::watch;

use crate::{apply::Raft, health::meter::Meter};

/// Publishes the leader, and logs it once for each change.
pub(crate) async fn watch_leader(
    raft: Raft,
    node: u64,
    leader: watch::Sender<Option<u64>>,
    meter: Meter,
) {
    let mut metrics = raft.server_metrics();
    loop {
        let (now, term) = {
            let metrics = metrics.borrow_and_update();
            (metrics.current_leader, metrics.vote.leader_id.term)
        };
        let changed = leader.send_if_modified(|known| std::mem::replace(known, now) != now);
        if changed {
            tracing::info!(node, term, leader = now, "leader changed");
            if let Some(leads) = now {
                meter.leader_changed(leads == node);
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
