//! The options of a stream, with their defaults.

use std::time::Duration;

/// Default of the longest silence before a node gives a sign of life.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// Options of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Whether the client tells the senders of direct messages that these were delivered, once they
    /// were handed out.
    pub acknowledge_delivery: bool,
    /// Whether the stream includes presence and typing.
    pub presence: bool,
    /// Longest silence before a sign of life, 0.5 s to 60 s: the client leaves a node that is
    /// silent for two and a half times as long.
    pub heartbeat: Duration,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            acknowledge_delivery: true,
            presence: true,
            heartbeat: HEARTBEAT,
        }
    }
}
