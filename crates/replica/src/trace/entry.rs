//! The steps of one entry, for the traced calls whose commands are in it.
//!
//! The moments are noted where they happen, and become spans once the entry is decided.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;

use super::{Attribute, OpenSpan, SpanKind, TRACES_MAX, Trace, current};

/// Time from which it is a step of its own that an answer is held back.
const HELD_MIN: Duration = Duration::from_micros(100);

/// The traces of commands that wait to be proposed, and since when.
#[derive(Clone)]
pub(crate) struct Traced {
    traces: Vec<Trace>,
    since: Instant,
}

impl Traced {
    /// Returns the traces of the running task; `None` if it has none.
    pub(crate) fn current() -> Option<Self> {
        let traces = current();
        (!traces.is_empty()).then(|| Self {
            traces,
            since: Instant::now(),
        })
    }

    /// Opens a span in each of these traces, as far as there may be that many together, and adds
    /// how long its commands have waited.
    pub(crate) fn open(
        of: impl Iterator<Item = Self>,
        name: &'static str,
        kind: SpanKind,
    ) -> Vec<OpenSpan> {
        let mut spans = Vec::new();
        for Self { traces, since } in of {
            let now = Instant::now();
            for trace in traces.iter().take(TRACES_MAX - spans.len()) {
                trace.add("queue", since, now);
                spans.push(trace.open(name, kind, now));
            }
        }
        spans
    }
}

/// The moments of one entry that has traced commands in it. Only the node that has proposed it
/// knows them.
pub(crate) struct EntryTrace {
    traces: Vec<Trace>,
    appended: OnceLock<Instant>,
    synced: OnceLock<Instant>,
    committed: OnceLock<Instant>,
}

impl EntryTrace {
    fn inside(spans: &[OpenSpan]) -> Self {
        Self {
            traces: spans.iter().map(OpenSpan::inside).collect(),
            appended: OnceLock::new(),
            synced: OnceLock::new(),
            committed: OnceLock::new(),
        }
    }

    /// Notes that the entry was handed to the log.
    pub(crate) fn appended(&self) {
        let _ = self.appended.set(Instant::now());
    }

    /// Notes that the entry is on this node's disk.
    pub(crate) fn synced(&self) {
        let _ = self.synced.set(Instant::now());
    }

    /// Notes that the entry is committed, and on this node's disk.
    pub(crate) fn committed(&self) {
        let _ = self.committed.set(Instant::now());
    }

    /// Adds the steps of the entry, which is decided or has failed by now.
    fn add_steps(&self, ended: Instant) {
        let at = |moment: &OnceLock<Instant>| moment.get().copied();
        let steps = [
            ("append", at(&self.appended), at(&self.synced)),
            ("replicate", at(&self.appended), at(&self.committed)),
            ("apply", at(&self.committed), Some(ended)),
        ];
        for (name, began, ended) in steps {
            let (Some(began), Some(ended)) = (began, ended) else {
                // An entry that has failed did not come that far.
                continue;
            };
            self.traces
                .iter()
                .for_each(|trace| trace.add(name, began, ended));
        }
    }
}

/// The spans around the proposal of one entry. If it is dropped, they leave nothing.
pub(crate) struct Proposal {
    spans: Vec<OpenSpan>,
    entry: Arc<EntryTrace>,
    commands: usize,
    /// When the outcome was known, and the index of the entry if it is decided.
    outcome: Option<(Instant, Option<u64>)>,
}

impl Proposal {
    /// Opens the spans of an entry with so many commands; `None` if none of them is traced.
    pub(crate) fn open(of: impl Iterator<Item = Traced>, commands: usize) -> Option<Box<Self>> {
        let spans = Traced::open(of, "propose", SpanKind::Internal);
        (!spans.is_empty()).then(|| {
            Box::new(Self {
                entry: Arc::new(EntryTrace::inside(&spans)),
                spans,
                commands,
                outcome: None,
            })
        })
    }

    /// Returns what goes along with the entry.
    pub(crate) fn entry(&self) -> Arc<EntryTrace> {
        self.entry.clone()
    }

    /// Notes the outcome: the index of the entry, or `None` if it is not known to be decided.
    pub(crate) fn concluded(&mut self, index: Option<u64>) {
        self.outcome = Some((Instant::now(), index));
    }

    /// Ends the spans: the callers get their answers now.
    pub(crate) fn close(self) {
        let now = Instant::now();
        let (concluded, index) = self.outcome.unwrap_or((now, None));
        self.entry.add_steps(concluded);
        for span in self.spans {
            // The answer was held back until all voters had the entry.
            if now.duration_since(concluded) >= HELD_MIN {
                span.inside().add("acknowledge", concluded, now);
            }
            let commands = Attribute::Number(self.commands as u64);
            let index = index.map(|index| ("conclave.log_index", Attribute::Number(index)));
            let known = index.into_iter().chain([("conclave.commands", commands)]);
            let known: Vec<_> = known.collect();
            span.close(now, known.len() < 2, known);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    use tokio::time::advance;

    use super::*;
    use crate::trace::{Span, SpanSink, within};

    /// Keeps what it takes, and counts for numbers.
    #[derive(Default)]
    struct Kept {
        last: AtomicU64,
        spans: Mutex<Vec<Span>>,
    }

    impl SpanSink for Kept {
        fn fresh_id(&self) -> u64 {
            self.last.fetch_add(1, Ordering::Relaxed) + 1
        }

        fn take(&self, span: Span) {
            self.spans.lock().unwrap().push(span);
        }
    }

    fn traces(sink: &Arc<Kept>, count: u64) -> Vec<Trace> {
        let trace = |id| Trace::new(sink.clone(), u128::from(id), 1000 + id);
        (1..=count).map(trace).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_has_each_step_once_in_each_trace() {
        let sink = Arc::<Kept>::default();
        let waiting = within(traces(&sink, 2), async { Traced::current() }).await;
        let step = Duration::from_millis(1);
        advance(step).await;
        let mut proposal = Proposal::open(waiting.into_iter(), 7).unwrap();
        let entry = proposal.entry();
        for note in [
            EntryTrace::appended,
            EntryTrace::synced,
            EntryTrace::committed,
        ] {
            advance(step).await;
            note(&entry);
        }
        advance(step).await;
        proposal.concluded(Some(42));
        advance(step).await;
        proposal.close();
        let spans = sink.spans.lock().unwrap();
        for id in [1, 2] {
            let of: Vec<&Span> = spans.iter().filter(|span| span.trace_id == id).collect();
            let around = of.iter().find(|span| span.name == "propose").unwrap();
            let steps = of.iter().map(|span| {
                let took = span.ended.duration_since(span.began).as_millis();
                (&*span.name, took, span.parent_id == around.span_id)
            });
            let steps: Vec<_> = steps.collect();
            let expected = [
                ("queue", 1, false),
                ("append", 1, true),
                ("replicate", 2, true),
                ("apply", 1, true),
                ("acknowledge", 1, true),
                ("propose", 5, false),
            ];
            assert_eq!(steps, expected);
            assert!(!around.failed && u128::from(around.parent_id) == 1000 + id);
            let known = [
                ("conclave.log_index", Attribute::Number(42)),
                ("conclave.commands", Attribute::Number(7)),
            ];
            assert_eq!(around.attributes, known);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_that_is_not_traced_has_nothing() {
        assert!(Traced::current().is_none());
        assert!(Proposal::open(std::iter::empty(), 1).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_outcome_is_a_failed_step() {
        let sink = Arc::<Kept>::default();
        let waiting = within(traces(&sink, 1), async { Traced::current() }).await;
        let mut proposal = Proposal::open(waiting.into_iter(), 1).unwrap();
        proposal.entry().appended();
        proposal.concluded(None);
        proposal.close();
        let spans = sink.spans.lock().unwrap();
        let names: Vec<_> = spans
            .iter()
            .map(|span| (&*span.name, span.failed))
            .collect();
        assert_eq!(names, [("queue", false), ("propose", true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_traces_of_one_entry_are_bounded() {
        let sink = Arc::<Kept>::default();
        let many = traces(&sink, 3 * TRACES_MAX as u64);
        let waiting = within(many, async { [Traced::current(), Traced::current()] }).await;
        let proposal = Proposal::open(waiting.into_iter().flatten(), 1).unwrap();
        assert_eq!(proposal.spans.len(), TRACES_MAX);
    }
}
