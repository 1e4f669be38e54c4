//! Passes decided events from the writer's thread to the router, in log order.
//!
//! Without subscribers the feed wakes the router only for deleted accounts.
//!
//! Always true: publishing never waits. At the bound blocks are dropped, and all subscribers catch
//! up from the database instead.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc,
};

use conclave_core::{AccountEvent, Event, Position};
use conclave_replica::Listener;

use super::hub::Hub;

/// Maximum number of blocks that wait for the router. It takes one in microseconds, so this many
/// are a long pause.
const BLOCKS_MAX: usize = 1024;

/// Result of entries that were decided at once.
pub(crate) struct Block {
    /// The last of them. The database may have it only later.
    pub(crate) index: u64,
    /// Events since the previous block.
    pub(crate) events: Vec<(Position, Event)>,
    /// Number of blocks that were lost before this one, since the start.
    pub(crate) lost: u64,
}

/// Sending end of the feed, for the writer.
pub(crate) struct Feed {
    hub: Arc<Hub>,
    blocks: mpsc::SyncSender<Block>,
    lost: AtomicU64,
}

impl Feed {
    /// Creates both ends.
    pub(crate) fn new(hub: Arc<Hub>) -> (Arc<Self>, mpsc::Receiver<Block>) {
        let (blocks, waiting) = mpsc::sync_channel(BLOCKS_MAX);
        let lost = AtomicU64::new(0);
        (Arc::new(Self { hub, blocks, lost }), waiting)
    }

    fn tell(&self, index: u64, events: Vec<(Position, Event)>) {
        // The router also caches names, which are removed with their accounts.
        let ends_a_name =
            |event: &Event| matches!(event, Event::Account(AccountEvent::Deleted { .. }));
        if !self.hub.is_wanted() && !events.iter().any(|(_, event)| ends_a_name(event)) {
            self.hub.publish(None, Position::end_of(index));
            return;
        }
        let lost = self.lost.load(Ordering::Relaxed);
        let block = Block {
            index,
            events,
            lost,
        };
        if self.blocks.try_send(block).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Listener for Feed {
    fn decided(&self, index: u64, events: Vec<(Position, Event)>) {
        self.tell(index, events);
    }

    fn installed(&self, index: u64) {
        // Events on the way were not published: the same as a lost block.
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.tell(index, Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use conclave_core::{AccountId, SessionId};

    use super::*;

    fn hub() -> Arc<Hub> {
        Arc::new(Hub::new(Position(0)))
    }

    #[test]
    fn a_full_feed_drops_blocks_and_the_next_block_reports_it() {
        let hub = hub();
        let (feed, waiting) = Feed::new(hub.clone());
        let _listener = hub.register(AccountId(1), SessionId(1), false);
        for index in 0..BLOCKS_MAX as u64 + 3 {
            feed.decided(index, Vec::new());
        }
        let taken: Vec<Block> = waiting.try_iter().collect();
        assert_eq!(taken.len(), BLOCKS_MAX);
        assert!(taken.iter().all(|block| block.lost == 0));
        feed.decided(2000, Vec::new());
        assert_eq!(waiting.try_recv().unwrap().lost, 3);
        feed.installed(3000);
        assert_eq!(waiting.try_recv().unwrap().lost, 4);
    }

    #[test]
    fn without_subscribers_the_router_gets_only_account_deletions() {
        let (feed, waiting) = Feed::new(hub());
        feed.decided(1, Vec::new());
        assert!(waiting.try_recv().is_err());
        let account = AccountId(1);
        let deleted = (
            Position::new(2, 0),
            Event::Account(AccountEvent::Deleted { account }),
        );
        feed.decided(2, vec![deleted]);
        assert_eq!(waiting.try_recv().unwrap().index, 2);
    }
}
