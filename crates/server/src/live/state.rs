//! Live state of a node: its streams and their places, presence, and which accounts are writing.
//!
//! Always true: streams, and the pages that are read for them at once, are bounded.

use std::sync::{Arc, mpsc};

use conclave_core::Position;
use conclave_replica::{Listener, Replica};
use tokio::sync::Semaphore;

use super::{feed, hub, presence, router, typing};
use crate::auth::{read_turns::ReadTurns, work_meters::WorkMeters};

/// Maximum number of streams of one node. At the bound another is refused as busy.
const STREAMS_MAX: usize = 10_000;
/// Maximum number of streams that read a page of the database at once; the others wait for their
/// turns. However many streams begin or begin again, they delay other calls by no more than a few
/// milliseconds.
const PAGES_AT_ONCE: usize = 2;
/// Maximum number of these pages for one account: however many streams it has, other accounts find
/// the other turn.
const PAGES_OF_ONE: usize = 1;

/// Live state of a node.
pub(crate) struct LiveState {
    pub(crate) hub: Arc<hub::Hub>,
    pub(crate) presences: Arc<presence::Presences>,
    pub(crate) typing: typing::Typing,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) pages: ReadTurns,
}

/// Receiving end of the feed, before there is a router.
pub(crate) struct Blocks {
    hub: Arc<hub::Hub>,
    blocks: mpsc::Receiver<feed::Block>,
}

/// Creates the listener for decided events, and what is needed to start the router.
pub(crate) fn listener() -> (Arc<dyn Listener>, Blocks) {
    let hub = Arc::new(hub::Hub::new(Position(0)));
    let (feed, blocks) = feed::Feed::new(hub.clone());
    (feed, Blocks { hub, blocks })
}

impl LiveState {
    /// Starts the router.
    pub(crate) fn start(
        replica: &Replica,
        blocks: Blocks,
        work: &WorkMeters,
    ) -> std::io::Result<Self> {
        let Blocks { hub, blocks } = blocks;
        let applied = *replica.applied().borrow();
        hub.publish(None, Position::end_of(applied));
        // The thread ends by itself when the replica, and so the feed, is gone.
        router::start(hub.clone(), replica.reader(), replica.written(), blocks)?;
        Ok(Self {
            hub,
            presences: Arc::default(),
            typing: typing::Typing::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            pages: ReadTurns::new(PAGES_AT_ONCE, PAGES_OF_ONE, work),
        })
    }

    /// Ends all streams, and admits no further one: their clients go on with other nodes.
    pub(crate) fn stop(&self) {
        self.hub.close();
    }

    /// Admits streams again.
    pub(crate) fn go_on(&self) {
        self.hub.open();
    }

    /// Returns the number of open streams.
    pub(crate) fn open_streams(&self) -> u32 {
        let open = STREAMS_MAX.saturating_sub(self.streams.available_permits());
        u32::try_from(open).unwrap_or(u32::MAX)
    }
}
