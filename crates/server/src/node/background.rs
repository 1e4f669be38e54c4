//! Starts the background tasks of a node.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::{
    api::operator_file,
    backup::imported,
    cluster::{
        event_watch, join, keys, leader, peers_file_writer, rotation, space_watch, upgrade, witness,
    },
    context::node_context::NodeContext,
    integrity::{check, digests},
};

/// Starts all background tasks; the caller aborts them when it stops the node.
pub(crate) fn start(shared: &Arc<NodeContext>) -> [JoinHandle<()>; 17] {
    let receiving = shared.clone();
    [
        tokio::spawn(async move { receiving.snapshots.run().await }),
        tokio::spawn(join::tell_addresses(shared.clone())),
        tokio::spawn(event_watch::watch(shared.clone())),
        tokio::spawn(space_watch::watch(shared.clone())),
        tokio::spawn(join::take_place(shared.clone())),
        tokio::spawn(keys::keep(shared.clone())),
        tokio::spawn(rotation::keep(shared.clone())),
        tokio::spawn(upgrade::keep(shared.clone())),
        tokio::spawn(leader::preferred::keep(shared.clone())),
        tokio::spawn(leader::full::keep(shared.clone())),
        tokio::spawn(leader::retention::keep(shared.clone())),
        tokio::spawn(peers_file_writer::keep(shared.clone())),
        tokio::spawn(digests::compare(shared.clone())),
        tokio::spawn(check::daily(shared.clone())),
        tokio::spawn(operator_file::keep(shared.clone())),
        tokio::spawn(imported::note(shared.clone())),
        tokio::spawn(witness::follow_full_members(shared.clone())),
    ]
}
