//! Starts the consensus engine over a log and a state machine that are open.

use std::sync::Arc;

use openraft::SnapshotPolicy;

use crate::{
    Config, StartError,
    apply::{Raft, StateMachine},
    log::store::Log,
    replication::network::Network,
};

/// Entries that openraft writes or sends at once at most.
const ENTRIES_AT_ONCE_MAX: u64 = 1024;

/// Starts the engine; a log that is empty is bootstrapped if the configuration says so.
pub(crate) async fn start_engine(
    config: &Config,
    network: Network,
    log: &Log,
    machine: &StateMachine,
) -> Result<Raft, StartError> {
    machine.move_fence().await?;
    let engine = Arc::new(engine_config(config).map_err(StartError::Engine)?);
    let raft = Raft::new(config.node, engine, network, log.clone(), machine.clone()).await;
    let raft = raft.map_err(|error| StartError::Engine(error.to_string()))?;
    if config.bootstrap && config.admitted {
        bootstrap(&raft, config).await?;
    }
    Ok(raft)
}

fn engine_config(config: &Config) -> Result<openraft::Config, String> {
    let timers = config.timers;
    let engine = openraft::Config {
        cluster_name: "conclave".to_owned(),
        heartbeat_interval: timers.heartbeat_ms,
        election_timeout_min: timers.election_min_ms,
        election_timeout_max: timers.election_max_ms,
        enable_pre_vote: Some(true),
        // A replica that waits to be admitted does not campaign.
        enable_elect: config.admitted,
        // An old leader without a majority must not renew the lease of those that still hear it:
        // without this a partial partition can keep all nodes from electing.
        quorum_loss_probe_interval: Some(2 * timers.election_max_ms + timers.heartbeat_ms),
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        max_payload_entries: ENTRIES_AT_ONCE_MAX,
        max_append_entries: Some(ENTRIES_AT_ONCE_MAX),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        install_snapshot_timeout: 10_000,
        backoff: "20ms 50ms 100ms ...300ms".to_owned(),
        ..openraft::Config::default()
    };
    engine.validate().map_err(|error| error.to_string())
}

/// Writes the first entry. Every node writes the same one, so it does not matter which node is
/// first, or that a leader's log arrives before this node's own attempt.
pub(crate) async fn bootstrap(raft: &Raft, config: &Config) -> Result<(), StartError> {
    use openraft::errors::{InitializeError, RaftError};
    match raft.initialize(config.members.clone()).await {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(StartError::Engine(error.to_string())),
    }
}
