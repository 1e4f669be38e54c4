//! Live events: the stream of each client, and the presence of accounts.
//!
//! The path of an event: the writer's thread passes it to the [`feed`]; the [`router`] makes of it
//! what clients receive and asks the [`hub`] for the subscribers; each [`subscription`] takes it
//! from its place. Events that are not in the log go from node to node by [`moments`].

mod directory;
mod feed;
pub(crate) mod hub;
pub(crate) mod presence;
mod router;
mod state;
mod typing;

use std::time::Duration;

pub(crate) use state::{LiveState, listener};

/// Returns the silence before a heartbeat that a client asked for.
pub(crate) fn heartbeat(asked_ms: u32) -> Duration {
    let ms = match asked_ms {
        0 => 5000,
        asked => asked.clamp(500, 60_000),
    };
    Duration::from_millis(ms.into())
}
