//! Connections of both ports: everything that a caller can use before the node knows who it is.
//!
//! A connection passes four stages: a place (`places.rs`), the handshake, the first bytes of HTTP
//! (`serve.rs`), and for each request the decision by its headers (`gate.rs`). Bytes that wait in
//! memory for one connection are counted (`meter.rs`, `bodies.rs`).
//!
//! Always true: descriptors, handshakes, waiting and bytes of one port are bounded by [`Limits`];
//! a caller that is not known can displace only another caller that is not known; running out of
//! descriptors costs new connections and nothing else.

pub(crate) mod address;
pub(crate) mod bodies;
pub(crate) mod descriptors;
pub(crate) mod gate;
pub(crate) mod io;
pub(crate) mod limits;
pub(crate) mod meter;
pub(crate) mod places;
pub(crate) mod refusals;
pub(crate) mod turns;

pub(crate) use self::{gate::Gate, limits::Ports, places::Places};
pub use limits::Limits;
