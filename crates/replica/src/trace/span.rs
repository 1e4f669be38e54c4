//! Spans, and the traces that they belong to.

use std::{borrow::Cow, fmt, sync::Arc};

use tokio::time::Instant;

/// One step of a traced call, once it has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Number of the trace, not 0.
    pub trace_id: u128,
    /// Number of the span, not 0.
    pub span_id: u64,
    /// Number of the span around this one; 0 if it is the first of its trace.
    pub parent_id: u64,
    /// Name of the step.
    pub name: Cow<'static, str>,
    /// Side of a call between machines on which the step was.
    pub kind: SpanKind,
    /// Beginning of the step.
    pub began: Instant,
    /// End of the step.
    pub ended: Instant,
    /// Whether the step has failed.
    pub failed: bool,
    /// What else is known of it.
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// Side of a call between machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Neither side.
    Internal,
    /// The side that answers.
    Server,
    /// The side that asks.
    Client,
}

/// A value that is known of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A number.
    Number(u64),
    /// A name of the protocol.
    Name(Cow<'static, str>),
}

/// Takes spans, and gives them numbers.
pub trait SpanSink: Send + Sync + 'static {
    /// Returns a number for a span: random, and not 0.
    fn fresh_id(&self) -> u64;
    /// Takes a span, or drops it if too many wait. Never waits.
    fn take(&self, span: Span);
}

/// A place in a trace: the spans that are opened here have the same span around them.
#[derive(Clone)]
pub struct Trace {
    sink: Arc<dyn SpanSink>,
    id: u128,
    parent_id: u64,
}

impl Trace {
    /// Returns the place inside of the span `parent_id` of the trace `id`; 0: around no span.
    #[must_use]
    pub fn new(sink: Arc<dyn SpanSink>, id: u128, parent_id: u64) -> Self {
        Self {
            sink,
            id,
            parent_id,
        }
    }

    /// Returns the number of the trace.
    #[must_use]
    pub fn id(&self) -> u128 {
        self.id
    }

    /// Returns the number of the span around this place; 0: none.
    #[must_use]
    pub fn parent_id(&self) -> u64 {
        self.parent_id
    }

    /// Opens a span that has begun at `began`.
    pub fn open(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        began: Instant,
    ) -> OpenSpan {
        OpenSpan {
            span_id: self.sink.fresh_id(),
            trace: self.clone(),
            name: name.into(),
            kind,
            began,
        }
    }

    /// Adds a step of this node that is over.
    pub(crate) fn add(&self, name: &'static str, began: Instant, ended: Instant) {
        let span = self.open(name, SpanKind::Internal, began);
        span.close(ended, false, Vec::new());
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Trace({:032x}/{:016x})", self.id, self.parent_id)
    }
}

/// A span that has not ended. One that is dropped leaves nothing.
#[derive(Debug)]
#[must_use]
pub struct OpenSpan {
    trace: Trace,
    span_id: u64,
    name: Cow<'static, str>,
    kind: SpanKind,
    began: Instant,
}

impl OpenSpan {
    /// Returns the place inside of this span.
    #[must_use]
    pub fn inside(&self) -> Trace {
        Trace {
            parent_id: self.span_id,
            ..self.trace.clone()
        }
    }

    /// Ends the span.
    pub fn close(self, ended: Instant, failed: bool, attributes: Vec<(&'static str, Attribute)>) {
        let Self {
            trace,
            span_id,
            name,
            kind,
            began,
        } = self;
        let Trace {
            sink,
            id: trace_id,
            parent_id,
        } = trace;
        sink.take(Span {
            trace_id,
            span_id,
            parent_id,
            name,
            kind,
            began,
            ended,
            failed,
            attributes,
        });
    }
}
