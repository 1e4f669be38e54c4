//! Live events: the subscribers of a node, and the presence of accounts.
//!
//! The path of an event: the writer's thread passes it to the [`feed`]; the [`router`] makes of it
//! what clients receive and asks the [`hub`] for the subscribers; each stream of
//! `api/live/subscription.rs` takes it from its place in the hub.
//!
//! It serves no call, sends nothing to other nodes and knows no session. The context holds it, and
//! the floors above use it.

mod directory;
mod feed;
pub(crate) mod hub;
pub(crate) mod presence;
mod router;
mod state;
pub(crate) mod subscriber;
mod typing;

pub(crate) use state::{LiveState, listener};
