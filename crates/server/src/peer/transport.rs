//! Makes and keeps the connections to peers: one for each peer and lane.
//!
//! It makes no call itself (`lane.rs`).
//!
//! Always true: a caller gets a connection to the newest known address of the peer. A peer that
//! stops answering is one line in the log, and one more when it answers again, however many calls
//! fail in between.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use conclave_replica::{Lane, Member, Peer, Transport};
use conclave_wire::peer;

use crate::{
    peer::{lane::GrpcPeer, reachability::Reachability, snapshots},
    protocol::recent_events::RecentEvents,
    tls::Security,
};

/// Makes and keeps the connections of one node.
pub(crate) struct GrpcTransport {
    node: u64,
    cluster_id: String,
    /// Word of this node's incarnation.
    incarnation: u64,
    security: Security,
    /// Addresses of members that are not reached where the caller thinks.
    moved: Mutex<BTreeMap<u64, String>>,
    peers: Mutex<BTreeMap<(u64, Lane), Arc<GrpcPeer>>>,
    /// State that all lanes of a peer share.
    reachable: Mutex<BTreeMap<u64, Arc<Reachability>>>,
    snapshots: Arc<snapshots::Sender>,
    events: RecentEvents,
}

impl GrpcTransport {
    pub(crate) fn new(
        node: u64,
        cluster_id: String,
        incarnation: u64,
        security: Security,
        snapshots: snapshots::Sender,
        events: RecentEvents,
    ) -> Self {
        Self {
            node,
            cluster_id,
            incarnation,
            security,
            moved: Mutex::default(),
            peers: Mutex::default(),
            reachable: Mutex::default(),
            snapshots: Arc::new(snapshots),
            events,
        }
    }

    /// Returns the connection to a peer, which is made when it is first used.
    pub(crate) fn grpc_peer(&self, node: u64, member: &Member, lane: Lane) -> Arc<GrpcPeer> {
        let mut peers = self.peers.lock().unwrap_or_else(|error| error.into_inner());
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let address = moved.get(&node).unwrap_or(&member.peer_address);
        let known = peers.get(&(node, lane));
        if let Some(known) = known.filter(|known| known.is_at(address)) {
            return known.clone();
        }
        let address = address.clone();
        drop(moved);
        let mut reachable = self
            .reachable
            .lock()
            .unwrap_or_else(|error| error.into_inner());
        let reachable = reachable
            .entry(node)
            .or_insert_with(|| Arc::new(Reachability::new(node, self.events.clone())));
        let peer = Arc::new(GrpcPeer::new(
            self.envelope(node),
            self.security.clone(),
            address,
            reachable.clone(),
            self.snapshots.clone(),
        ));
        peers.insert((node, lane), peer.clone());
        peer
    }

    /// Uses this address for a node from now on, also for existing lanes.
    pub(crate) fn redirect(&self, node: u64, address: &str) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.insert(node, address.to_owned());
        drop(moved);
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        for ((_, _), peer) in peers.iter().filter(|((other, _), _)| *other == node) {
            peer.redirect(address);
        }
    }

    /// Returns the envelope of a request to this node.
    pub(crate) fn envelope(&self, target_node_id: u64) -> peer::Envelope {
        peer::Envelope {
            cluster_id: self.cluster_id.clone(),
            source_node_id: self.node,
            target_node_id,
            source_incarnation: self.incarnation,
        }
    }

    /// Returns the envelope of a request to a node whose number is not known.
    pub(crate) fn envelope_for_any_node(&self) -> peer::Envelope {
        self.envelope(0)
    }
}

impl Transport for GrpcTransport {
    fn peer(&self, node: u64, member: &Member, lane: Lane) -> Arc<dyn Peer> {
        self.grpc_peer(node, member, lane)
    }
}
