//! Connections of both ports: everything that a caller can use before the node knows who it is.
//!
//! A connection takes a place (`slots.rs`); bytes that wait in memory for it are counted
//! (`meter.rs`, `bodies.rs`). No HTTP is read here: the floor `http` accepts connections, serves
//! them and decides about each request. The floors above use it; it uses TLS, sessions and `base`.
//!
//! Always true: descriptors, handshakes, waiting and bytes of one port are bounded by [`Limits`];
//! a caller that is not known displaces a known one only where all places are taken, and takes none
//! of its memory; running out of descriptors costs new connections and nothing else.

pub(crate) mod address;
pub(crate) mod bodies;
pub(crate) mod descriptors;
mod displacement;
pub(crate) mod io;
pub(crate) mod limits;
pub(crate) mod meter;
pub(crate) mod proxies;
pub(crate) mod slots;
pub(crate) mod turns;

pub(crate) use self::{limits::Ports, slots::ConnectionSlots};
pub use limits::Limits;
