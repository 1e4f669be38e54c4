//! Tools that know nothing of chats, clusters or callers: deadlines, random bytes, rates, bounded
//! maps, long work, traces, and log lines that are written once.
//!
//! Nothing here holds state of the node. Every floor above may use it.

pub(crate) mod bounded_map;
pub(crate) mod deadline;
pub(crate) mod log_once;
pub(crate) mod long_work;
pub(crate) mod random;
pub(crate) mod rate_limiter;
pub(crate) mod system_time;
pub(crate) mod traceparent;
pub(crate) mod tracer;
pub(crate) mod work_meter;
