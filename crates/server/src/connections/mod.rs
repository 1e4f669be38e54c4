//! Connections of both ports: everything that a caller can use before the node knows who it is.
//!
//! A connection passes four stages: a place (`places.rs`), the handshake, the first bytes of HTTP
//! (`serve.rs`), and for each request the decision by its headers (`gate.rs`). Bytes that wait in
//! memory for one connection are counted (`meter.rs`, `bodies.rs`).
//!
//! Always true: descriptors, handshakes, waiting and bytes of one port are bounded by [`Limits`];
//! a caller that is not known can displace only another caller that is not known; running out of
//! descriptors costs new connections and nothing else.

mod address;
mod bodies;
mod descriptors;
mod gate;
mod io;
mod limits;
mod meter;
mod places;
mod refusals;
mod serve;
mod turns;

pub(crate) use self::{
    gate::Gate,
    limits::Ports,
    places::Places,
    serve::{Door, Introducing, serve},
};
pub use limits::Limits;
