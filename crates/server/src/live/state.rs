//! What is live on a node: its streams and the places that they take, who is there, and who is
//! writing.
//!
//! Always true: streams, and pages that are read for them at once, are bounded.

use std::sync::{Arc, mpsc};

use conclave_core::Position;
use conclave_replica::{Listener, Reader};
use tokio::sync::Semaphore;

use super::{feed, hub, presence, router, typing};
use crate::read_turns::{Paces, ReadTurns};

/// Streams of one node. At the bound another is refused as busy.
const STREAMS_MAX: usize = 10_000;
/// Streams that read a page of what is stored, at once; the others wait for their turns. However
/// many come, or come again and again, they are never more than a few milliseconds in the way of
/// everybody else.
const PAGES_AT_ONCE: usize = 2;
/// Of these, pages of one account: however many streams it has, others find the other turn.
const PAGES_OF_ONE: usize = 1;

/// What is live on a node.
pub(crate) struct LiveState {
    pub(super) hub: Arc<hub::Hub>,
    pub(super) presences: Arc<presence::Presences>,
    pub(super) typing: typing::Typing,
    pub(super) streams: Arc<Semaphore>,
    pub(super) pages: ReadTurns,
}

/// The end of the feed that the router takes from, before there is a router.
pub(crate) struct Blocks {
    hub: Arc<hub::Hub>,
    blocks: mpsc::Receiver<feed::Block>,
}

/// Somebody to tell what is applied, and what has to be started with it.
pub(crate) fn listener() -> (Arc<dyn Listener>, Blocks) {
    let hub = Arc::new(hub::Hub::new(Position(0)));
    let (feed, blocks) = feed::Feed::new(hub.clone());
    (feed, Blocks { hub, blocks })
}

impl LiveState {
    /// Starts the router. Everything up to entry `applied` is in the database.
    pub(crate) fn start(
        reader: Reader,
        blocks: Blocks,
        applied: u64,
        paces: &Paces,
    ) -> std::io::Result<Self> {
        let Blocks { hub, blocks } = blocks;
        hub.publish(None, Position::end_of(applied));
        // The thread ends by itself when the replica, and so the feed, is gone.
        router::start(hub.clone(), reader, blocks)?;
        Ok(Self {
            hub,
            presences: Arc::default(),
            typing: typing::Typing::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            pages: ReadTurns::new(PAGES_AT_ONCE, PAGES_OF_ONE, paces),
        })
    }

    /// Ends all streams: their clients go on elsewhere.
    pub(crate) fn stop(&self) {
        self.hub.close();
    }
}
