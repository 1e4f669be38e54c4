//! The metrics of a node, for Prometheus and everything that reads OpenMetrics.
//!
//! What happens often is counted with atomics where it happens; all else is read when a watcher
//! asks. `docs/metrics.md` has every family; a test compares.
//!
//! Always true: reading takes no lock for which a command or an event of a client waits, but for a
//! moment the one of the engine's own report; and the number of series is bounded: labels are
//! methods, codes, reasons, ports and members, and never anything that a caller chooses.

mod cluster;
mod data;
mod traffic;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_replica::{Figures, Status};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};
use tokio::time::Instant;

use crate::{
    context::node_context::NodeContext,
    integrity::repair,
    observe::{
        Observed,
        page::{Page, label},
        process,
    },
};

/// Usual length of the text, in bytes.
const TEXT_BYTES: usize = 64 * 1024;
/// The metrics of one node, in a registry of their own.
pub(super) struct Metrics {
    registry: Registry,
    turn: tokio::sync::Mutex<()>,
    /// How long the text took that was made last, in nanoseconds.
    took_ns: Arc<AtomicU64>,
}

impl Metrics {
    pub(super) fn new(observed: Arc<Observed>) -> Self {
        let mut registry = Registry::default();
        let took_ns = Arc::<AtomicU64>::default();
        registry.register_collector(Box::new(OfNode {
            observed,
            took_ns: took_ns.clone(),
        }));
        Self {
            took_ns,
            registry,
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Returns all metrics as text, or `None` if they cannot be written.
    pub(super) async fn text(self: &Arc<Self>) -> Option<String> {
        let _turn = self.turn.lock().await;
        let metrics = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let mut text = String::with_capacity(TEXT_BYTES);
            let written = text::encode(&mut text, &metrics.registry);
            let took_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            metrics.took_ns.store(took_ns, Ordering::Relaxed);
            written.map(|()| text)
        });
        written.await.ok()?.ok()
    }
}

/// Reads the metrics of a node when they are asked for.
#[derive(Debug)]
struct OfNode {
    observed: Arc<Observed>,
    took_ns: Arc<AtomicU64>,
}

impl Collector for OfNode {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        process::write(&mut page)?;
        page.gauges(
            "conclave_build_info",
            "Version of the program; always 1.",
            [([label("version", env!("CARGO_PKG_VERSION"))], 1_u64)],
        )?;
        page.gauge(
            "conclave_started",
            "Whether the node has started; without it there are only the metrics of the process.",
            self.observed.node().is_some(),
        )?;
        let took = Duration::from_nanos(self.took_ns.load(Ordering::Relaxed));
        page.gauge(
            "conclave_scrape_duration_seconds",
            "Time that the node took for these metrics when they were last asked for, in seconds.",
            took.as_secs_f64(),
        )?;
        match self.observed.node() {
            Some(node) => OfStarted::read(&node).write(&mut page),
            None => Ok(()),
        }
    }
}

/// What a node that has started says.
struct OfStarted<'a> {
    node: &'a NodeContext,
    status: Status,
    figures: Figures,
}

impl<'a> OfStarted<'a> {
    fn read(node: &'a NodeContext) -> Self {
        Self {
            node,
            status: node.replica.status(),
            figures: node.replica.figures(),
        }
    }

    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.node(page)?;
        self.members(page)?;
        self.engine(page)?;
        self.proposals(page)?;
        self.log(page)?;
        self.state(page)?;
        self.followers(page)?;
        self.snapshots(page)?;
        self.calls(page)?;
        self.live(page)?;
        self.connections(page)?;
        self.backups(page)?;
        self.disk(page)
    }

    fn node(&self, page: &mut Page<'_>) -> fmt::Result {
        let node = self.node;
        let (number, cluster) = (node.identity.node.to_string(), &node.identity.cluster_id);
        page.gauges(
            "conclave_node_info",
            "Number of the node and identity of its cluster; always 1.",
            [([label("node", number), label("cluster", cluster)], 1_u64)],
        )?;
        page.gauge(
            "conclave_uptime_seconds",
            "Time since the node has started, in seconds.",
            node.started.elapsed().as_secs_f64(),
        )?;
        page.gauge(
            "conclave_stopping",
            "Whether the node takes no new calls because it stops.",
            node.is_stopping(),
        )?;
        page.gauge(
            "conclave_serving",
            "Whether calls are worth sending here: what the health service of gRPC says.",
            node.is_serving(),
        )?;
        page.gauge(
            "conclave_waits_for_members",
            "Whether the node waits for members to confirm its data, and does not vote yet.",
            !node.replica.is_admitted(),
        )?;
        page.gauge(
            "conclave_unreached",
            "Whether there is a leader that does not reach this node.",
            node.roll.is_unreached(),
        )?;
        page.gauges(
            "conclave_quarantined_directories",
            "Directories with damaged data that the node has put aside when it repaired itself.",
            repair::quarantined(node.identity.claim().directory()).map(|kept| ([], kept)),
        )?;
        page.gauge(
            "conclave_data_damaged",
            "Whether the data of the node was found damaged since it was started.",
            node.replica.damage().is_some(),
        )?;
        page.gauge(
            "conclave_state_differs",
            "Whether the voters have different states and none has a majority.",
            node.compared.differs_at() > 0,
        )?;
        self.clock_and_certificates(page)
    }

    fn clock_and_certificates(&self, page: &mut Page<'_>) -> fmt::Result {
        let clock = self.node.replica.clock_status();
        #[expect(clippy::cast_precision_loss, reason = "an offset in milliseconds")]
        let offset = clock.skew_ms.map(|skew_ms| skew_ms as f64 / 1000.0);
        page.gauges(
            "conclave_clock_offset_seconds",
            "How far the clock is ahead of the median of the voters, in seconds; negative: behind.",
            offset.map(|seconds| ([], seconds)),
        )?;
        let expiries = self.node.security.tls.expiries().into_iter();
        page.gauges(
            "conclave_certificate_expiry_timestamp_seconds",
            "When a certificate of the node expires, in seconds since 1970.",
            expiries.map(|(name, at)| ([label("certificate", name)], at)),
        )
    }
}
