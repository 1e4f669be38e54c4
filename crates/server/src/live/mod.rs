//! What happens, as it happens: the stream of each client, and who is there.
//!
//! The way of an event: the writer's thread tells the [`feed`]; the [`router`] makes of it what
//! people are told and asks the [`hub`] who listens; each [`subscription`] takes it from its
//! place. What is not in the log goes from node to node by [`moments`].

mod directory;
mod feed;
mod hub;
mod moments;
mod presence;
mod router;
mod service;
mod state;
mod subscription;
mod token;
mod typing;

use std::time::Duration;

pub(crate) use moments::{hear, share};
pub(crate) use service::Live;
pub(crate) use state::{LiveState, listener};

/// The silence before a heartbeat that a client asked for.
fn heartbeat(asked_ms: u32) -> Duration {
    let ms = match asked_ms {
        0 => 5000,
        asked => asked.clamp(500, 60_000),
    };
    Duration::from_millis(ms.into())
}
