//! What a stream gives: events, and news of the stream itself.

use std::time::Duration;

use conclave_wire::v1;

/// One thing that a stream tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Something happened. Of the events that are about the stream itself only
    /// [`v1::event::Event::Started`] (once, first) and [`v1::event::Event::Gap`] are given.
    Event(v1::Event),
    /// The stream is lost, or still lost after another round over all nodes. It will come back by
    /// itself.
    Disconnected(Disconnect),
    /// The stream is back, and what came late has been given.
    Reconnected(Reconnect),
}

/// How a stream was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Attempts to get it back so far: 0 when it has just been lost.
    pub attempt: u32,
    /// The node that was tried last.
    pub node: String,
    /// For how long it has been gone.
    pub gone_for: Duration,
    /// Why, for people.
    pub sentence: String,
}

/// How a stream came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// The attempt that succeeded: 1 for the first.
    pub attempt: u32,
    /// The node that streams now.
    pub node: String,
    /// For how long the stream was gone.
    pub gone_for: Duration,
    /// Events that came late: those that were given between then and now.
    pub missed: u64,
}
