//! How a node comes into a cluster that is there, how it learns that it is in it no longer, and how
//! clients learn of those that come and go.
//!
//! Always true: a node that joins never makes a cluster of its own. It stops because it was
//! removed only if a majority says so, through a member that has just asked it.

use std::{sync::Arc, time::Duration};

use conclave_replica::{Lane, Members};
use tokio::{sync::watch, time::sleep};

use crate::{node::Shared, tls::Security, transport};

/// How long a member may take to describe its cluster.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(2);
/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a node makes sure that it belongs to the cluster.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often is looked whether nodes have come or gone.
const ADDRESSES_EVERY: Duration = Duration::from_millis(500);
/// How long the leader may take to confirm what it knows.
const BARRIER_LIMIT: Duration = Duration::from_secs(1);

/// Which cluster a node has come into.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) cluster_id: String,
    pub(crate) members: Members,
}

/// Asks the nodes at these addresses until one says that `node` belongs to its cluster.
pub(crate) async fn find(addresses: &[String], node: u64, security: &Security) -> Cluster {
    let (mut told, dial) = (None, security.dial_anybody());
    loop {
        let mut last = String::new();
        for address in addresses {
            match transport::describe(address, &dial, DESCRIBE_LIMIT).await {
                Ok(cluster) if cluster.members.nodes.contains_key(&node) => return cluster,
                Ok(_) => last = format!("node {node} was not added to the cluster yet"),
                Err(error) => {
                    let unreachable = format!("{address}: {error}");
                    last = if last.is_empty() { unreachable } else { last };
                }
            }
        }
        // Once for each reason, not for each round.
        if told.as_ref() != Some(&last) {
            tracing::warn!(node, reason = %last, "waiting to be let into the cluster");
            told = Some(last);
        }
        sleep(PAUSE).await;
    }
}

/// Looks from time to time whether this node still belongs to its cluster; says so when it does
/// not any more.
pub(crate) async fn watch_membership(shared: Arc<Shared>, removed: watch::Sender<bool>) {
    let node = shared.identity.node;
    loop {
        sleep(LOOK_EVERY).await;
        let is_known = shared.replica.read_barrier(BARRIER_LIMIT).await.is_ok();
        if is_known && shared.replica.status().members.nodes.contains_key(&node) {
            continue;
        }
        for (other, member) in shared.other_members() {
            let peer = shared.transport.grpc_peer(other, &member, Lane::Calls);
            let Ok(cluster) = peer.describe(DESCRIBE_LIMIT).await else {
                continue;
            };
            if cluster.cluster_id != shared.identity.cluster_id {
                continue;
            }
            if !cluster.members.nodes.contains_key(&node) {
                tracing::error!(node, "this node was removed from the cluster");
                removed.send_replace(true);
                return;
            }
            break;
        }
    }
}

/// Tells the streams where clients reach the nodes, whenever that has changed.
pub(crate) async fn tell_addresses(shared: Arc<Shared>) {
    loop {
        let now = shared.client_addresses();
        shared.addresses.send_if_modified(|told| {
            let is_news = told[..] != now[..];
            if is_news {
                *told = now.into();
            }
            is_news
        });
        sleep(ADDRESSES_EVERY).await;
    }
}
