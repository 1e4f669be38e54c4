//! Runs one node as a process: two listeners around a replica.
//!
//! Always true: nothing is served before the replica has started, and nothing is begun after the
//! node has been asked to stop.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use conclave_storage::DiskFailure;
use conclave_tls::Fingerprint;
use conclave_wire::Problem;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::{
    auth::{
        codes::WrongCodes, passwords::Passwords, read_turns::ReadTurns, registration::Registration,
        sessions::Sessions, throttle::AttemptGate,
    },
    backup::schedule,
    base::{
        log_once::LogOnce,
        tracer::{SpanCounts, Tracer},
    },
    cluster::{
        fail_stop::{self, GoesAlone},
        join, leaving, roll_call, setup,
        start_error::StartError,
    },
    config::{
        backup::BackupSchedule, node_config::NodeConfig, recover::FailStop, sources::ConfigError,
    },
    connections::{ConnectionSlots, Ports},
    context::{
        backup_state::BackupState,
        check_state::Checks,
        draining::{Draining, Stage},
        log_control::{LogControl, LogSlot},
        node_context::{COMMANDS_MAX, JoinPlaces, NodeContext},
        operator_calls::Operators,
        page_tickets::PageTickets,
        roll_call_state::Ended,
        rotation_state::{self, Rotation},
        space::Space,
    },
    identity::recovered::RecoveryState,
    integrity::repair,
    node::{
        background,
        bound::Bound,
        faults::Faults,
        listeners::{self, Clients},
        opened::Opened,
        otlp::{Collector, Sending},
        resolve,
    },
    observe::AdminListener,
    peer::{digest_points::Digests, snapshots::Transfer},
    protocol::recent_events::RecentEvents,
    tls::{CertificateSubject, security},
};

/// Maximum number of concurrent reads of the database; further reads wait a bounded time.
const READS_MAX: usize = 32;
/// Maximum number of these for one account.
const READS_OF_ONE_MAX: usize = 4;
/// Maximum number of concurrent searches: as many as the index has connections.
const SEARCHES_MAX: usize = 4;
/// Maximum number of these for one account.
const SEARCHES_OF_ONE_MAX: usize = 1;
/// Maximum number of repairs at one start: the database, then everything.
const REPAIRS_MAX: u32 = 2;
/// How long one attempt to be ready may take.
const READY_LIMIT: Duration = Duration::from_secs(1);
/// How long the consensus engine may take to answer.
const RESPONSE_LIMIT: Duration = Duration::from_secs(5);
/// Pause before the next attempt.
const READY_PAUSE: Duration = Duration::from_millis(20);

/// A running node.
pub struct Node {
    shared: Arc<NodeContext>,
    client_address: SocketAddr,
    peer_address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
    setup_tokens: watch::Receiver<Option<String>>,
    removed: watch::Receiver<bool>,
    ended: watch::Receiver<Option<Ended>>,
    clients: Clients,
    stopped: Arc<AtomicBool>,
    faults: Arc<Faults>,
    alone: watch::Receiver<Option<GoesAlone>>,
    /// Ends with the node.
    admin: Option<AdminListener>,
    /// Sends spans, if calls are traced.
    sending: Option<Sending>,
}

impl Node {
    /// Binds both listeners, opens the data directory and takes part in the cluster.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let mut repairs = 0;
        loop {
            match Box::pin(Self::start_once(config.clone())).await? {
                Some(node) => return Ok(node),
                // The damage is recorded now, and the next attempt repairs it.
                None if repairs < REPAIRS_MAX => repairs += 1,
                None => {
                    let sentence = "the data is still damaged after several repairs".to_owned();
                    return Err(StartError::System(sentence));
                }
            }
        }
    }

    /// Starts the node once. Returns `None` if the data is damaged; the damage is recorded now.
    #[expect(clippy::too_many_lines, reason = "it names each part once")]
    async fn start_once(config: NodeConfig) -> Result<Option<Self>, StartError> {
        let (schedule, fail_stop) = (checked(&config)?, config.fail_stop()?);
        let collector = Collector::of(&config.trace)?;
        let ports = Ports::open(&config.limits);
        let mut bound = Bound::open(&config).await?;
        let admin = bound.serve_admin();
        let own = bound.member(&config)?;
        let resolved = Box::pin(resolve::find(&config, own.clone(), &bound.peers)).await?;
        let (identity, members) = (resolved.identity, resolved.members);
        let node = identity.node;
        let mut own = members.get(&node).cloned().unwrap_or(own);
        // Flags know addresses only.
        own.witness = identity.witness;
        let subject = CertificateSubject::at(Some(node), &[&own.client_address]);
        let security = security::of(config.plain, Some(&resolved.credentials), subject)?;
        let resumed = rotation_state::resume(&config.data, &security.tls);
        resumed.map_err(|error| identity.claim().failed(error))?;

        let recent_events = RecentEvents::default();
        let opened = Opened::open(&config, &identity, &security, &members, &recent_events);
        let Some(opened) = opened.await? else {
            AdminListener::end(admin.as_ref()).await;
            return Ok(None);
        };
        let system = |problem: Problem| StartError::System(problem.to_string());
        let spans = Arc::default();
        let traces = collector.map(|to| traces(to, &config, identity.node, &spans));
        let (tracer, sending) = traces.transpose().map_err(system)?.unzip();
        let shared = Arc::new(NodeContext {
            identity,
            security,
            secret_is_given: config.secret_file.is_some(),
            rotation: Rotation::default(),
            raising: AtomicU32::new(0),
            joins: JoinPlaces::default(),
            nodes: RwLock::default(),
            replica: opened.replica,
            transport: opened.transport,
            sessions: Sessions::new(opened.work.clone()),
            passwords: Passwords::new().map_err(system)?,
            gate: AttemptGate::default(),
            codes: WrongCodes::default(),
            registration: config
                .registration
                .unwrap_or_else(|| Registration::default_at(bound.client_address.ip())),
            commands: Arc::new(Semaphore::new(COMMANDS_MAX)),
            sends: Arc::default(),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            client_slots: ConnectionSlots::new(ports.clients, config.limits.held_bytes),
            peer_slots: ConnectionSlots::new(ports.peers, config.limits.held_bytes),
            turns: ReadTurns::new(READS_MAX, READS_OF_ONE_MAX, &opened.work),
            lookups: Arc::default(),
            searches: ReadTurns::new(SEARCHES_MAX, SEARCHES_OF_ONE_MAX, &opened.work),
            live: opened.live,
            calls: Arc::default(),
            tracer,
            spans,
            recent_events,
            space: Space::new(&config.data, config.min_free_bytes),
            addresses: watch::Sender::new(Arc::default()),
            public_origins: config.public_origins()?,
            trusted_proxies: config.trusted_proxies()?,
            demo_panel: config.demo_panel()?,
            page_tickets: PageTickets::default(),
            digests: Arc::new(Semaphore::new(1)),
            compared: Digests::default(),
            checks: Checks::default(),
            log: LogSlot::default(),
            backups: BackupState::open(&config.data),
            recovery: RecoveryState::open(&config.data, fail_stop::mode(fail_stop.as_ref())),
            stopping: watch::Sender::new(false),
            draining: Draining::default(),
            refused: LogOnce::default(),
            operators: Operators::default(),
            callers_refused: LogOnce::default(),
            members,
            roll: Arc::new(opened.roll),
            own,
            durable: !config.unsafe_no_sync,
            started: Instant::now(),
            snapshots: opened.snapshots,
            stale_limit: Duration::from_secs(config.stale_seconds),
        });
        shared.recent_events.record_start(resolved.repaired);
        tell_settings(&shared);
        let node = Self::serve(shared, bound, &config, opened.faults, admin);
        let mut node = node.with_backups(schedule).with_recovery(fail_stop);
        node.sending = sending;
        Ok(Some(node))
    }

    /// Serves both listeners, and begins what runs in the background.
    fn serve(
        shared: Arc<NodeContext>,
        bound: Bound,
        config: &NodeConfig,
        faults: Arc<Faults>,
        admin: Option<AdminListener>,
    ) -> Self {
        if let Some(admin) = &admin {
            admin.watch(&shared);
        }
        let (mut tasks, clients) =
            listeners::start(&shared, bound.client, bound.peers, &config.limits);
        let (tell, setup_tokens) = watch::channel(None);
        tasks.push(tokio::spawn(setup::run(shared.clone(), tell)));
        let (tell, removed) = watch::channel(false);
        tasks.push(tokio::spawn(join::watch_membership(shared.clone(), tell)));
        let (tell, ended) = watch::channel(None);
        tasks.push(tokio::spawn(roll_call::run(shared.clone(), tell)));
        tasks.extend(background::start(&shared));
        let grace = Duration::from_millis(config.drain_ms);
        tasks.push(tokio::spawn(leaving::keep(shared.clone(), grace)));
        let tls = &shared.security.tls;
        tasks.push(tokio::spawn(tls.clone().keep_valid()));
        if let Some((watch, pair)) = bound.own_certificate {
            tls.serve_own(pair);
            tasks.push(tokio::spawn(tls.clone().keep_own(watch)));
        }
        Self {
            shared,
            client_address: bound.client_address,
            peer_address: bound.peer_address,
            tasks,
            setup_tokens,
            removed,
            ended,
            clients,
            stopped: Arc::default(),
            faults,
            alone: watch::channel(None).1,
            admin,
            sending: None,
        }
    }

    /// Begins to make backups, if there is a schedule.
    fn with_backups(mut self, schedule: Option<BackupSchedule>) -> Self {
        let keep = schedule.map(|schedule| schedule::keep(self.shared.clone(), schedule));
        self.tasks.extend(keep.map(tokio::spawn));
        self
    }

    /// Begins to watch for the loss of the majority, if the node recovers by itself.
    fn with_recovery(mut self, how: Option<FailStop>) -> Self {
        let (tell, alone) = watch::channel(None);
        let watch = how.map(|how| fail_stop::watch(self.shared.clone(), how, tell));
        self.tasks.extend(watch.map(tokio::spawn));
        self.alone = alone;
        self
    }

    /// Ends when the node is to recover its cluster alone: the process must restart and do so with
    /// [`recover_alone`](crate::recover_alone). Never ends unless the operator has set that.
    pub async fn goes_alone(&self) -> GoesAlone {
        let mut alone = self.alone.clone();
        let said = alone.wait_for(Option::is_some).await;
        let said = said.ok().and_then(|said| said.clone());
        match said {
            Some(said) => said,
            None => std::future::pending().await,
        }
    }

    /// Returns the address for clients.
    #[must_use]
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// Returns the address of the admin listener, for probes and metrics; `None` if there is none.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(AdminListener::address)
    }

    /// Returns the address for peers.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    /// Returns the snapshots that this node is sending or receiving right now.
    #[must_use]
    pub fn transfers(&self) -> Vec<Transfer> {
        self.shared.snapshots.transfers().list()
    }

    /// Returns how many acknowledged entries the node has not applied yet. `None` if no leader says
    /// so within `limit`: ask again.
    pub async fn entries_behind(&self, limit: Duration) -> Option<u64> {
        self.shared.replica.entries_behind(limit).await
    }

    /// Returns whether the node is at work: its consensus engine answers. That needs no leader.
    pub async fn is_responsive(&self) -> bool {
        self.shared.replica.is_responsive(RESPONSE_LIMIT).await
    }

    /// Returns the node's number.
    #[must_use]
    pub fn node(&self) -> u64 {
        self.shared.identity.node
    }

    /// Returns the setup token that makes the cluster's first administrator, while there is no
    /// administrator and this node leads. Show it only to the operator, and never log it.
    #[must_use]
    pub fn setup_tokens(&self) -> watch::Receiver<Option<String>> {
        self.setup_tokens.clone()
    }

    /// Returns the fingerprint by which clients know the cluster: the SHA-256 of the certificate of
    /// its authority. `None` if the node serves them in plain text.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        let security = &self.shared.security;
        (!security.plain_clients).then(|| security.tls.fingerprint())
    }

    /// Reads the operator's own certificate again now, without waiting for the next look at its
    /// files.
    pub fn read_certificate_again(&self) {
        self.shared.security.tls.look_at_own_now();
    }

    /// Lets operators change the log of the process while the node runs.
    pub fn set_log_control(&self, control: Arc<dyn LogControl>) {
        self.shared.log.fill(control);
    }

    /// Sets what tests and demonstrations change while the node runs: the offset of its clock, and
    /// how slow its disk is.
    pub fn set_faults(&self, config: &NodeConfig) {
        self.faults.set(config);
    }

    /// Waits until the node knows a leader and has applied what was acknowledged before the call;
    /// returns the leader. Never ends while there is no quorum.
    pub async fn ready(&self) -> u64 {
        loop {
            let caught_up = self.shared.replica.read_barrier(READY_LIMIT).await.is_ok();
            let leader = *self.shared.replica.leader().borrow();
            if let Some(leader) = leader.filter(|_| caught_up && self.shared.is_healthy()) {
                return leader;
            }
            // A barrier that is reached at once must not make this a busy loop.
            tokio::time::sleep(READY_PAUSE).await;
        }
    }

    /// Ends when a promise is broken or the node was removed from its cluster, with the reason: the
    /// process must stop, loudly. Never ends on a healthy node.
    pub async fn failed(&self) -> String {
        let (mut removed, mut ended) = (self.removed.clone(), self.ended.clone());
        tokio::select! {
            reason = self.shared.replica.failed() => {
                if let Some(damage) = self.shared.replica.damage()
                    && let Err(error) = repair::note(self.shared.identity.claim(), &damage)
                {
                    tracing::error!(%error, "failed to record data damage");
                }
                reason
            }
            Ok(_) = removed.wait_for(|removed| *removed) => {
                "it was removed from the cluster".to_owned()
            }
            Ok(ended) = ended.wait_for(Option::is_some) => {
                ended.as_ref().map_or_else(String::new, |ended| ended.why.clone())
            }
        }
    }

    /// Returns what an operator can do, if the node must stop although its data is intact.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        self.ended.borrow().as_ref().map(|ended| ended.hint)
    }

    /// Returns what the disk has refused, if that is why the node must stop: its data is left as it
    /// is, and a restart helps only after the disk works again.
    #[must_use]
    pub fn disk_failure(&self) -> Option<DiskFailure> {
        match self.is_damaged() {
            true => None,
            false => self.shared.replica.disk_failure(),
        }
    }

    /// Returns the directory of its data.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.shared.identity.claim().directory()
    }

    /// Returns whether the node's data was found damaged while it ran: after a restart the node
    /// repairs it.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.shared.replica.damage().is_some()
    }

    /// Takes the clients to the other nodes, has another voter lead, finishes the calls under way,
    /// closes the port of clients and stops, all within about `limit`. A second call does nothing.
    pub async fn stop(&self, limit: Duration) {
        if self.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        let deadline = Instant::now() + limit;
        let shared = &self.shared;
        shared.draining.begin_to_stop();
        let mut stage = shared.draining.subscribe();
        let is_away = stage.wait_for(|stage| *stage == Stage::Away);
        let _ = timeout_at(deadline - limit / 2, is_away).await;
        shared.stopping.send_replace(true);
        shared.live.stop();
        // All permits are free once no call is under way.
        let idle = async {
            let _ = shared.commands.acquire_many(all(COMMANDS_MAX)).await;
            let _ = shared.reads.acquire_many(all(READS_MAX)).await;
        };
        let finished = timeout_at(deadline - limit / 4, idle).await.is_ok();
        self.clients.end().await;
        shared.replica.stop().await;
        self.tasks.iter().for_each(JoinHandle::abort);
        AdminListener::end(self.admin.as_ref()).await;
        if let Some(sending) = &self.sending {
            sending.end(deadline).await;
        }
        tracing::info!(node = self.node(), finished, "stopped");
    }
}

/// Begins to trace calls, and to send their spans.
fn traces(
    collector: Collector,
    config: &NodeConfig,
    node: u64,
    counts: &Arc<SpanCounts>,
) -> Result<(Arc<Tracer>, Sending), Problem> {
    let (tracer, spans) = Tracer::new(config.trace.sample, counts.clone())?;
    Ok((tracer, collector.start(spans, node, counts.clone())))
}

/// Logs the settings with which a node differs most from another one.
fn tell_settings(shared: &NodeContext) {
    if !shared.durable {
        tracing::warn!("the log is not synced: acknowledged messages may be lost");
    }
    tracing::info!(registration = %shared.registration, "registration policy");
}

/// Checks what only together is right or wrong, before anything is opened; returns when the node
/// makes backups.
fn checked(config: &NodeConfig) -> Result<Option<BackupSchedule>, ConfigError> {
    config.members()?;
    config.public_origins()?;
    config.trusted_proxies()?;
    config.demo_panel()?;
    config.backup_schedule()
}

/// Returns the number of permits of a semaphore as it is taken.
fn all(permits: usize) -> u32 {
    u32::try_from(permits).unwrap_or(u32::MAX)
}
