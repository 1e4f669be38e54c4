//! Items of a stream: events, and news of the stream itself.

use std::time::Duration;

use conclave_wire::v1;

/// One item of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An event. Of the events that are about the stream itself, only [`v1::event::Event::Started`]
    /// (once, first) and [`v1::event::Event::Gap`] are given.
    Event(v1::Event),
    /// The stream is lost, or still lost after another round over all nodes. The client reopens it
    /// by itself.
    Disconnected(Disconnect),
    /// The stream is back, and the late events have been given.
    Reconnected(Reconnect),
}

/// State of a lost stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Attempts to get it back so far: 0 when it has just been lost.
    pub attempt: u32,
    /// The node that was tried last.
    pub node: String,
    /// Time since the stream was lost.
    pub gone_for: Duration,
    /// Cause, for people.
    pub sentence: String,
}

/// State of a stream that is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// The attempt that succeeded: 1 for the first.
    pub attempt: u32,
    /// The node that streams now.
    pub node: String,
    /// Time for which the stream was gone.
    pub gone_for: Duration,
    /// Number of late events: those that were given between the reconnection and now.
    pub missed: u64,
}
