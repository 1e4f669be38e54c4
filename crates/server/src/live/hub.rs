//! The subscribers of this node: which of them gets which event.
//!
//! The router publishes; a subscription takes. An event is made once and shared by all its
//! subscribers. A subscriber is found by its account and, for rooms, by the rooms it is in: events
//! elsewhere cost it nothing. What waits for one subscriber is in `subscriber.rs`.
//!
//! Always true: publishing never waits. A subscriber whose queue is full loses its queue and its
//! place here, and catches up from the database. A subscriber that follows has every event of its
//! conversations after the position at which it was attached.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use conclave_core::{AccountId, ConversationId, Position, SessionId};
use conclave_wire::v1;

use super::subscriber::{End, ITEM_OVERHEAD_BYTES, Item, Subscriber, Taken};

/// Maximum number of encoded bytes of recent events, kept for subscribers that are being attached.
const RECENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Maximum number of recent events.
const RECENT_MAX: usize = 16_384;
/// Maximum number of streams of one session on one node. At the bound another is refused as busy.
const STREAMS_PER_SESSION_MAX: usize = 16;

/// Accounts that receive an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    One(AccountId),
    Two(AccountId, AccountId),
    Room(ConversationId),
}

/// A change of the subscribers themselves, in order with the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Enters(ConversationId, AccountId),
    Leaves(ConversationId, AccountId),
}

/// What the router makes of one event of the log.
#[derive(Clone, Debug)]
pub(crate) enum Routed {
    Tell(Position, Audience, Arc<Item>),
    Change(Position, Change),
}

impl Routed {
    fn position(&self) -> Position {
        match self {
            Self::Tell(position, ..) | Self::Change(position, _) => *position,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Tell(.., item) => item.bytes + ITEM_OVERHEAD_BYTES,
            Self::Change(..) => ITEM_OVERHEAD_BYTES,
        }
    }
}

/// The hub; see the head of this file.
pub(crate) struct Hub {
    subscribers: Mutex<Subscribers>,
    /// Position up to which everything was published.
    published: AtomicU64,
    /// Number of subscribers, attached or about to be.
    interested: AtomicUsize,
    next_id: AtomicU64,
    /// `delivered` and `lagged` of the subscribers, for counting without the lock.
    delivered: AtomicU64,
    lagged: AtomicU64,
}

#[derive(Default)]
struct Subscribers {
    by_session: HashMap<SessionId, Vec<Arc<Subscriber>>>,
    by_account: HashMap<AccountId, Vec<Arc<Subscriber>>>,
    /// Attached subscribers only.
    by_room: HashMap<ConversationId, BTreeMap<u64, Arc<Subscriber>>>,
    /// Rooms of each attached subscriber.
    rooms: HashMap<u64, Vec<ConversationId>>,
    recent: VecDeque<Routed>,
    recent_bytes: usize,
    /// `recent` has everything after this.
    recent_after: Position,
    closed: bool,
    /// Number of events that were put into queues.
    delivered: u64,
    /// Number of times that a subscriber has lost its queue.
    lagged: u64,
}

/// What the hub has counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HubCounts {
    /// Subscribers now, attached or about to be.
    pub(crate) subscribers: u64,
    /// Events that were put into queues of subscribers.
    pub(crate) delivered: u64,
    /// Times that a subscriber has lost its queue and had to catch up.
    pub(crate) lagged: u64,
}

impl Hub {
    /// Creates a hub in which everything up to `published` counts as delivered.
    pub(crate) fn new(published: Position) -> Self {
        let subscribers = Subscribers {
            recent_after: published,
            ..Subscribers::default()
        };
        Self {
            subscribers: Mutex::new(subscribers),
            published: AtomicU64::new(published.0),
            interested: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
            delivered: AtomicU64::new(0),
            lagged: AtomicU64::new(0),
        }
    }

    /// Returns what was counted; takes no lock.
    pub(crate) fn counts(&self) -> HubCounts {
        let subscribers = self.interested.load(Ordering::Relaxed);
        HubCounts {
            subscribers: u64::try_from(subscribers).unwrap_or(u64::MAX),
            delivered: self.delivered.load(Ordering::Relaxed),
            lagged: self.lagged.load(Ordering::Relaxed),
        }
    }

    fn note(&self, subscribers: &Subscribers) {
        let Subscribers {
            delivered, lagged, ..
        } = subscribers;
        self.delivered.store(*delivered, Ordering::Relaxed);
        self.lagged.store(*lagged, Ordering::Relaxed);
    }

    fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers
            .lock()
            .unwrap_or_else(|error| error.into_inner())
    }

    /// Returns whether there are subscribers, so that making items of events is worthwhile.
    pub(crate) fn is_wanted(&self) -> bool {
        self.interested.load(Ordering::SeqCst) > 0
    }

    /// Registers a subscriber, not attached yet. Returns `None` if its session has too many
    /// streams, or the node is stopping.
    pub(crate) fn register(
        self: &Arc<Self>,
        account: AccountId,
        session: SessionId,
        ephemeral: bool,
    ) -> Option<HubSubscription> {
        let mut subscribers = self.subscribers();
        let of_session = subscribers.by_session.entry(session).or_default();
        if of_session.len() >= STREAMS_PER_SESSION_MAX || subscribers.closed {
            return None;
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let subscriber = Arc::new(Subscriber::new(id, account, session, ephemeral));
        let of_session = subscribers.by_session.entry(session).or_default();
        of_session.push(subscriber.clone());
        self.interested.fetch_add(1, Ordering::SeqCst);
        drop(subscribers);
        Some(HubSubscription {
            hub: self.clone(),
            subscriber,
        })
    }

    /// Attaches a subscriber that has seen everything up to `seen`, being in `rooms` then. Returns
    /// `false` if later events are not in memory: read on and try again.
    fn attach(
        &self,
        subscriber: &Arc<Subscriber>,
        seen: Position,
        rooms: &[ConversationId],
    ) -> bool {
        let mut subscribers = self.subscribers();
        if seen < subscribers.recent_after {
            return false;
        }
        subscribers.detach(subscriber);
        subscriber.restart(seen);
        let of_account = subscribers
            .by_account
            .entry(subscriber.account)
            .or_default();
        of_account.push(subscriber.clone());
        for room in rooms {
            subscribers.enter(*room, subscriber);
        }
        // Usually nothing, or little: many subscribers that attach at once must not hold up the
        // threads that publish.
        let known = subscribers
            .recent
            .partition_point(|routed| routed.position() <= seen);
        let missed: Vec<Routed> = subscribers.recent.range(known..).cloned().collect();
        for routed in missed {
            subscribers.deliver(&routed, Some(subscriber));
        }
        self.note(&subscribers);
        true
    }

    /// Delivers what entries have produced; `None` if no subscriber wanted it when the feed looked.
    /// `up_to` is the end of what was applied. A call with `None` may overtake a call with earlier
    /// events that is still on its way here.
    pub(crate) fn publish(&self, routed: Option<Vec<Routed>>, up_to: Position) {
        let mut subscribers = self.subscribers();
        for one in routed.iter().flatten() {
            subscribers.deliver(one, None);
        }
        subscribers.remember(routed, up_to);
        self.note(&subscribers);
        self.published.fetch_max(up_to.0, Ordering::SeqCst);
    }

    /// Records that events up to `up_to` were not delivered: all subscribers catch up.
    pub(crate) fn lose(&self, up_to: Position) {
        let mut subscribers = self.subscribers();
        subscribers.forget(up_to);
        let all: Vec<_> = subscribers.by_session.values().flatten().cloned().collect();
        for subscriber in all {
            subscribers.detach(&subscriber);
            subscriber.lag();
            subscribers.lagged += 1;
        }
        self.note(&subscribers);
        self.published.fetch_max(up_to.0, Ordering::SeqCst);
    }

    /// Delivers an event that is not in the log to the subscribers that want such events.
    pub(crate) fn tell_ephemeral(&self, audience: Audience, except: AccountId, event: v1::Event) {
        let item = Arc::new(Item::new(event));
        let mut subscribers = self.subscribers();
        for subscriber in subscribers.audience(audience) {
            if subscriber.ephemeral && subscriber.account != except {
                subscribers.push(&subscriber, &item);
            }
        }
        self.note(&subscribers);
    }

    /// Returns whether an account has a subscriber here.
    pub(crate) fn has(&self, account: AccountId) -> bool {
        self.subscribers().by_account.contains_key(&account)
    }

    /// Ends the streams of a session.
    pub(crate) fn end_session(&self, session: SessionId) {
        let streams = self.subscribers().by_session.get(&session).cloned();
        for subscriber in streams.into_iter().flatten() {
            subscriber.end(End::SessionClosed);
        }
    }

    /// Ends the streams of an account.
    pub(crate) fn end_account(&self, account: AccountId) {
        let subscribers = self.subscribers();
        // Those that are not attached have a session alone.
        let all = subscribers.by_session.values().flatten();
        for subscriber in all.filter(|subscriber| subscriber.account == account) {
            subscriber.end(End::SessionClosed);
        }
    }

    /// Ends all streams, and admits no further subscriber.
    pub(crate) fn close(&self) {
        let mut subscribers = self.subscribers();
        subscribers.closed = true;
        for subscriber in subscribers.by_session.values().flatten() {
            subscriber.end(End::Stopping);
        }
    }

    /// Admits subscribers again.
    pub(crate) fn open(&self) {
        self.subscribers().closed = false;
    }
}

impl Subscribers {
    fn enter(&mut self, room: ConversationId, subscriber: &Arc<Subscriber>) {
        let of_room = self.by_room.entry(room).or_default();
        if of_room.insert(subscriber.id, subscriber.clone()).is_none() {
            self.rooms.entry(subscriber.id).or_default().push(room);
        }
    }

    fn leave(&mut self, room: ConversationId, subscriber: &Subscriber) {
        if let Some(of_room) = self.by_room.get_mut(&room) {
            of_room.remove(&subscriber.id);
            if of_room.is_empty() {
                self.by_room.remove(&room);
            }
        }
        if let Some(rooms) = self.rooms.get_mut(&subscriber.id) {
            rooms.retain(|other| *other != room);
        }
    }

    /// Removes the subscriber from everywhere but the list of its session's streams.
    fn detach(&mut self, subscriber: &Subscriber) {
        for room in self.rooms.remove(&subscriber.id).unwrap_or_default() {
            self.leave(room, subscriber);
        }
        remove(&mut self.by_account, subscriber.account, subscriber.id);
    }

    /// Returns whether an attached subscriber is in an audience, at a cost that does not depend on
    /// the size of the room.
    fn is_in(&self, subscriber: &Subscriber, audience: Audience) -> bool {
        match audience {
            Audience::One(account) => account == subscriber.account,
            Audience::Two(a, b) => a == subscriber.account || b == subscriber.account,
            Audience::Room(room) => {
                let of_room = self.by_room.get(&room);
                of_room.is_some_and(|of_room| of_room.contains_key(&subscriber.id))
            }
        }
    }

    fn audience(&self, audience: Audience) -> Vec<Arc<Subscriber>> {
        let of = |account| self.by_account.get(&account).into_iter().flatten();
        match audience {
            Audience::One(account) => of(account).cloned().collect(),
            Audience::Two(a, b) if a == b => of(a).cloned().collect(),
            Audience::Two(a, b) => of(a).chain(of(b)).cloned().collect(),
            Audience::Room(room) => {
                let of_room = self.by_room.get(&room);
                of_room
                    .into_iter()
                    .flat_map(BTreeMap::values)
                    .cloned()
                    .collect()
            }
        }
    }

    /// Puts an item into the queue of a subscriber, which loses its place if the queue is full.
    fn push(&mut self, subscriber: &Subscriber, item: &Arc<Item>) {
        if subscriber.push(item) {
            self.delivered += 1;
        } else {
            self.lagged += 1;
            self.detach(subscriber);
        }
    }

    /// Delivers to every subscriber of the audience, or only to one; skips subscribers that had
    /// seen the event before they were attached.
    fn deliver(&mut self, routed: &Routed, only: Option<&Arc<Subscriber>>) {
        let position = routed.position();
        match routed {
            Routed::Tell(_, audience, item) => {
                let meant = match only {
                    Some(only) if self.is_in(only, *audience) => vec![only.clone()],
                    Some(_) => Vec::new(),
                    None => self.audience(*audience),
                };
                for subscriber in meant {
                    if subscriber.is_news(position) {
                        self.push(&subscriber, item);
                    }
                }
            }
            Routed::Change(_, change) => {
                let (Change::Enters(room, account) | Change::Leaves(room, account)) = *change;
                for subscriber in self.audience(Audience::One(account)) {
                    let is_meant = only.is_none_or(|only| only.id == subscriber.id);
                    if !is_meant || !subscriber.is_news(position) {
                        continue;
                    }
                    match change {
                        Change::Enters(..) => self.enter(room, &subscriber),
                        Change::Leaves(..) => self.leave(room, &subscriber),
                    }
                }
            }
        }
    }

    fn remember(&mut self, routed: Option<Vec<Routed>>, up_to: Position) {
        let Some(routed) = routed else {
            self.forget(up_to);
            return;
        };
        if up_to <= self.recent_after {
            return;
        }
        for one in routed {
            self.recent_bytes += one.bytes();
            self.recent.push_back(one);
        }
        while self.recent.len() > RECENT_MAX || self.recent_bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.recent.pop_front() else {
                break;
            };
            self.recent_bytes -= oldest.bytes();
            self.recent_after = oldest.position();
        }
    }

    /// Records that no event up to `up_to` is in memory.
    fn forget(&mut self, up_to: Position) {
        self.recent.clear();
        self.recent_bytes = 0;
        self.recent_after = self.recent_after.max(up_to);
    }
}

fn remove<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Vec<Arc<Subscriber>>>, key: K, id: u64) {
    if let Some(list) = map.get_mut(&key) {
        list.retain(|subscriber| subscriber.id != id);
        if list.is_empty() {
            map.remove(&key);
        }
    }
}

/// A subscriber's place in the hub; released when dropped.
pub(crate) struct HubSubscription {
    hub: Arc<Hub>,
    subscriber: Arc<Subscriber>,
}

impl HubSubscription {
    /// Attaches the subscriber; see [`Hub::attach`].
    pub(crate) fn attach(&self, seen: Position, rooms: &[ConversationId]) -> bool {
        self.hub.attach(&self.subscriber, seen, rooms)
    }

    /// Returns the position up to which everything was published.
    pub(crate) fn published(&self) -> Position {
        Position(self.hub.published.load(Ordering::SeqCst))
    }

    /// Takes waiting events, up to about `bytes_max`.
    pub(crate) fn take(&self, bytes_max: usize) -> Taken {
        // Read before the queue: events published up to here are in the queue or were taken.
        let published = self.published();
        self.subscriber.take(published, bytes_max)
    }

    /// Waits until there is something to take.
    pub(crate) async fn changed(&self) {
        self.subscriber.changed.notified().await;
    }
}

impl Drop for HubSubscription {
    fn drop(&mut self) {
        let mut subscribers = self.hub.subscribers();
        subscribers.detach(&self.subscriber);
        let (session, id) = (self.subscriber.session, self.subscriber.id);
        remove(&mut subscribers.by_session, session, id);
        self.hub.interested.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
