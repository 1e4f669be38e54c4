//! Opens the data of a node, and starts its replica.

use std::{collections::BTreeMap, sync::Arc};

use conclave_replica::{LogRetention, Member, Replica, Timers};

use crate::{
    auth::work_meters::WorkMeters,
    cluster::start_error::StartError,
    config::node_config::NodeConfig,
    context::roll_call_state::RollCall,
    identity::node_identity::Identity,
    integrity::repair,
    live::{self, LiveState},
    node::faults::Faults,
    peer::{
        codec::WireCodec,
        snapshots::{self, SNAPSHOT_BYTES_PER_SECOND, Transfers},
        transport::GrpcTransport,
    },
    protocol::recent_events::RecentEvents,
    tls::Security,
};

/// The data of a node, once it is open and the node takes part in the cluster.
pub(crate) struct Opened {
    pub(crate) replica: Replica,
    pub(crate) transport: Arc<GrpcTransport>,
    pub(crate) roll: RollCall,
    pub(crate) snapshots: snapshots::Receiver,
    pub(crate) live: LiveState,
    pub(crate) work: WorkMeters,
    pub(crate) faults: Arc<Faults>,
}

impl Opened {
    /// Returns `None` if the data is damaged; the damage is recorded now.
    pub(crate) async fn open(
        config: &NodeConfig,
        identity: &Identity,
        security: &Security,
        members: &BTreeMap<u64, Member>,
        events: &RecentEvents,
    ) -> Result<Option<Self>, StartError> {
        let node = identity.node;
        let transfers = Transfers::default();
        let rate = config.snapshot_bytes_per_second;
        let rate = rate.unwrap_or(SNAPSHOT_BYTES_PER_SECOND);
        let sender = snapshots::Sender::new(rate, transfers.clone(), events.clone());
        let (cluster_id, locks) = (identity.cluster_id.clone(), security.clone());
        let roll = RollCall::begin(config.data.clone(), config.join.clone());
        let roll = roll.map_err(|error| identity.claim().failed(error))?;
        let word = roll.incarnation().word;
        let transport = GrpcTransport::new(node, cluster_id, word, locks, sender, events.clone());
        let transport = Arc::new(transport);
        let faults = Arc::new(Faults::new(config));
        let replica_config = conclave_replica::Config {
            node,
            members: members.clone(),
            bootstrap: !identity.joined,
            admitted: false,
            data: config.data.clone(),
            timers: Timers::default(),
            sync: !config.unsafe_no_sync,
            retention: retention(config),
            sync_delay: config
                .demo
                .panel
                .as_ref()
                .map(|_| faults.clone().sync_delay()),
            versions: config.versions(),
            witness: identity.witness,
            clock: faults.clone().clock(),
        };
        let codec = Arc::new(WireCodec::of(config.versions()));
        let (listener, blocks) = live::listener();
        let started = Replica::start(replica_config, codec, transport.clone(), listener).await;
        let replica = match started.map_err(|error| (error.damage(), error)) {
            Ok(replica) => replica,
            Err((Some(damage), _)) => {
                repair::note(identity.claim(), &damage)?;
                return Ok(None);
            }
            Err((None, error)) => return Err(error.into()),
        };
        let snapshots = snapshots::Receiver::new(replica.snapshots_dir(), transfers);
        let work = WorkMeters::default();
        let live = match LiveState::start(&replica, blocks, &work) {
            Ok(live) => live,
            Err(error) => {
                replica.stop().await;
                let Some(damage) = replica.damage() else {
                    let system = || StartError::System(error.to_string());
                    return Err(replica.disk_failure().map_or_else(system, StartError::Disk));
                };
                repair::note(identity.claim(), &damage)?;
                return Ok(None);
            }
        };
        Ok(Some(Self {
            replica,
            transport,
            roll,
            snapshots,
            live,
            work,
            faults,
        }))
    }
}

fn retention(config: &NodeConfig) -> LogRetention {
    let default = LogRetention::default();
    match config.log_keep_entries {
        Some(keep_entries) => LogRetention {
            keep_entries,
            sync_entries: keep_entries.div_ceil(2),
            ..default
        },
        None => default,
    }
}
