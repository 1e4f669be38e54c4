//! Recovers the cluster on this node by itself when the other one of two voters is gone, if the
//! operator has set that.
//!
//! `judge.rs` decides when that is safe, `fence.rs` has the other machine proven off. What comes of
//! it is a word to the process, which stops and carries the recovery out (`node/recover.rs`).

mod fence;
mod judge;

use std::{collections::BTreeSet, sync::Arc};

use conclave_core::AckPolicy;
use conclave_wire::v1::RecoveryMode;
use tokio::{
    sync::watch,
    time::{Duration, Instant, sleep},
};

use self::judge::{Judge, LOOK_EVERY, Sight, Verdict};
use crate::{
    base::system_time::system_time,
    cluster::roll_call::CONTACT_MAX,
    config::recover::{FailStop, Proof},
    context::node_context::NodeContext,
};

/// Pause before the command is run again that has not proven anything.
const FENCE_AGAIN: Duration = Duration::from_secs(10);
/// How often the other voters are asked for their setting, in looks.
const ASK_EVERY: u32 = 4;

/// Watches for the loss of the majority; tells once the node is to recover the cluster. Ends then.
pub(crate) async fn watch(
    shared: Arc<NodeContext>,
    how: FailStop,
    tell: watch::Sender<Option<GoesAlone>>,
) {
    let mut watched = Watched {
        judge: Judge::new(mode(Some(&how)), how.after),
        shared,
        alike: BTreeSet::new(),
        told: None,
        looks: 0,
    };
    let mut next_proof = Instant::now();
    loop {
        sleep(LOOK_EVERY).await;
        if watched.look().await != Verdict::Recovers || Instant::now() < next_proof {
            continue;
        }
        if let Proof::Command { command, limit } = &how.proof
            && let Err(why) = watched.prove(command, *limit).await
        {
            tracing::error!(%why, "the other voter is not proven to be off");
            next_proof = Instant::now() + FENCE_AGAIN;
            continue;
        }
        // The other one may have come back before it was off.
        if watched.look().await != Verdict::Recovers {
            continue;
        }
        let proven = matches!(how.proof, Proof::Command { .. });
        tracing::error!(
            proven,
            "the other voter is gone: this node recovers the cluster alone"
        );
        let cluster_id = watched.shared.identity.cluster_id.clone();
        tell.send_replace(Some(GoesAlone { cluster_id, proven }));
        return;
    }
}

/// A node is to recover its cluster alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoesAlone {
    /// Name of the cluster until now.
    pub cluster_id: String,
    /// Whether the other voter is proven to be off.
    pub proven: bool,
}

/// Returns the setting as nodes tell it each other.
pub(crate) fn mode(how: Option<&FailStop>) -> RecoveryMode {
    match how.map(|how| &how.proof) {
        None => RecoveryMode::Unspecified,
        Some(Proof::Command { .. }) => RecoveryMode::Fenced,
        Some(Proof::Assumed) => RecoveryMode::Assumed,
    }
}

struct Watched {
    shared: Arc<NodeContext>,
    judge: Judge,
    /// Nodes that have the same setting, as they have last said.
    alike: BTreeSet<u64>,
    told: Option<&'static str>,
    looks: u32,
}

impl Watched {
    async fn look(&mut self) -> Verdict {
        let shared = self.shared.clone();
        let replica = &shared.replica;
        let in_contact = replica.is_admitted()
            && replica.leader().borrow().is_some()
            && replica.cut_off_for() < CONTACT_MAX;
        if in_contact && self.looks.is_multiple_of(ASK_EVERY) {
            self.ask().await;
        }
        self.looks = self.looks.wrapping_add(1);
        let status = replica.status();
        let settled = status.members_settled && status.members.voters.len() == 1;
        let sight = Sight {
            own: shared.identity.node,
            waits_for_all: replica.ack_policy() == AckPolicy::All,
            voters: settled.then(|| status.members.all_voters()),
            in_contact,
            answering: shared.roll.answering(),
            alike: &self.alike,
            serves: !shared.is_draining() && replica.damage().is_none(),
        };
        let verdict = self.judge.look(&sight, Instant::now(), system_time());
        shared.recovery.set_ready(self.judge.is_armed());
        match verdict {
            Verdict::Refuses(why) if self.told.replace(why) != Some(why) => {
                tracing::error!(
                    why,
                    "a majority is gone, and this node does not recover by itself"
                );
            }
            Verdict::Refuses(_) => {}
            Verdict::Waits | Verdict::Recovers => self.told = None,
        }
        verdict
    }

    /// Has the other voter proven off, and goes on looking meanwhile: a pause of this process ends
    /// what it is allowed.
    async fn prove(&mut self, command: &str, limit: Duration) -> Result<(), String> {
        let (node, others) = (self.shared.identity.node, self.others());
        tracing::warn!(?others, "having the other voter proven off");
        let mut proof = std::pin::pin!(fence::prove(command, limit, node, &others));
        loop {
            tokio::select! {
                proven = &mut proof => return proven,
                () = sleep(LOOK_EVERY) => {
                    self.look().await;
                }
            }
        }
    }

    /// Asks the others for their setting.
    async fn ask(&mut self) {
        let own = self.shared.recovery.mode();
        for (node, _, status) in self.shared.statuses().await {
            let Some(status) = status else { continue };
            let said = status.recovery.unwrap_or_default().mode();
            match said == own {
                true => self.alike.insert(node),
                false => self.alike.remove(&node),
            };
        }
    }

    /// Returns the other voters and their addresses for peers.
    fn others(&self) -> Vec<(u64, String)> {
        let voters = self.shared.replica.status().members.all_voters();
        let others = self.shared.other_members().into_iter();
        let others = others.filter(|(node, _)| voters.contains(node));
        others
            .map(|(node, member)| (node, member.peer_address))
            .collect()
    }
}
