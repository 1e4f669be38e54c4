//! Receives a snapshot of the leader and has the replica install it.
//!
//! It checks no caller: the call does that before (`peer_service.rs`).
//!
//! Always true: nothing is received from a leader of a past term. A received file is removed once
//! it is installed or found invalid, and kept otherwise. The installation continues when the sender
//! closes its connection.

use std::sync::Arc;

use conclave_replica::{PeerError, SnapshotOffer};
use conclave_storage::log::Vote;
use conclave_wire::{peer, v1};
use tonic::{Status, Streaming};

use crate::{
    context::node_context::NodeContext,
    peer::{
        codec::members_in,
        convert::{self, malformed},
        snapshots::Received,
    },
};

/// Receives the parts of a snapshot after its header, and installs the file; returns the vote of
/// this node after that.
pub(super) async fn receive(
    shared: &Arc<NodeContext>,
    source: u64,
    mut header: peer::SnapshotHeader,
    parts: Streaming<peer::InstallSnapshotRequest>,
) -> Result<Vote, Status> {
    let last = header
        .last_log_id
        .ok_or_else(|| malformed("a snapshot without its last entry"))?;
    let members = header.membership.take();
    let members = members.ok_or_else(|| malformed("a snapshot without members"))?;
    let term = header.vote.map_or(0, |vote| vote.term);
    if term < shared.replica.status().term {
        return Err(Status::aborted("another node leads by now"));
    }
    // Before it is sent in vain.
    let may_install = shared.replica.may_install(last.index);
    may_install.map_err(convert::failed)?;
    let taking = shared.snapshots.receive(source, &header, parts);
    let received = taking.await?;
    tracing::info!(
        log_index = last.index,
        bytes = header.bytes,
        "snapshot received"
    );
    let offer = SnapshotOffer {
        vote: convert::vote_in(header.vote)?,
        last: convert::log_id_in(last),
        members_at: header.membership_log_id.map(convert::log_id_in),
        members: members_in(members),
        file: received.file(),
        bytes: header.bytes,
        blake3: header.blake3[..]
            .try_into()
            .map_err(|_| malformed("a digest"))?,
    };
    // The task survives the sender, because no other task may touch the file meanwhile.
    let installing = tokio::spawn(install(shared.clone(), source, offer, received));
    let vote = installing.await;
    vote.map_err(|_| Status::internal("installing has panicked"))?
}

/// Installs a snapshot that was received. A useless file is removed; a file that could merely not
/// be installed now stays, and need not be sent again.
async fn install(
    shared: Arc<NodeContext>,
    source: u64,
    offer: SnapshotOffer,
    received: Received,
) -> Result<Vote, Status> {
    let log_index = offer.last.index;
    match shared.replica.on_snapshot(offer).await {
        Ok(vote) => {
            received.remove();
            let details = v1::NodeEvent {
                subject_node_id: source,
                log_index,
                ..v1::NodeEvent::default()
            };
            let kind = v1::NodeEventKind::SnapshotInstalled;
            shared.recent_events.record_with(kind, details);
            Ok(vote)
        }
        Err(PeerError::BadSnapshot(why)) => {
            received.remove();
            tracing::error!(error = %why, "failed to install an invalid snapshot");
            Err(Status::data_loss(why))
        }
        Err(error) => Err(convert::failed(error)),
    }
}
