//! Takes the place of `otlp.rs` in a program that was built without the feature `otlp`: such a
//! program has no collector, and refuses settings that name one.

use std::{convert::Infallible, sync::Arc};

use conclave_replica::Span;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    base::tracer::SpanCounts,
    config::{sources::ConfigError, trace::TraceConfig},
};

/// A collector, of which there is none.
pub(super) struct Collector(Infallible);

impl Collector {
    /// Returns that there is no collector.
    ///
    /// # Errors
    /// [`ConfigError::NoTraces`] if the settings name one.
    pub(super) fn of(config: &TraceConfig) -> Result<Option<Self>, ConfigError> {
        match config.otlp {
            None => Ok(None),
            Some(_) => Err(ConfigError::NoTraces),
        }
    }

    /// See `otlp.rs`.
    pub(super) fn start(self, _: mpsc::Receiver<Span>, _: u64, _: Arc<SpanCounts>) -> Sending {
        match self.0 {}
    }
}

/// Sending, which never happens.
pub(super) struct Sending(Infallible);

impl Sending {
    /// See `otlp.rs`.
    pub(super) async fn end(&self, _: Instant) {
        match self.0 {}
    }
}
