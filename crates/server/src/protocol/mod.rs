//! The public protocol as this node speaks it: the names of services, rows as the messages that
//! clients receive, page tokens, origins of pages, internal errors as the problems that clients
//! get, recent events as operators get them, and the counts of calls.
//!
//! It serves no call. Every floor above may use it.

pub(crate) mod call_counts;
pub(crate) mod client_port;
pub(crate) mod origin;
pub(crate) mod pages;
pub(crate) mod problems;
pub(crate) mod recent_events;
pub(crate) mod show;
