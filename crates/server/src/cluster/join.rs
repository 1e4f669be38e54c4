//! Joins a node to an existing cluster, notices that the node was removed from it, and tells
//! clients when members come or go.
//!
//! Always true: a node that joins never makes a cluster of its own. It stops because it was removed
//! only if a majority says so, through a voter that has just asked it.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use conclave_replica::{Change, Lane, Member, Members, NodeMembership, PeerError};
use conclave_storage::state as rows;
use conclave_wire::{Problem, Reason, peer};
use tokio::{sync::watch, time::sleep};

use crate::{
    auth::credential::Credential,
    base::deadline::Deadline,
    cluster::start_error::StartError,
    context::node_context::NodeContext,
    peer::{
        convert::Cluster,
        join_client::{self, JoinError, Trust},
        membership::ChangeRequest,
    },
    tls::{Issued, NodeKey},
};

/// How long a member may take to describe its cluster.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(2);
/// How long a member may take to admit a machine.
const JOIN_LIMIT: Duration = Duration::from_secs(5);
/// For how long a node must be caught up before it asks for its place.
const CAUGHT_UP: Duration = Duration::from_secs(2);
/// How long the leader may take to give the place, and the pause after it did not.
const PLACE_LIMIT: Duration = Duration::from_secs(5);
const PLACE_AGAIN: Duration = Duration::from_secs(1);
/// Pause between two rounds of requests.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a node verifies that it belongs to the cluster.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often this node looks whether members have come or gone.
const ADDRESSES_EVERY: Duration = Duration::from_millis(500);
/// How long the leader may take to confirm what it knows.
const BARRIER_LIMIT: Duration = Duration::from_secs(1);

/// Asks the nodes at these addresses until one says that `node` belongs to its cluster.
pub(crate) async fn find(addresses: &[String], node: u64, trust: &Trust) -> Cluster {
    let mut reasons = Reasons::default();
    loop {
        let mut last = String::new();
        for address in addresses {
            match join_client::describe(address, trust, DESCRIBE_LIMIT).await {
                Ok(cluster) if cluster.members.nodes.contains_key(&node) => return cluster,
                Ok(_) => last = format!("node {node} was not added to the cluster yet"),
                Err(error) => {
                    let unreachable = format!("{address}: {error}");
                    last = if last.is_empty() { unreachable } else { last };
                }
            }
        }
        reasons.tell(last);
        sleep(PAUSE).await;
    }
}

/// Logs why this node waits: once for each reason, not for each round.
#[derive(Default)]
struct Reasons(Option<String>);

impl Reasons {
    fn tell(&mut self, reason: String) {
        if self.0.as_ref() != Some(&reason) {
            tracing::warn!(%reason, "waiting to join the cluster");
            self.0 = Some(reason);
        }
    }
}

/// Asks the nodes at these addresses until one admits this machine.
///
/// # Errors
/// Returns the problem with which the cluster refuses for good.
pub(crate) async fn ask(
    addresses: &[String],
    trust: &Trust,
    request: &peer::JoinRequest,
) -> Result<peer::JoinResponse, Problem> {
    let mut reasons = Reasons::default();
    loop {
        let mut first = None;
        for address in addresses {
            match join_client::join(address, trust, request.clone(), JOIN_LIMIT).await {
                Ok(admitted) => return Ok(admitted),
                Err(JoinError::Refused(problem)) => return Err(problem),
                Err(JoinError::Later(why)) => {
                    first.get_or_insert(format!("{address}: {why}"));
                }
            }
        }
        reasons.tell(first.unwrap_or_else(|| "there is no address to ask".to_owned()));
        sleep(PAUSE).await;
    }
}

/// Returns what a member has signed for this machine when it admitted it.
pub(crate) fn issued_in(
    key: &NodeKey,
    admitted: &peer::JoinResponse,
) -> Result<Issued, StartError> {
    let sent = admitted.certificates.clone().unwrap_or_default();
    let issued = Issued::new(key, &sent);
    issued.map_err(|error| StartError::Join(format!("the certificates cannot be used: {error}")))
}

/// Takes the place that this node was admitted for, after it has had everything that is
/// acknowledged for some seconds.
pub(crate) async fn take_place(shared: Arc<NodeContext>) {
    let node = shared.identity.node;
    let mut told = None;
    let mut votes_first = false;
    while let Some(pending_role) = shared.identity.pending_role() {
        if !stays_caught_up(&shared).await {
            continue;
        }
        let members = shared.replica.status().members;
        let votes = members.all_voters().contains(&node);
        let is_ready = !votes_first || votes && shared.security.tls.is_key_holder();
        let predecessor = predecessor(&members, node, pending_role.replaces);
        let change = if let Some(old) = predecessor.filter(|_| is_ready) {
            Change::Replace { old, new: node }
        } else if pending_role.voter && !votes {
            Change::Promote(node)
        } else if predecessor.is_some() {
            sleep(PAUSE).await;
            continue;
        } else {
            tracing::info!(node, "this node has joined the cluster");
            break;
        };
        let request = ChangeRequest::of(change);
        let deadline = Deadline::after(PLACE_LIMIT);
        if let Err(problem) = shared
            .change_members(&request, &Credential::Nothing, deadline)
            .await
        {
            // The last member with the key of the authority is replaced only after this node has
            // the key.
            votes_first |= problem.reason() == Reason::WouldLoseAuthority && pending_role.voter;
            let reason = problem.to_string();
            if told.as_ref() != Some(&reason) {
                tracing::warn!(node, %reason, "failed to take the pending role; retrying");
                told = Some(reason);
            }
            sleep(PLACE_AGAIN).await;
        }
    }
    if let Err(error) = shared.identity.clear_pending_role() {
        tracing::error!(%error, "failed to clear the pending role");
    }
}

/// Returns the member whose place this node takes: the one that the cluster named, or one at this
/// node's own address. There are several of them if a machine was damaged again before it had its
/// place.
fn predecessor(members: &Members, node: u64, told: u64) -> Option<u64> {
    if members.nodes.contains_key(&told) {
        return Some(told);
    }
    let own = &members.nodes.get(&node)?.peer_address;
    let mut others = members.nodes.iter().filter(|(other, _)| **other != node);
    let same = others.find(|(_, member)| member.peer_address == *own);
    same.map(|(other, _)| *other)
}

/// Returns whether the node has everything that is acknowledged, and still has it after a while.
async fn stays_caught_up(shared: &NodeContext) -> bool {
    for pause in [Duration::ZERO, CAUGHT_UP / 2, CAUGHT_UP / 2] {
        sleep(pause).await;
        if shared.replica.read_barrier(BARRIER_LIMIT).await.is_err() {
            sleep(PAUSE).await;
            return false;
        }
    }
    true
}

/// Looks from time to time whether this node still belongs to its cluster, and reports when it no
/// longer does.
pub(crate) async fn watch_membership(shared: Arc<NodeContext>, removed: watch::Sender<bool>) {
    let node = shared.identity.node;
    loop {
        sleep(LOOK_EVERY).await;
        let is_known = shared.replica.read_barrier(BARRIER_LIMIT).await.is_ok();
        if is_known && shared.replica.status().members.nodes.contains_key(&node) {
            continue;
        }
        for (other, member) in shared.other_members() {
            let Ok(cluster) = described_by(&shared, other, &member).await else {
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

/// Asks a member that this node believes about its own removal: a voter, or a node with the key of
/// the authority, which may vote by now. The machine of a learner may be hostile.
async fn described_by(
    shared: &NodeContext,
    other: u64,
    member: &Member,
) -> Result<Cluster, PeerError> {
    if shared.replica.membership_of(other) == NodeMembership::Voter {
        let peer = shared.transport.grpc_peer(other, member, Lane::Calls);
        return peer.describe(DESCRIBE_LIMIT).await;
    }
    let trust = Trust::of_key_holders(&shared.security);
    join_client::describe(&member.peer_address, &trust, DESCRIBE_LIMIT).await
}

/// Records what the log says of nodes, and sends the streams the client addresses, whenever they
/// have changed.
pub(crate) async fn tell_addresses(shared: Arc<NodeContext>) {
    loop {
        let read = |reader: &rows::Reader| Ok((reader.nodes()?, reader.account_limits()?));
        match shared.read(read).await {
            Ok((nodes, limits)) => {
                shared.sessions.set_limits(limits);
                let mut known = shared.nodes.write().unwrap_or_else(PoisonError::into_inner);
                *known = nodes;
            }
            Err(problem) => tracing::debug!(%problem, "failed to read the nodes from the state"),
        }
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
