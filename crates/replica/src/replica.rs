//! The handle: starts a replica, gives it work, stops it.
//!
//! What is opened before the engine starts, and closed again if that fails, is in `opening.rs`;
//! what a replica reports of itself in `health/observe.rs`.

use std::{
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::Duration,
};

use conclave_core::Command;
use conclave_storage::{
    log::{LogStore as _, SegmentLog},
    search::Search,
    state::Reader,
};
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use crate::{
    Codec, Config, Listener, Member, Outcome, ProposeError, ReadError, StartError, Transport,
    Written,
    acks::{gate::Gate, keeper::Keeper},
    apply::{Raft, StateMachine, VersionNow},
    clocks::{Clocks, rounds::Others},
    election::{
        campaign::{self, Campaigner},
        contact::Contact,
        leader_watch::watch_leader,
        participation::Participation,
        transfer::Transferrer,
    },
    engine::start_engine,
    health::meter::Meter,
    log::{full_members::FullMembers, retention::Retention},
    membership::finisher::Finisher,
    opening::Opened,
    proposer::{self, Failure, Proposer, Reach, is_busy, is_maybe_proposed},
    reads::{self, Reads},
    replication::network::Network,
};

/// Pause before a command or a read is tried again while no leader is known.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// One voter of the cluster. Cheap to clone; all clones are the same replica.
#[derive(Clone)]
pub struct Replica {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) codec: Arc<dyn Codec>,
    pub(crate) raft: Raft,
    pub(crate) machine: StateMachine,
    pub(crate) log: Arc<SegmentLog>,
    pub(crate) reader: Reader,
    pub(crate) search: Search,
    proposer: proposer::Handle,
    pub(crate) reads: reads::Handle,
    pub(crate) campaign: campaign::Handle,
    pub(crate) leader: watch::Receiver<Option<u64>>,
    pub(crate) applied: watch::Receiver<u64>,
    pub(crate) clocks: Clocks,
    pub(crate) meter: Meter,
    pub(crate) version: VersionNow,
    pub(crate) gate: Gate,
    pub(crate) contact: Contact,
    pub(crate) full: FullMembers,
    pub(crate) transferrer: Transferrer,
    /// The reason why this replica's state is not that of a majority, if it is not.
    pub(crate) diverged: OnceLock<String>,
    pub(crate) participation: Participation,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Replica {
    /// Opens log and state and takes part in the cluster. A log that is empty is bootstrapped
    /// with the members of `config`; every node does so, in whatever order they start. `listener`
    /// hears what is applied from now on.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running.
    pub async fn start(
        config: Config,
        codec: Arc<dyn Codec>,
        transport: Arc<dyn Transport>,
        listener: Arc<dyn Listener>,
    ) -> Result<Self, StartError> {
        if !config.members.contains_key(&config.node) {
            return Err(StartError::NotAMember { node: config.node });
        }
        let opened = Opened::open(&config, &codec, listener)?;
        let network = Network {
            node: config.node,
            transport: transport.clone(),
            codec: codec.clone(),
            members: config.members.clone(),
            store: opened.store.clone(),
            witness: config.witness,
        };
        let started = start_engine(&config, network, &opened.log_view, &opened.machine);
        let raft = match started.await {
            Ok(raft) => raft,
            Err(error) => return Err(opened.close(error).await),
        };
        Ok(Self::with_engine(config, codec, transport, opened, raft))
    }

    /// Starts the tasks around the engine and puts the replica together.
    #[expect(clippy::too_many_lines, reason = "it names each part once")]
    fn with_engine(
        config: Config,
        codec: Arc<dyn Codec>,
        transport: Arc<dyn Transport>,
        opened: Opened,
        raft: Raft,
    ) -> Self {
        let Opened {
            log,
            log_view,
            reader,
            applied,
            store,
            search,
            clocks,
            meter,
            version,
            gate,
            machine,
            writer,
        } = opened;
        let (leader_tx, leader) = watch::channel(None);
        let member_of = member_lookup(&raft, &config);
        let proposer = Proposer {
            node: config.node,
            raft: raft.clone(),
            codec: codec.clone(),
            transport: transport.clone(),
            leader: leader.clone(),
            member_of: member_of.clone(),
            clocks: clocks.clone(),
            meter: meter.clone(),
            versions: config.versions,
            version: version.clone(),
            witness: config.witness,
            gate: gate.clone(),
        };
        let keeper = Keeper {
            node: config.node,
            raft: raft.clone(),
            gate: gate.clone(),
            meter: meter.clone(),
        };
        let others = Others {
            raft: raft.clone(),
            transport: transport.clone(),
            member_of: member_of.clone(),
        };
        let reads = Reads {
            node: config.node,
            raft: raft.clone(),
            transport,
            leader: leader.clone(),
            member_of,
        };
        let limits = config.retention;
        let full = FullMembers::new(config.witness);
        let data = config.data.clone();
        let retention = Retention::new(raft.clone(), log_view, limits, store, data, full.clone());
        let watched = watch_leader(raft.clone(), config.node, leader_tx, meter.clone());
        let lease = Duration::from_millis(config.timers.election_max_ms);
        let transferrer = Transferrer {
            node: config.node,
            raft: raft.clone(),
            leader: leader.clone(),
            lease,
        };
        let mut tasks = vec![
            tokio::spawn(watched),
            tokio::spawn(clocks.clone().run(others)),
            tokio::spawn(Finisher { raft: raft.clone() }.run()),
            tokio::spawn(keeper.run()),
            tokio::spawn(retention.run()),
        ];
        if config.witness {
            tasks.push(tokio::spawn(transferrer.clone().never_lead()));
        }
        let contact = Contact::new();
        let campaign = Campaigner {
            node: config.node,
            raft: raft.clone(),
            contact: contact.clone(),
            lease,
        };
        let inner = Inner {
            campaign: campaign.start(),
            proposer: proposer.start(),
            reads: reads.start(),
            participation: Participation::new(config.admitted),
            config,
            codec,
            raft,
            machine,
            log,
            reader,
            search,
            leader,
            applied,
            clocks,
            meter,
            version,
            gate,
            contact,
            full,
            transferrer,
            diverged: OnceLock::new(),
            tasks: Mutex::new(tasks),
            writer: Mutex::new(Some(writer)),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Gets a command through: on any node, whatever happens to leaders meanwhile, until `limit`
    /// has passed. Retries inside are safe, because the command carries its request number.
    ///
    /// # Errors
    /// See [`ProposeError`]; only `Busy`, `NoLeader` and `VersionTooLow` say that nothing was
    /// proposed.
    pub async fn propose(
        &self,
        command: Command,
        limit: Duration,
    ) -> Result<Outcome, ProposeError> {
        let mut outcomes = self.propose_all(&[command], limit).await?;
        outcomes.pop().ok_or(ProposeError::Stopping)
    }

    /// Gets commands through together: in one entry if they fit, decided in this order, one outcome
    /// each. A retry inside is one of all of them.
    ///
    /// # Errors
    /// As of [`Replica::propose`], for all of them: some may have been decided.
    pub async fn propose_all(
        &self,
        commands: &[Command],
        limit: Duration,
    ) -> Result<Vec<Outcome>, ProposeError> {
        self.is_introduced(commands)?;
        let deadline = Instant::now() + limit;
        let mut maybe_proposed = false;
        let mut leader = self.inner.leader.clone();
        loop {
            leader.mark_unchanged();
            let attempt = self
                .inner
                .proposer
                .attempt(commands.to_vec(), Reach::Cluster);
            match timeout_at(deadline, attempt).await {
                Ok(Ok(attempts)) => {
                    maybe_proposed |= attempts.iter().any(is_maybe_proposed);
                    if !maybe_proposed && attempts.iter().any(is_busy) {
                        return Err(ProposeError::Busy);
                    }
                    if let Ok(outcomes) = attempts.into_iter().collect() {
                        return Ok(outcomes);
                    }
                }
                Ok(Err(ProposeError::Busy)) if !maybe_proposed => {
                    self.inner.meter.busy();
                    return Err(ProposeError::Busy);
                }
                Ok(Err(ProposeError::Stopping)) => return Err(ProposeError::Stopping),
                Ok(Err(_)) => {}
                Err(_) => return Err(ProposeError::OutcomeUnknown { waited: limit }),
            }
            let paused = pause_before_retry(&mut leader, deadline).await;
            paused.map_err(|_| ProposeError::Stopping)?;
            if Instant::now() >= deadline {
                return Err(match maybe_proposed {
                    true => ProposeError::OutcomeUnknown { waited: limit },
                    false => ProposeError::NoLeader { waited: limit },
                });
            }
        }
    }

    /// Refuses commands that the cluster version does not have, as far as this node knows it. The
    /// leader looks again: it may be ahead of this node, or behind it.
    pub(crate) fn is_introduced(&self, commands: &[Command]) -> Result<(), ProposeError> {
        let version = self.cluster_version();
        let mut operations = commands.iter().map(|command| &command.operation);
        match operations.find(|operation| !operation.is_introduced(version)) {
            Some(operation) => Err(ProposeError::VersionTooLow {
                needed: operation.needs(),
            }),
            None => Ok(()),
        }
    }

    /// Proposes commands that another node has forwarded: only as the leader, without a further
    /// hop, one result each. They stay together.
    pub async fn propose_here(
        &self,
        commands: Vec<Command>,
        limit: Duration,
    ) -> Vec<Result<Outcome, ProposeError>> {
        let count = commands.len();
        let unknown = || ProposeError::OutcomeUnknown { waited: limit };
        let attempt = self.inner.proposer.attempt(commands, Reach::Here);
        let attempts = match timeout(limit, attempt).await {
            Ok(Ok(attempts)) => attempts,
            Ok(Err(error)) => {
                if error == ProposeError::Busy {
                    self.inner.meter.busy();
                }
                return vec![Err(error); count];
            }
            Err(_) => return vec![Err(unknown()); count],
        };
        let results = attempts.into_iter().map(|attempt| {
            attempt.map_err(|failure| match failure {
                Failure {
                    maybe_proposed: true,
                    ..
                } => unknown(),
                Failure { busy: true, .. } => ProposeError::Busy,
                Failure { leader, .. } => ProposeError::NotLeader { leader },
            })
        });
        results.collect()
    }

    /// Waits until this node has applied everything that was acknowledged anywhere before the call;
    /// returns the index. A read of [`Replica::reader`] after that is linearizable.
    ///
    /// # Errors
    /// See [`ReadError`]; reading again is always safe.
    pub async fn read_barrier(&self, limit: Duration) -> Result<u64, ReadError> {
        let deadline = Instant::now() + limit;
        let mut leader = self.inner.leader.clone();
        loop {
            leader.mark_unchanged();
            match timeout_at(deadline, self.inner.reads.confirm()).await {
                Ok(Ok(Ok(index))) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let applied = self.wait_applied(index, left).await;
                    return match applied {
                        Err(ReadError::Behind { .. }) => Err(ReadError::Behind { waited: limit }),
                        applied => applied.map(|()| index),
                    };
                }
                Ok(Ok(Err(_))) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(ReadError::NoLeader { waited: limit }),
            }
            let paused = pause_before_retry(&mut leader, deadline).await;
            paused.map_err(|_| ReadError::Stopping)?;
            if Instant::now() >= deadline {
                return Err(ReadError::NoLeader { waited: limit });
            }
        }
    }

    /// Returns, as the leader, up to where a linearizable read that starts now must have applied.
    ///
    /// # Errors
    /// [`ReadError::NotLeader`] if this node does not lead or cannot confirm it.
    pub async fn read_index_here(&self, limit: Duration) -> Result<u64, ReadError> {
        let leader = *self.inner.leader.borrow();
        if leader != Some(self.inner.config.node) {
            return Err(ReadError::NotLeader { leader });
        }
        match timeout(limit, self.inner.reads.confirm()).await {
            Ok(Ok(confirmed)) => confirmed.map_err(|leader| ReadError::NotLeader { leader }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ReadError::NoLeader { waited: limit }),
        }
    }

    /// Waits until entry `index` is in this node's database, and has it written as soon as it is
    /// decided.
    ///
    /// # Errors
    /// [`ReadError::Behind`] when `limit` has passed; [`ReadError::Stopping`].
    pub async fn wait_applied(&self, index: u64, limit: Duration) -> Result<(), ReadError> {
        self.inner.machine.written().reaches(index, limit).await
    }

    /// Returns what waits for entries in the database; it does not keep this replica alive.
    #[must_use]
    pub fn written(&self) -> Written {
        self.inner.machine.written()
    }

    /// Returns the index of the last entry that is in this node's database; changes after each
    /// transaction.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.applied.clone()
    }

    /// Reads this node's database.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.inner.reader.clone()
    }

    /// Searches what this node has applied.
    #[must_use]
    pub fn search(&self) -> Search {
        self.inner.search.clone()
    }

    /// Returns the leader that this node knows.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<Option<u64>> {
        self.inner.leader.clone()
    }

    /// Returns this replica's number.
    pub(crate) fn node(&self) -> u64 {
        self.inner.config.node
    }

    /// Stops taking part. What was acknowledged is on disk; the outcome of what is under way is
    /// unknown to the waiting callers.
    pub async fn stop(&self) {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "failed to stop the consensus engine");
        }
        let lock = |error: std::sync::PoisonError<_>| error.into_inner();
        self.inner
            .tasks
            .lock()
            .unwrap_or_else(lock)
            .drain(..)
            .for_each(|task| task.abort());
        self.inner.gate.give_up();
        self.inner.machine.stop();
        let writer = self
            .inner
            .writer
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .take();
        let log = self.inner.log.clone();
        let joined = tokio::task::spawn_blocking(move || {
            log.close();
            writer.map(thread::JoinHandle::join)
        });
        if !matches!(joined.await, Ok(None | Some(Ok(())))) {
            tracing::error!("a thread of the replica has panicked");
        }
    }
}

/// Waits until another attempt makes sense: a little, or until another node leads; never beyond
/// `deadline`. Fails when the replica is stopping.
async fn pause_before_retry(
    leader: &mut watch::Receiver<Option<u64>>,
    deadline: Instant,
) -> Result<(), watch::error::RecvError> {
    let again = (Instant::now() + RETRY_PAUSE).min(deadline);
    tokio::select! {
        () = sleep_until(again) => Ok(()),
        changed = leader.changed() => changed,
    }
}

fn member_lookup(raft: &Raft, config: &Config) -> Arc<dyn Fn(u64) -> Option<Member> + Send + Sync> {
    let (metrics, members) = (raft.metrics(), config.members.clone());
    Arc::new(move |node| {
        let known = members.get(&node).cloned();
        known.or_else(|| {
            metrics
                .borrow_watched()
                .membership_config
                .membership()
                .get_node(&node)
                .cloned()
        })
    })
}
