//! Traces: what a call has met on its way, as spans, for the few calls that are sampled.
//!
//! Whether a call is traced is decided at the edge, outside of this crate. Its traces travel with
//! the task that serves it, then with its commands to the entry that has them, and on to the leader
//! if another node leads. Handlers on the way need not know of them.
//!
//! Always true: a span has names, numbers and times, and nothing that a caller has written; to take
//! one never waits; and a call that is not traced costs a look at an empty list in each step.

mod entry;
mod span;

pub(crate) use entry::{EntryTrace, Proposal, Traced};
pub use span::{Attribute, OpenSpan, Span, SpanKind, SpanSink, Trace};

/// Traces that go along with one entry or one request between nodes, at most. The commands of
/// others are carried out all the same, and their spans end where they were put together.
pub const TRACES_MAX: usize = 16;

tokio::task_local! {
    static CURRENT: Vec<Trace>;
}

/// Does some work as a part of these traces.
pub async fn within<F: Future>(traces: Vec<Trace>, work: F) -> F::Output {
    CURRENT.scope(traces, work).await
}

/// Returns the traces that the running task works for; mostly none.
#[must_use]
pub fn current() -> Vec<Trace> {
    CURRENT.try_with(Vec::clone).unwrap_or_default()
}
