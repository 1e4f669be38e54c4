//! The state that the services of one node share, and what the node knows of the other nodes.
//!
//! Always true: it is made once, after the replica; and every wait for another node has a limit.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock, atomic::AtomicU32},
    time::Duration,
};

use conclave_core::{NodeId, Timestamp, lookup::PeerAuthority};
use conclave_replica::{CommitLatency, Lane, Member, Replica};
use conclave_storage::state as rows;
use conclave_wire::{Problem, peer, v1};
use futures::future::join_all;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use crate::{
    auth::{
        codes::WrongCodes,
        passwords::Passwords,
        read_turns::{OwnTurns, ReadTurns},
        registration::Registration,
        sessions::Sessions,
        throttle::AttemptGate,
    },
    base::{
        log_once::LogOnce,
        tracer::{SpanCounts, Tracer},
    },
    connections::{ConnectionSlots, address::Address, descriptors, proxies::TrustedProxies},
    context::{
        backup_state::BackupState,
        check_state::Checks,
        draining::{Draining, Stage},
        log_control::LogSlot,
        operator_calls::Operators,
        page_tickets::PageTickets,
        roll_call_state::RollCall,
        rotation_state::Rotation,
        send_places::SendPlaces,
        space::Space,
    },
    identity::{node_identity::Identity, recovered::RecoveryState},
    live::LiveState,
    peer::{convert::role_number, digest_points::Digests, snapshots, transport::GrpcTransport},
    protocol::{
        call_counts::CallCounts, origin::Origin, problems::millis, recent_events::RecentEvents,
    },
    tls::Security,
};

/// Maximum number of commands under way on one node. At the bound further ones are refused as busy.
pub(crate) const COMMANDS_MAX: usize = 4096;
/// How long a peer may take to report its status.
const STATUS_LIMIT: Duration = Duration::from_millis(500);

/// Maximum number of machines of one kind that are being admitted at once. At the bound another one
/// is asked to try again.
const JOINS_MAX: usize = 4;

/// Permits for machines that are joining, for each kind of them: no kind keeps another one out.
pub(crate) struct JoinPlaces {
    /// Machines with a certificate of the cluster or the join key.
    pub(crate) known: Semaphore,
    /// Machines with a token that can be used.
    pub(crate) with_token: Semaphore,
    /// Machines whose token this node does not know, and looks up again.
    pub(crate) unknown: Semaphore,
}

impl Default for JoinPlaces {
    fn default() -> Self {
        let permits = || Semaphore::new(JOINS_MAX);
        Self {
            known: permits(),
            with_token: permits(),
            unknown: permits(),
        }
    }
}

/// State that all services of a node share.
pub(crate) struct NodeContext {
    pub(crate) identity: Identity,
    /// What this node proves to other nodes, and how it connects to them.
    pub(crate) security: Security,
    /// Whether the operator gives this node the cluster's secret, as a voter or not.
    pub(crate) secret_is_given: bool,
    /// State of the rotation of the secret while the cluster runs.
    pub(crate) rotation: Rotation,
    /// Cluster version that this node has tried to raise to as the leader; 0: none.
    pub(crate) raising: AtomicU32,
    /// Permits for machines that are joining.
    pub(crate) joins: JoinPlaces,
    /// Rows of the nodes as they were last read.
    pub(crate) nodes: RwLock<rows::NodesRow>,
    pub(crate) replica: Replica,
    pub(crate) transport: Arc<GrpcTransport>,
    pub(crate) sessions: Sessions,
    pub(crate) passwords: Passwords,
    pub(crate) gate: AttemptGate,
    /// Wrong codes of each address.
    pub(crate) codes: WrongCodes,
    pub(crate) registration: Registration,
    pub(crate) commands: Arc<Semaphore>,
    /// Places of the streams in which clients send messages.
    pub(crate) sends: Arc<SendPlaces>,
    pub(crate) reads: Arc<Semaphore>,
    pub(crate) client_slots: Arc<ConnectionSlots>,
    pub(crate) peer_slots: Arc<ConnectionSlots>,
    /// Turns of each account among the reads.
    pub(crate) turns: ReadTurns,
    /// Turns among the reads of each address whose caller is not known.
    pub(crate) lookups: Arc<OwnTurns<Address>>,
    /// Turns of searches, separate from the reads because searches may take long.
    pub(crate) searches: ReadTurns,
    pub(crate) live: LiveState,
    /// Counts of what callers have asked, of both ports.
    pub(crate) calls: Arc<CallCounts>,
    /// What traces calls, if anything does.
    pub(crate) tracer: Option<Arc<Tracer>>,
    /// Counts of what became of spans.
    pub(crate) spans: Arc<SpanCounts>,
    /// What has happened lately, for operators.
    pub(crate) recent_events: RecentEvents,
    /// Room on the disk.
    pub(crate) space: Space,
    /// Client addresses of all members.
    pub(crate) addresses: watch::Sender<Arc<[String]>>,
    /// Origins of the page at the base URLs that the operator has configured.
    pub(crate) public_origins: Vec<Origin>,
    /// Proxies that may name the caller of a request.
    pub(crate) trusted_proxies: TrustedProxies,
    /// Origin of the panel of the demonstration that this node takes part in.
    pub(crate) demo_panel: Option<String>,
    /// Tickets with which browsers take a session to this node.
    pub(crate) page_tickets: PageTickets,
    /// Permit to compute a digest: one at a time, because it reads every row.
    pub(crate) digests: Arc<Semaphore>,
    /// Digests of earlier states, for comparison.
    pub(crate) compared: Digests,
    pub(crate) checks: Checks,
    /// How to change the log of the process.
    pub(crate) log: LogSlot,
    /// What the node knows of its backups.
    pub(crate) backups: BackupState,
    pub(crate) recovery: RecoveryState,
    pub(crate) stopping: watch::Sender<bool>,
    /// How far this node has left its clients.
    pub(crate) draining: Draining,
    /// Peers that were refused, so that the log names each only once.
    pub(crate) refused: LogOnce,
    /// What the node remembers of callers that ask for operator calls.
    pub(crate) operators: Operators,
    /// Callers that were refused, and why.
    pub(crate) callers_refused: LogOnce<(Option<IpAddr>, String)>,
    pub(crate) members: BTreeMap<u64, Member>,
    /// What the node knows of the incarnations and the addresses of the other nodes.
    pub(crate) roll: Arc<RollCall>,
    pub(crate) own: Member,
    pub(crate) durable: bool,
    pub(crate) started: Instant,
    /// Receives snapshots from a leader whose log does not reach back far enough.
    pub(crate) snapshots: snapshots::Receiver,
    /// How long after the last message of a leader this node still answers reads.
    pub(crate) stale_limit: Duration,
}

/// This machine's clock: the only place where time enters.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A member, and its status if it answers.
pub(crate) type StatusOf = (u64, Member, Option<peer::GetNodeStatusResponse>);

impl NodeContext {
    /// Returns the present time as the log counts it, with which expiry times are compared.
    pub(crate) fn log_time(&self) -> Timestamp {
        self.replica.now().log_time
    }

    /// Returns the date that clients show.
    pub(crate) fn date(&self) -> Timestamp {
        self.replica.now().date
    }

    /// Refuses reads that may be long out of date: since this node last heard a leader, the caller
    /// may have been logged out or removed from a room.
    pub(crate) fn not_cut_off(&self) -> Result<(), Problem> {
        match self.replica.cut_off_for() > self.stale_limit {
            true => Err(Problem::CutOff),
            false => Ok(()),
        }
    }

    /// Returns every member with its addresses.
    pub(crate) fn members(&self) -> BTreeMap<u64, Member> {
        let mut members = self.replica.status().members.nodes;
        // The configuration is newer than the log about addresses, and is the only source for some
        // members before anything is in the log.
        let is_new = members.is_empty();
        for (node, member) in &self.members {
            match members.get_mut(node) {
                Some(known) => *known = known.moved_to(member),
                None if is_new => drop(members.insert(*node, member.clone())),
                None => {}
            }
        }
        // A member's own announcement is newer than both.
        for (node, member) in self.roll.moved() {
            members
                .entry(node)
                .and_modify(|known| *known = known.moved_to(&member));
        }
        members
    }

    /// Returns every member but this one.
    pub(crate) fn other_members(&self) -> Vec<(u64, Member)> {
        let mut members = self.members();
        members.remove(&self.identity.node);
        members.into_iter().collect()
    }

    /// Returns the client addresses of all members, in order.
    pub(crate) fn client_addresses(&self) -> Vec<String> {
        let members = self.members().into_values();
        // A witness serves no calls but those of operators.
        let full = members.filter(|member| !member.witness);
        full.map(|member| member.client_address).collect()
    }

    /// Returns the client address of this node.
    pub(crate) fn own_client_address(&self) -> String {
        self.own.client_address.clone()
    }

    /// Returns the preferred leader: the node that leads while it is healthy.
    pub(crate) fn preferred_leader(&self) -> Option<NodeId> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.preferred_leader
    }

    /// Returns the authority that peers trust, as the log said when it was last read.
    pub(crate) fn peer_authority(&self) -> PeerAuthority {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.authority
    }

    /// Returns whether a node with this number was removed, so that its calls are refused.
    pub(crate) fn is_retired(&self, node: u64) -> bool {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.retired.contains(&NodeId(node))
    }

    /// Returns whether the process is stopping and new calls of all kinds are refused.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns how many commands of clients are under way.
    pub(crate) fn commands_in_flight(&self) -> usize {
        COMMANDS_MAX.saturating_sub(self.commands.available_permits())
    }

    /// Returns whether this node leaves its clients: it is drained, or its process stops. It is not
    /// ready then.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.stage() != Stage::Serving || self.is_stopping()
    }

    /// Returns whether this node is to lead if another voter could as well.
    pub(crate) fn may_lead(&self) -> bool {
        !self.is_draining() && !self.identity.witness
    }

    /// Returns the client address of the leader, if the leader is known and is another node.
    pub(crate) fn leader_elsewhere(&self) -> Option<String> {
        let leader = (*self.replica.leader().borrow())?;
        if leader == self.identity.node {
            return None;
        }
        let member = self.members().remove(&leader);
        member.map(|member| member.client_address)
    }

    /// Returns whether this node takes entries now, so that it counts for acknowledgements.
    pub(crate) fn takes_entries(&self) -> bool {
        self.replica.is_admitted() && !self.roll.is_unreached() && !self.space.is_full()
    }

    /// Returns the status of this node.
    pub(crate) fn own_status(&self) -> peer::GetNodeStatusResponse {
        let (status, clock) = (self.replica.status(), self.replica.clock_status());
        let pace = self.replica.pace();
        // Before the time since the start, which no event is older than.
        let events = self.recent_events.to_wire();
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
            incarnation_word: self.roll.incarnation().word,
            waits: !self.replica.is_admitted(),
            unreached: self.roll.is_unreached(),
            has_authority_key: self.security.tls.is_key_holder(),
            transfers: self.snapshots.transfers().to_wire(),
            free_bytes: self.space.free(),
            low_space: self.space.is_low(),
            refuses_growth: self.space.refuses(),
            commands_decided: pace.commands,
            commit_latency: pace.commit.map(commit_latency),
            events,
            oldest_version: self.replica.versions().oldest.0,
            newest_version: self.replica.versions().newest.0,
            draining: self.is_draining(),
            witness: self.identity.witness,
            purged_index: status.purged_index,
            last_backup_at_ms: self.backups.last().map_or(0, |last| last.made_at_ms),
            last_backup_index: self.backups.last().map_or(0, |last| last.log_index),
            recovery: Some(self.recovery.to_wire()),
            certificate_expires_at_ms: self.security.tls.first_expiry_ms().unwrap_or(0),
            open_descriptors: descriptors::open().unwrap_or(0),
            open_descriptors_max: descriptors::allowed().unwrap_or(0),
            takes_no_entries: !self.takes_entries(),
            rotations: self.security.tls.rotations(),
            prepared_authority_sha256: self
                .security
                .tls
                .prepared()
                .map_or_else(Vec::new, |id| id.0.to_vec())
                .into(),
        }
    }

    /// Returns every member, with its status if it answers in time.
    pub(crate) async fn statuses(&self) -> Vec<StatusOf> {
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

fn commit_latency(measured: CommitLatency) -> v1::CommitLatency {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    v1::CommitLatency {
        median_us: micros(measured.median),
        p99_us: micros(measured.p99),
        entries: u32::try_from(measured.entries).unwrap_or(u32::MAX),
    }
}
