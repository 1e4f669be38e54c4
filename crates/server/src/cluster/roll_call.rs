//! Runs the roll call: every node announces itself to the other nodes, when it starts and every
//! second afterwards, and takes part only after enough of them have confirmed what it says.
//!
//! A node announces which incarnation of which data directory it is, how far its log reaches, and
//! its addresses. The others compare that with what they know (`incarnations.rs`): a node with data
//! older than what it has acknowledged is refused, and is repaired like one with damaged data; a
//! second process with the number of a running node is refused, and stops; a node that has moved is
//! reached at its new addresses, which the leader commits.
//!
//! Always true: a node that has not been confirmed by enough members for a majority gives no vote
//! and acknowledges nothing (`conclave_replica::Replica::admit`). A node that was refused by any
//! voter never does. The answer of a member without a vote ends no node and confirms none: its
//! machine may be hostile.

use std::{sync::Arc, time::Duration};

use conclave_replica::Role;
use conclave_wire::peer;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    context::{node_context::NodeContext, roll_call_state::Ended},
    identity::incarnations::WRITE_EVERY,
};

pub(crate) mod hear;
mod round;

use round::Round;

/// How often a node announces itself before it takes part, and after that.
const AGAIN: Duration = Duration::from_millis(150);
const EVERY: Duration = Duration::from_secs(1);
/// How long a member may take to answer, because it may have to ask at another address first.
const LIMIT: Duration = Duration::from_millis(1500);
/// How long the log may take to commit the new addresses of a member.
const MOVE_LIMIT: Duration = Duration::from_secs(2);
/// Time without contact from the leader after which a follower is not healthy: dozens of
/// heartbeats.
pub(crate) const CONTACT_MAX: Duration = Duration::from_secs(3);
/// How long the leader may take to confirm that it leads, if it does not reach this node.
const CONFIRM_LIMIT: Duration = Duration::from_millis(500);

/// Announces this node for as long as it runs. Ends when the node must stop, with the reason.
pub(crate) async fn run(shared: Arc<NodeContext>, ended: watch::Sender<Option<Ended>>) {
    let mut written_at = Instant::now();
    let (mut told, mut are_two) = (None, false);
    loop {
        let round = Round::hold(&shared).await;
        if let Some(why) = round.older.filter(|_| !shared.is_stopping()) {
            shared.replica.fence(&format!(
                "its data is older than what it acknowledged: {why}"
            ));
            return;
        }
        if let Some(end) = round.ended {
            tracing::error!(reason = %end.why, "this node must stop");
            ended.send_replace(Some(end));
            return;
        }
        if shared.replica.is_admitted() {
            commit_moves(&shared).await;
            look_for_contact(&shared).await;
            let voters = shared.replica.status().members.all_voters().len();
            if voters == 2 && !std::mem::replace(&mut are_two, true) {
                tracing::warn!("two voters tolerate no failure: add a third");
            }
            are_two = voters == 2;
        } else if round.is_enough {
            if let Err(error) = shared.replica.admit().await {
                tracing::error!(%error, "failed to take part");
            } else {
                tracing::info!(confirmed_by = ?round.accepted, "this node takes part");
            }
            continue;
        } else {
            let waits = round
                .waits
                .unwrap_or_else(|| "too few members answer".to_owned());
            if told.as_ref() != Some(&waits) {
                tracing::info!(reason = %waits, "waiting for members to confirm this node's data");
                told = Some(waits);
            }
        }
        if written_at.elapsed() >= WRITE_EVERY {
            written_at = Instant::now();
            let members = shared.replica.status().members.nodes;
            shared
                .roll
                .incarnations()
                .keep_only(|node| members.is_empty() || members.contains_key(&node));
            if let Err(error) = shared.roll.store().await {
                tracing::warn!(%error, "failed to store what is known of the other nodes");
            }
        }
        sleep(if shared.replica.is_admitted() {
            EVERY
        } else {
            AGAIN
        })
        .await;
    }
}

/// Commits the new addresses of members that have moved, if this node leads.
async fn commit_moves(shared: &NodeContext) {
    let status = shared.replica.status();
    if status.role != Role::Leader {
        return;
    }
    for (node, member) in shared.roll.moved() {
        let known = status.members.nodes.get(&node);
        if known.is_none_or(|known| known.is_at(&member)) {
            continue;
        }
        match shared
            .replica
            .move_member(node, member.clone(), MOVE_LIMIT)
            .await
        {
            Ok(()) => {
                let told = format!("is at {} {}", member.peer_address, member.client_address);
                if shared.roll.logged.should_log((node, told)) {
                    tracing::info!(
                        node,
                        peer_address = member.peer_address,
                        client_address = member.client_address,
                        "a member has moved"
                    );
                }
            }
            Err(error) => tracing::debug!(%error, node, "failed to record a member's addresses"),
        }
    }
}

/// Finds out whether there is a leader that does not reach this node.
async fn look_for_contact(shared: &NodeContext) {
    let is_near = shared.has_contact() || shared.started.elapsed() < CONTACT_MAX;
    // The leader's answer shows that this node reaches the leader, but not the reverse.
    let is_led = !is_near && {
        use conclave_replica::ReadError;
        let confirmed = shared.replica.read_barrier(CONFIRM_LIMIT).await;
        matches!(confirmed, Ok(_) | Err(ReadError::Behind { .. }))
    };
    let is_news = shared.roll.unreached.send_if_modified(|unreached| {
        let is_news = *unreached != is_led;
        *unreached = is_led;
        is_news
    });
    match (is_news, is_led) {
        (false, _) => {}
        (true, true) => tracing::error!(
            peer_address = shared.own.peer_address,
            "the leader does not reach this node, which gets no entries: check its address"
        ),
        (true, false) => tracing::info!("the leader reaches this node again"),
    }
}

impl NodeContext {
    /// Returns the announcement of this node.
    fn announcement(&self) -> peer::AnnounceRequest {
        let status = self.replica.status();
        let incarnations = self.roll.incarnations();
        peer::AnnounceRequest {
            envelope: None,
            incarnation_number: incarnations.own().number,
            incarnation_words: incarnations.words(),
            log_index_last: status.log_index_last,
            applied_index: status.applied_index,
            peer_address: self.own.peer_address.clone(),
            client_address: self.own.client_address.clone(),
            takes_part: self.replica.is_admitted(),
            oldest_version: self.replica.versions().oldest.0,
            newest_version: self.replica.versions().newest.0,
        }
    }

    /// Returns whether this node leads, or its leader has reached it lately.
    pub(crate) fn has_contact(&self) -> bool {
        let leads = *self.replica.leader().borrow() == Some(self.identity.node);
        let contact = self.replica.contact();
        leads || contact.is_some_and(|ago| ago < CONTACT_MAX)
    }

    /// Returns whether this node takes part and its leader reaches it.
    pub(crate) fn is_healthy(&self) -> bool {
        self.replica.is_admitted() && self.has_contact()
    }

    /// Returns whether calls are worth sending here: the node takes part, knows a leader, is no
    /// witness and is not leaving its clients.
    pub(crate) fn is_serving(&self) -> bool {
        let is_led = self.replica.leader().borrow().is_some();
        let is_alive = self.replica.status().role != Role::Stopped && !self.is_draining();
        is_led && is_alive && !self.identity.witness && self.is_healthy()
    }
}
