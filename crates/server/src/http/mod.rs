//! Plain HTTP and the port of clients: it accepts connections, tells calls of gRPC from other
//! requests, and serves webhooks.
//!
//! It decides nothing about chat: webhooks propose as services do. It knows no service of `api`:
//! the listeners of `node` pass the services to it, and only they use it.

pub(crate) mod classify;
pub(crate) mod serve;
pub(crate) mod webhooks;
