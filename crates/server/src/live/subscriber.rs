//! One subscriber of this node, and the queue of events that wait for it.
//!
//! It does not know which events its account may see: the hub decides that and delivers.
//!
//! Always true: adding an event never waits, and at most [`QUEUE_BYTES_MAX`] wait. At the bound
//! the subscriber loses its queue and lags, and takes nothing more until it is attached again. An
//! end is final.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use conclave_core::{AccountId, Position, SessionId};
use conclave_wire::v1;
use tokio::{sync::Notify, time::Instant};

/// Maximum number of encoded bytes that may wait for one subscriber. At the bound it lags.
pub(super) const QUEUE_BYTES_MAX: usize = 256 * 1024;
/// Cost of an item in a queue besides its bytes.
pub(super) const ITEM_OVERHEAD_BYTES: usize = 64;

/// One event, shared by all its subscribers.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) event: v1::Event,
    /// Encoded size.
    pub(crate) bytes: usize,
}

impl Item {
    pub(crate) fn new(event: v1::Event) -> Self {
        let bytes = prost::Message::encoded_len(&event);
        Self { event, bytes }
    }
}

/// Reason why the hub ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    SessionClosed,
    Stopping,
}

/// Result of looking into a subscriber's queue.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Some events, in order, each with its position (0: not of the log).
    Items(Vec<Arc<Item>>),
    /// No events: everything up to this position was delivered.
    Nothing(Position),
    /// At that moment more events arrived than may wait: the subscriber must catch up.
    Lagged(Instant),
    End(End),
}

/// One subscriber.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) id: u64,
    pub(super) account: AccountId,
    pub(super) session: SessionId,
    pub(super) ephemeral: bool,
    /// Position up to which it had seen everything when it was attached.
    seen: AtomicU64,
    queue: Mutex<Queue>,
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Arc<Item>>,
    bytes: usize,
    lagged: Option<Instant>,
    end: Option<End>,
}

impl Subscriber {
    /// Creates a subscriber with an empty queue, not attached yet.
    pub(super) fn new(id: u64, account: AccountId, session: SessionId, ephemeral: bool) -> Self {
        Self {
            id,
            account,
            session,
            ephemeral,
            seen: AtomicU64::new(0),
            queue: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|error| error.into_inner())
    }

    /// Empties the queue of a subscriber that is attached and has seen everything up to `seen`.
    pub(super) fn restart(&self, seen: Position) {
        self.seen.store(seen.0, Ordering::Relaxed);
        let mut queue = self.queue();
        queue.lagged = None;
        queue.items.clear();
        queue.bytes = 0;
    }

    /// Returns whether the subscriber had not seen this position when it was attached.
    pub(super) fn is_news(&self, position: Position) -> bool {
        position.0 > self.seen.load(Ordering::Relaxed)
    }

    /// Adds an item to the queue; returns whether there was room for it.
    pub(super) fn push(&self, item: &Arc<Item>) -> bool {
        let mut queue = self.queue();
        if queue.lagged.is_some() || queue.end.is_some() {
            return true;
        }
        let bytes = item.bytes + ITEM_OVERHEAD_BYTES;
        let fits = queue.bytes + bytes <= QUEUE_BYTES_MAX;
        if fits {
            queue.bytes += bytes;
            queue.items.push_back(item.clone());
        } else {
            queue.lag();
        }
        drop(queue);
        self.changed.notify_one();
        fits
    }

    /// Takes waiting events, up to about `bytes_max`. Everything up to `published` is in the queue
    /// or was taken.
    pub(super) fn take(&self, published: Position, bytes_max: usize) -> Taken {
        let mut queue = self.queue();
        if let Some(end) = queue.end {
            return Taken::End(end);
        }
        if let Some(since) = queue.lagged {
            return Taken::Lagged(since);
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(item) = queue.items.front() {
            let more = item.bytes + ITEM_OVERHEAD_BYTES;
            if bytes + more > bytes_max && !taken.is_empty() {
                break;
            }
            bytes += more;
            taken.extend(queue.items.pop_front());
        }
        if taken.is_empty() {
            // An idle subscriber keeps no memory of a busy time.
            queue.items = VecDeque::new();
            queue.bytes = 0;
            return Taken::Nothing(published);
        }
        queue.bytes = queue.bytes.saturating_sub(bytes);
        Taken::Items(taken)
    }

    pub(super) fn lag(&self) {
        self.queue().lag();
        self.changed.notify_one();
    }

    pub(super) fn end(&self, end: End) {
        self.queue().end.get_or_insert(end);
        self.changed.notify_one();
    }

    /// Returns for how many items the queue has memory.
    #[cfg(test)]
    pub(super) fn queue_capacity(&self) -> usize {
        self.queue().items.capacity()
    }
}

impl Queue {
    fn lag(&mut self) {
        self.items = VecDeque::new();
        self.bytes = 0;
        self.lagged.get_or_insert_with(Instant::now);
    }
}
