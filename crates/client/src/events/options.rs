//! The options of a stream, with their defaults.

use std::time::Duration;

/// Longest silence that is asked of a node before it gives a sign of life.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// What a stream does besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Tell the senders of direct messages that they have been delivered, once they were handed
    /// out.
    pub acknowledge_delivery: bool,
    /// Whether presence and typing are wanted.
    pub presence: bool,
    /// Longest silence before a sign of life, 0.5 s to 60 s: a node that is silent for two and a
    /// half times as long is left.
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
