//! What tests and demonstrations set while a node runs: the offset of its clock, and a slow disk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_core::Timestamp;

use crate::{
    config::node_config::NodeConfig, context::node_context::Clock, protocol::problems::millis,
};

/// The faults of a node.
#[derive(Debug)]
pub(crate) struct Faults {
    clock_offset_ms: AtomicI64,
    sync_delay_ms: AtomicU64,
}

impl Faults {
    pub(crate) fn new(config: &NodeConfig) -> Self {
        Self {
            clock_offset_ms: AtomicI64::new(config.clock_offset_ms),
            sync_delay_ms: AtomicU64::new(config.demo.sync_delay_ms),
        }
    }

    /// Takes what the settings say now; a slow disk only if they are those of a demonstration.
    pub(crate) fn set(&self, config: &NodeConfig) {
        let offset_ms = config.clock_offset_ms;
        self.clock_offset_ms.store(offset_ms, Ordering::Relaxed);
        match config.demo_panel() {
            Ok(_) => {
                let delay_ms = config.demo.sync_delay_ms;
                self.sync_delay_ms.store(delay_ms, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "failed to set how slow the disk is"),
        }
    }

    /// Returns how much longer each sync takes.
    pub(crate) fn sync_delay(self: Arc<Self>) -> Arc<dyn Fn() -> Duration + Send + Sync> {
        Arc::new(move || Duration::from_millis(self.sync_delay_ms.load(Ordering::Relaxed)))
    }

    /// Returns the clock of the node.
    pub(crate) fn clock(self: Arc<Self>) -> Clock {
        Arc::new(move || {
            #[expect(clippy::disallowed_methods, reason = "the edge at which time enters")]
            let now = std::time::SystemTime::now();
            let since = now
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default();
            let offset_ms = self.clock_offset_ms.load(Ordering::Relaxed);
            Timestamp(millis(since).saturating_add_signed(offset_ms))
        })
    }
}
