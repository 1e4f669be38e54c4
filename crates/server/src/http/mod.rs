//! The ports of a node: connections are accepted, requests are told apart by their headers, and
//! webhooks and the page are served.
//!
//! A connection passes four stages: a place, the handshake, the first bytes of HTTP (`serve.rs`),
//! and for each request (`answer.rs`) the decision by its headers (`gate.rs`). `drive.rs` ends a
//! connection that is idle or stalled. No call of gRPC is answered here: the listeners of `node`
//! pass the services to it. Only `node` uses it.

pub(crate) mod answer;
pub(crate) mod classify;
pub(crate) mod drive;
pub(crate) mod gate;
pub(crate) mod page;
pub(crate) mod refusals;
pub(crate) mod serve;
mod traced;
pub(crate) mod webhooks;
