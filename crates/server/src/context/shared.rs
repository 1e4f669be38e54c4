//! What the services of one node share, and what it knows of the others.
//!
//! Always true: it is made once, after the replica, and nothing here waits for another node without
//! a limit.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use conclave_core::{NodeId, Timestamp, lookup::PeerAuthority};
use conclave_replica::{Lane, Member, Replica, rows};
use conclave_wire::{Problem, peer};
use futures::future::join_all;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use crate::{
    auth::{
        codes::Codes, passwords::Passwords, registration::Registration, sessions::Sessions,
        throttle::Gate,
    },
    connections::Places,
    context::{
        check_state::Checks, exchange_state::Exchange, operator_calls::Operators,
        roll_call_state::RollCall, space::Space,
    },
    identity::node_identity::Identity,
    live::LiveState,
    peer::{convert::role_number, digest_points::Digests, snapshots, transport::GrpcTransport},
    problems::millis,
    read_turns::ReadTurns,
    tls::Security,
    told::Told,
};

/// How long a peer may take to say how it is.
const STATUS_LIMIT: Duration = Duration::from_millis(500);

/// What all services of a node share.
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    /// What this node proves to others, and how it speaks with them.
    pub(crate) security: Security,
    /// Whether the operator gives this node the cluster's secret, whether it votes or not.
    pub(crate) secret_is_given: bool,
    /// How the secret is exchanged while the cluster runs.
    pub(crate) exchange: Exchange,
    /// Machines that are being let in.
    pub(crate) joins: Semaphore,
    /// What the log said of nodes when it was last asked.
    pub(crate) nodes: RwLock<rows::NodesRow>,
    pub(crate) replica: Replica,
    pub(crate) transport: Arc<GrpcTransport>,
    pub(crate) sessions: Sessions,
    pub(crate) passwords: Passwords,
    pub(crate) gate: Gate,
    /// Wrong codes of each address.
    pub(crate) codes: Codes,
    pub(crate) registration: Registration,
    pub(crate) commands: Arc<Semaphore>,
    pub(crate) reads: Arc<Semaphore>,
    pub(crate) client_places: Arc<Places>,
    pub(crate) peer_places: Arc<Places>,
    /// Of each account, among the reads.
    pub(crate) turns: ReadTurns,
    /// Searches have turns of their own: they may take long.
    pub(crate) searches: ReadTurns,
    pub(crate) live: LiveState,
    /// How much room the disk has.
    pub(crate) space: Space,
    /// Where clients reach every member.
    pub(crate) addresses: watch::Sender<Arc<[String]>>,
    /// One at a time: it reads every row.
    pub(crate) digests: Arc<Semaphore>,
    /// What its state was, to be compared.
    pub(crate) compared: Digests,
    pub(crate) checks: Checks,
    pub(crate) stopping: watch::Sender<bool>,
    /// Peers that were refused, so that the log says it once.
    pub(crate) refused: Told,
    /// What is known of callers that want to be operators.
    pub(crate) operators: Operators,
    /// Callers that were refused, and why.
    pub(crate) callers_refused: Told<(Option<IpAddr>, String)>,
    pub(crate) members: BTreeMap<u64, Member>,
    /// What is known of the lives and the addresses of the others.
    pub(crate) roll: Arc<RollCall>,
    pub(crate) own: Member,
    pub(crate) durable: bool,
    pub(crate) started: Instant,
    /// What comes from a leader when its log does not reach back far enough.
    pub(crate) snapshots: snapshots::Receiver,
    /// How long this node tells what it has after it has heard a leader.
    pub(crate) stale_limit: Duration,
}

/// This machine's clock, the edge at which time enters.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl Shared {
    /// How much time has passed, as the log counts it: what expires is compared with this.
    pub(crate) fn log_time(&self) -> Timestamp {
        self.replica.now().log_time
    }

    /// The date that people are shown.
    pub(crate) fn date(&self) -> Timestamp {
        self.replica.now().date
    }

    /// Refuses to tell what may be long out of date: since this node heard a leader, who asks may
    /// have been logged out or removed from a room.
    pub(crate) fn not_cut_off(&self) -> Result<(), Problem> {
        match self.replica.cut_off_for() > self.stale_limit {
            true => Err(Problem::CutOff),
            false => Ok(()),
        }
    }

    /// Every member, and where it is reached.
    pub(crate) fn members(&self) -> BTreeMap<u64, Member> {
        let mut members = self.replica.status().members.nodes;
        // The configuration knows better where a member is reached now, and alone knows some
        // before anything is in the log.
        let is_new = members.is_empty();
        for (node, member) in &self.members {
            if is_new || members.contains_key(node) {
                members.insert(*node, member.clone());
            }
        }
        // What a member says of itself is newer than both.
        for (node, member) in self.roll.moved() {
            members.entry(node).and_modify(|known| *known = member);
        }
        members
    }

    /// Every member but this one.
    pub(crate) fn other_members(&self) -> Vec<(u64, Member)> {
        let mut members = self.members();
        members.remove(&self.identity.node);
        members.into_iter().collect()
    }

    /// Where clients reach every member, in order.
    pub(crate) fn client_addresses(&self) -> Vec<String> {
        let members = self.members().into_values();
        members.map(|member| member.client_address).collect()
    }

    /// Where clients reach this node.
    pub(crate) fn own_client_address(&self) -> String {
        self.own.client_address.clone()
    }

    /// The node that shall lead while it is well.
    pub(crate) fn preferred_leader(&self) -> Option<NodeId> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.preferred_leader
    }

    /// Which authority peers believe, as the log said when it was last asked.
    pub(crate) fn peer_authority(&self) -> PeerAuthority {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.authority
    }

    /// Whether a node with this number was removed: nothing is done for it any more.
    pub(crate) fn is_retired(&self, node: u64) -> bool {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.retired.contains(&NodeId(node))
    }

    /// Whether new calls are refused.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Where clients reach the leader, if it is known and is somebody else.
    pub(crate) fn leader_elsewhere(&self) -> Option<String> {
        let leader = (*self.replica.leader().borrow())?;
        if leader == self.identity.node {
            return None;
        }
        let member = self.members().remove(&leader);
        member.map(|member| member.client_address)
    }

    /// How this node is.
    pub(crate) fn own_status(&self) -> peer::GetNodeStatusResponse {
        let (status, clock) = (self.replica.status(), self.replica.clock_status());
        peer::GetNodeStatusResponse {
            role: u32::try_from(role_number(status.role)).unwrap_or(0),
            term: status.term,
            log_index_last: status.log_index_last,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: millis(self.started.elapsed()),
            durable: self.durable,
            leader_id: status.leader.unwrap_or(0),
            differs_at_index: self.compared.differs_at(),
            clock_ms: self.replica.own_clock().0,
            clock_skew_ms: clock.skew_ms,
            clock_is_off: clock.is_skewed,
            life_word: self.roll.life().word,
            waits: !self.replica.is_admitted(),
            unreached: self.roll.is_unreached(),
            has_authority_key: self.security.tls.is_keeper(),
            transfers: self.snapshots.transfers().to_wire(),
            free_bytes: self.space.free(),
            low_space: self.space.is_low(),
            refuses_growth: self.space.refuses(),
            exchanges: self.security.tls.exchanges(),
            prepared_authority_sha256: self
                .security
                .tls
                .prepared()
                .map_or_else(Vec::new, |id| id.0.to_vec())
                .into(),
        }
    }

    /// Every member, and how it is if it says so in time.
    pub(crate) async fn statuses(&self) -> Vec<(u64, Member, Option<peer::GetNodeStatusResponse>)> {
        let mut members = self.members();
        members.insert(self.identity.node, self.own.clone());
        join_all(members.into_iter().map(|(node, member)| async move {
            let status = if node == self.identity.node {
                Some(self.own_status())
            } else {
                let peer = self.transport.grpc_peer(node, &member, Lane::Calls);
                peer.status(STATUS_LIMIT).await.ok()
            };
            (node, member, status)
        }))
        .await
    }
}
