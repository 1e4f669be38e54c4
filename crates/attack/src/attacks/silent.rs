//! Connections that say nothing: they cost the attacker next to nothing, and a node a descriptor.

use std::sync::Arc;

use super::crowd::crowd;
use crate::{Bounds, Tally, Target};

/// Opens connections on both ports of all nodes and sends nothing.
pub(super) async fn before_handshake(target: Arc<Target>, bounds: Bounds) -> Tally {
    let everywhere = target.everywhere();
    crowd(
        target,
        everywhere,
        bounds.count,
        bounds,
        |member| async move {
            let wire = member.silent().await?;
            Some(member.hold(wire).await)
        },
    )
    .await
}

/// Does the same after the TLS handshake; in a cluster that speaks plain text, after nothing.
pub(super) async fn after_handshake(target: Arc<Target>, bounds: Bounds) -> Tally {
    let everywhere = target.everywhere();
    crowd(
        target,
        everywhere,
        bounds.count,
        bounds,
        |member| async move {
            let wire = member.open().await?;
            Some(member.hold(wire).await)
        },
    )
    .await
}
