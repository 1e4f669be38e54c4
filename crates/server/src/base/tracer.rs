//! Decides which calls are traced, numbers their spans, and queues them for what sends them.
//!
//! Always true: this node alone decides which calls of clients are traced, whatever their headers
//! say; and the queue is bounded: a span that finds it full is dropped and counted, and no call
//! waits.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use conclave_replica::{Span, SpanSink, Trace};
use conclave_wire::Problem;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::base::{random, traceparent::TraceParent};

/// Spans that wait to be sent, at most: about a megabyte. Spans that find no place are dropped.
const QUEUE_SPANS_MAX: usize = 4096;
/// Step of the generator: odd, and without a pattern in its bits.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Part of all calls: a number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Sample {
    /// Calls of 2^32.
    per_2_to_32: u64,
}

impl Sample {
    fn takes(self, drawn: u32) -> bool {
        u64::from(drawn) < self.per_2_to_32
    }
}

impl Default for Sample {
    /// One call of a hundred.
    fn default() -> Self {
        Self {
            per_2_to_32: (1 << 32) / 100,
        }
    }
}

impl TryFrom<f64> for Sample {
    type Error = &'static str;

    fn try_from(part: f64) -> Result<Self, Self::Error> {
        if !(0.0..=1.0).contains(&part) {
            return Err("`trace.sample` is a number from 0 to 1");
        }
        Ok(Self {
            // From 0 to 2^32.
            per_2_to_32: (part * 4_294_967_296.0).round() as u64,
        })
    }
}

/// What became of the spans of this node.
#[derive(Default)]
pub(crate) struct SpanCounts {
    /// The collector has taken them.
    pub(crate) sent: AtomicU64,
    /// The queue was full.
    pub(crate) crowded_out: AtomicU64,
    /// The collector has not taken them in time, or has refused them.
    pub(crate) not_taken: AtomicU64,
}

/// Traces some of the calls of this node.
pub(crate) struct Tracer {
    sample: Sample,
    /// State of a generator of numbers that need not be secret.
    drawn: AtomicU64,
    queue: mpsc::Sender<Span>,
    counts: Arc<SpanCounts>,
}

impl Tracer {
    /// Creates a tracer, and the end of its queue.
    pub(crate) fn new(
        sample: Sample,
        counts: Arc<SpanCounts>,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Span>), Problem> {
        let (queue, spans) = mpsc::channel(QUEUE_SPANS_MAX);
        let seed = u64::from_le_bytes(random::bytes()?);
        let tracer = Self {
            sample,
            drawn: AtomicU64::new(seed),
            queue,
            counts,
        };
        Ok((Arc::new(tracer), spans))
    }

    /// Decides whether a call of a client is traced; if it is, its trace is that of `parent`, or a
    /// new one.
    pub(crate) fn begin(
        self: &Arc<Self>,
        parent: impl FnOnce() -> Option<TraceParent>,
    ) -> Option<Trace> {
        let drawn = (self.draw() >> 32) as u32;
        if !self.sample.takes(drawn) {
            return None;
        }
        let (trace_id, span_id) = match parent() {
            Some(parent) => (parent.trace_id, parent.span_id),
            None => {
                let halves = [self.fresh_id(), self.fresh_id()].map(u128::from);
                (halves[0] << 64 | halves[1], 0)
            }
        };
        Some(Trace::new(self.clone(), trace_id, span_id))
    }

    /// Returns the place in the trace that another node of the cluster has begun.
    pub(crate) fn join(self: &Arc<Self>, parent: TraceParent) -> Option<Trace> {
        let trace = || Trace::new(self.clone(), parent.trace_id, parent.span_id);
        parent.sampled.then(trace)
    }

    /// Draws a number; takes no lock. This is the generator SplitMix64.
    fn draw(&self) -> u64 {
        let mut drawn = self.drawn.fetch_add(STEP, Ordering::Relaxed);
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^ (drawn >> 31)
    }
}

impl SpanSink for Tracer {
    fn fresh_id(&self) -> u64 {
        self.draw().max(1)
    }

    fn take(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.counts.crowded_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use conclave_replica::SpanKind;
    use tokio::time::Instant;

    use super::*;

    fn tracer(part: f64) -> (Arc<Tracer>, mpsc::Receiver<Span>, Arc<SpanCounts>) {
        let counts = Arc::<SpanCounts>::default();
        let sample = Sample::try_from(part).unwrap();
        let (tracer, spans) = Tracer::new(sample, counts.clone()).unwrap();
        (tracer, spans, counts)
    }

    const PARENT: TraceParent = TraceParent {
        trace_id: 7,
        span_id: 8,
        sampled: true,
    };

    #[test]
    fn a_part_of_the_calls_is_from_none_to_all() {
        let takes = |part: f64, drawn| Sample::try_from(part).unwrap().takes(drawn);
        assert!(!takes(0.0, 0) && takes(1.0, u32::MAX));
        assert!(takes(0.5, u32::MAX / 2) && !takes(0.5, u32::MAX / 2 + 1));
        assert!(takes(0.01, 42_949_672) && !takes(0.01, 42_949_673));
        assert!(Sample::default().takes(42_949_671) && !Sample::default().takes(42_949_673));
        for wrong in [-0.1, 1.1, 100.0, f64::NAN, f64::INFINITY] {
            assert!(Sample::try_from(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_caller_names_the_trace_and_does_not_decide_on_it() {
        let (all, ..) = tracer(1.0);
        let trace = all.begin(|| Some(PARENT)).unwrap();
        assert_eq!((trace.id(), trace.parent_id()), (7, 8));
        let unsampled = TraceParent {
            sampled: false,
            ..PARENT
        };
        assert_eq!(all.begin(|| Some(unsampled)).unwrap().id(), 7);
        assert!(all.join(unsampled).is_none() && all.join(PARENT).is_some());
        let (none, ..) = tracer(0.0);
        assert!((0..1000).all(|_| none.begin(|| Some(PARENT)).is_none()));
        let (few, ..) = tracer(0.01);
        let taken = (0..100_000).filter(|_| few.begin(|| Some(PARENT)).is_some());
        assert!((800..1200).contains(&taken.count()));
    }

    #[test]
    fn traces_and_spans_have_numbers_of_their_own() {
        let (tracer, ..) = tracer(1.0);
        let ids: std::collections::BTreeSet<_> = (0..1000)
            .flat_map(|_| {
                let trace = tracer.begin(|| None).unwrap();
                assert_eq!(trace.parent_id(), 0);
                [trace.id(), u128::from(tracer.fresh_id())]
            })
            .collect();
        assert_eq!(ids.len(), 2000);
        assert!(!ids.contains(&0));
    }

    #[test]
    fn spans_that_find_the_queue_full_are_dropped_and_counted() {
        let (tracer, mut spans, counts) = tracer(1.0);
        let trace = tracer.begin(|| None).unwrap();
        for _ in 0..QUEUE_SPANS_MAX + 5 {
            let now = Instant::now();
            let span = trace.open("step", SpanKind::Internal, now);
            span.close(now, false, Vec::new());
        }
        assert_eq!(counts.crowded_out.load(Ordering::Relaxed), 5);
        let queued = std::iter::from_fn(|| spans.try_recv().ok());
        assert_eq!(queued.count(), QUEUE_SPANS_MAX);
    }
}
