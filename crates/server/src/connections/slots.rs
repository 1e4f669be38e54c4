//! The places of one port: which connections have one, and which is displaced when none is left.
//!
//! Always true: a connection whose caller is known is displaced only if all places are taken and it
//! has no call. Among the others the oldest connection of the address that has most is displaced
//! first, connections that have sent nothing before those that have; addresses of members keep
//! places of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use super::{
    address::Address,
    limits::Capacity,
    meter::{Connection, Cut, PortBytes, Stage},
};

/// Number of the oldest connections of an address that are considered for displacement.
const LOOKED_AT: usize = 64;

/// Connection slots of a port; see the head of this file.
pub(crate) struct ConnectionSlots {
    capacity: Capacity,
    /// Maximum number of bytes that may wait for all connections together.
    held_max: u64,
    inner: Mutex<Inner>,
    freed: Notify,
    bytes: Arc<PortBytes>,
    /// Numbers of connections, as they were when the lock was last released: for counting.
    open: AtomicU64,
    unauthenticated: AtomicU64,
    taken: AtomicU64,
    cuts: [AtomicU64; Cut::ALL.len()],
}

#[derive(Default)]
struct Inner {
    number_last: u64,
    /// All open connections, including those that are about to close.
    open: BTreeMap<u64, Arc<Connection>>,
    /// Connections whose caller is not known and that are not about to close.
    unauthenticated: BTreeMap<Address, BTreeSet<u64>>,
    unauthenticated_count: usize,
    members: BTreeSet<Address>,
}

/// Counters of a port for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) open: u64,
    pub(crate) open_max: u64,
    pub(crate) unauthenticated: u64,
    pub(crate) unauthenticated_max: u64,
    pub(crate) taken: u64,
    pub(crate) held_bytes: u64,
    pub(crate) held_bytes_max: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    /// Number of connections that this node closed, for each reason.
    pub(crate) cut: Vec<(&'static str, u64)>,
}

/// A connection slot; released when dropped.
pub(crate) struct ConnectionSlot {
    places: Arc<ConnectionSlots>,
    pub(crate) connection: Arc<Connection>,
}

/// Result of looking for a place for a newcomer.
enum Found {
    Slot(Arc<Connection>),
    /// A place is free after a connection has closed.
    Soon,
    /// All places are taken by callers with calls under way.
    None,
}

impl ConnectionSlots {
    pub(crate) fn new(capacity: Capacity, held_max: u64) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            held_max,
            inner: Mutex::default(),
            freed: Notify::new(),
            bytes: Arc::default(),
            open: AtomicU64::new(0),
            unauthenticated: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            cuts: Default::default(),
        })
    }

    /// Sets the addresses of members, for which places are kept.
    pub(crate) fn keep_for(&self, members: impl IntoIterator<Item = IpAddr>) {
        self.lock().members = members.into_iter().map(Address::of).collect();
    }

    /// Waits for a place, if there can be one; returns `None` if the newcomer is refused.
    pub(crate) async fn take(self: &Arc<Self>, from: SocketAddr) -> Option<ConnectionSlot> {
        loop {
            let freed = self.freed.notified();
            match self.find(from) {
                Found::Slot(connection) => {
                    self.taken.fetch_add(1, Ordering::Relaxed);
                    return Some(ConnectionSlot {
                        places: self.clone(),
                        connection,
                    });
                }
                Found::Soon => freed.await,
                Found::None => {
                    self.count(Cut::Full);
                    return None;
                }
            }
        }
    }

    fn find(&self, from: SocketAddr) -> Found {
        let mut inner = self.lock();
        let found = self.find_in(&mut inner, from);
        self.note(&inner);
        found
    }

    fn find_in(&self, inner: &mut Inner, from: SocketAddr) -> Found {
        let address = Address::of(from.ip());
        let most = match inner.members.contains(&address) {
            true => self.capacity.unauthenticated,
            false => self.capacity.unauthenticated - self.capacity.kept,
        };
        let competing = match inner.members.contains(&address) {
            true => inner.unauthenticated_count,
            // Connections of members count for themselves.
            false => inner.unauthenticated_of_others(),
        };
        if competing >= most && !inner.displace_unauthenticated(address) {
            // All candidates wait for their turn to begin a handshake, which comes at a limited
            // rate.
            return Found::Soon;
        }
        if inner.open.len() >= self.capacity.all {
            let leaving = inner.open.len() - inner.staying();
            let displaced =
                leaving > 0 || inner.displace_unauthenticated(address) || inner.displace_idle();
            return match displaced {
                true => Found::Soon,
                false => Found::None,
            };
        }
        inner.number_last += 1;
        let number = inner.number_last;
        let connection = Arc::new(Connection::new(number, from, self.bytes.clone()));
        inner.open.insert(number, connection.clone());
        inner
            .unauthenticated
            .entry(address)
            .or_default()
            .insert(number);
        inner.unauthenticated_count += 1;
        Found::Slot(connection)
    }

    /// Records that the caller of a connection is known now.
    pub(crate) fn know(&self, connection: &Connection) {
        if connection.know() {
            let mut inner = self.lock();
            inner.forget_unauthenticated(connection);
            self.note(&inner);
            drop(inner);
            // A newcomer that waits for a place of an unknown caller can have this one.
            self.freed.notify_one();
        }
    }

    /// Cuts the connection that holds most, if all together hold more than they may.
    pub(crate) fn relieve(&self) {
        let max = i64::try_from(self.held_max).unwrap_or(i64::MAX);
        if self.bytes.held.load(Ordering::Relaxed) <= max {
            return;
        }
        let inner = self.lock();
        let worst = inner.open.values().max_by_key(|open| match open.is_cut() {
            true => 0,
            false => open.held(),
        });
        if let Some(worst) = worst {
            worst.cut(Cut::Memory);
        }
    }

    /// Counts a connection that this node closed.
    pub(crate) fn count(&self, why: Cut) {
        self.cuts[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let (received_bytes, sent_bytes) = self.bytes.moved();
        Counts {
            open: self.open.load(Ordering::Relaxed),
            open_max: count(self.capacity.all),
            unauthenticated: self.unauthenticated.load(Ordering::Relaxed),
            unauthenticated_max: count(self.capacity.unauthenticated),
            taken: self.taken.load(Ordering::Relaxed),
            held_bytes: u64::try_from(self.bytes.held.load(Ordering::Relaxed)).unwrap_or(0),
            held_bytes_max: self.held_max,
            received_bytes,
            sent_bytes,
            cut: Cut::ALL
                .iter()
                .map(|why| (why.name(), self.cuts[*why as usize].load(Ordering::Relaxed)))
                .collect(),
        }
    }

    /// Notes the numbers of connections, so that counting them takes no lock.
    fn note(&self, inner: &Inner) {
        let (open, unauthenticated) = (inner.open.len(), inner.unauthenticated_count);
        self.open.store(count(open), Ordering::Relaxed);
        self.unauthenticated
            .store(count(unauthenticated), Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Returns the number of connections that are not about to close.
    fn staying(&self) -> usize {
        let known = self.open.values().filter(|open| open.is_known());
        self.unauthenticated_count + known.filter(|open| !open.is_cut()).count()
    }

    fn unauthenticated_of_others(&self) -> usize {
        let of_members = self
            .members
            .iter()
            .filter_map(|at| self.unauthenticated.get(at));
        self.unauthenticated_count - of_members.map(BTreeSet::len).sum::<usize>()
    }

    fn forget_unauthenticated(&mut self, connection: &Connection) {
        if let Some(of) = self.unauthenticated.get_mut(&connection.address)
            && of.remove(&connection.number)
        {
            self.unauthenticated_count -= 1;
            if of.is_empty() {
                self.unauthenticated.remove(&connection.address);
            }
        }
    }

    /// Cuts a connection of an unknown caller to make room for a newcomer; returns whether there
    /// was one.
    fn displace_unauthenticated(&mut self, newcomer: Address) -> bool {
        let for_member = self.members.contains(&newcomer);
        let candidates = self.unauthenticated.iter().filter(|(address, _)| {
            // Only a member displaces members.
            for_member || !self.members.contains(address)
        });
        let mut by_size: Vec<_> = candidates.map(|(at, of)| (of.len(), *at)).collect();
        by_size.sort_unstable_by(|one, other| other.cmp(one));
        for (_, address) in by_size {
            let oldest = self.unauthenticated[&address].iter().take(LOOKED_AT);
            let oldest = oldest.filter_map(|number| self.open.get(number));
            let first = oldest.min_by_key(|open| open.stage());
            let can_go = first.filter(|open| open.stage() != Stage::Waiting).cloned();
            if let Some(goes) = can_go {
                self.forget_unauthenticated(&goes);
                goes.cut(Cut::Displaced);
                return true;
            }
        }
        false
    }

    /// Cuts the oldest connection without a call of the address that has most of those.
    fn displace_idle(&mut self) -> bool {
        let mut idle: BTreeMap<Address, (usize, &Arc<Connection>)> = BTreeMap::new();
        for open in self.open.values() {
            if open.stage() != Stage::Calling && !open.is_cut() {
                idle.entry(open.address).or_insert((0, open)).0 += 1;
            }
        }
        let most = idle.into_values().max_by_key(|(count, _)| *count);
        let goes = most.map(|(_, open)| open.clone());
        goes.inspect(|open| open.cut(Cut::Displaced)).is_some()
    }
}

impl ConnectionSlot {
    /// Returns whether places are kept for the address of the connection.
    pub(crate) fn is_of_member(&self) -> bool {
        self.places
            .lock()
            .members
            .contains(&self.connection.address)
    }

    pub(crate) fn places(&self) -> &Arc<ConnectionSlots> {
        &self.places
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut inner = self.places.lock();
        inner.forget_unauthenticated(&self.connection);
        inner.open.remove(&self.connection.number);
        self.places.note(&inner);
        drop(inner);
        self.places.freed.notify_one();
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(all: usize, unauthenticated: usize, kept: usize) -> Arc<ConnectionSlots> {
        let capacity = Capacity {
            all,
            unauthenticated,
            kept,
        };
        ConnectionSlots::new(capacity, 200)
    }

    fn from(host: u8) -> SocketAddr {
        ([10, 0, 0, host], 1).into()
    }

    async fn take(places: &Arc<ConnectionSlots>, host: u8) -> ConnectionSlot {
        places.take(from(host)).await.expect("there is a place")
    }

    #[tokio::test]
    async fn a_flood_displaces_itself_but_no_honest_newcomer() {
        let places = places(100, 8, 0);
        let mut flood = Vec::new();
        for _ in 0..8 {
            flood.push(take(&places, 66).await);
        }
        let honest = take(&places, 1).await;
        assert!(flood[0].connection.is_cut(), "the oldest goes");
        honest.connection.enter(Stage::Idle);
        for _ in 0..50 {
            flood.push(take(&places, 66).await);
        }
        assert!(!honest.connection.is_cut());
        assert_eq!(places.counts().unauthenticated, 8);
    }

    #[tokio::test]
    async fn silent_connections_are_displaced_before_active_connections() {
        let places = places(100, 4, 0);
        let spoke = take(&places, 1).await;
        spoke.connection.enter(Stage::Idle);
        let calls = take(&places, 1).await;
        calls.connection.call_begins();
        let silent = [take(&places, 1).await, take(&places, 1).await];
        let mut more = Vec::new();
        for _ in 0..20 {
            more.push(take(&places, 1).await);
        }
        assert!(silent.iter().all(|silent| silent.connection.is_cut()));
        assert!(!spoke.connection.is_cut() && !calls.connection.is_cut());
    }

    #[tokio::test]
    async fn reserved_connections_of_a_member_are_never_displaced() {
        let places = places(100, 8, 4);
        places.keep_for([from(1).ip()]);
        let member = [take(&places, 1).await, take(&places, 1).await];
        let mut flood = Vec::new();
        for host in 2..100 {
            flood.push(take(&places, host).await);
        }
        assert!(member.iter().all(|member| !member.connection.is_cut()));
        let counts = places.counts();
        assert_eq!(counts.unauthenticated, 4 + 2, "{counts:?}");
    }

    #[tokio::test]
    async fn known_callers_are_displaced_only_when_idle() {
        let places = places(4, 4, 0);
        let mut known = Vec::new();
        for _ in 0..4 {
            let place = take(&places, 1).await;
            places.know(&place.connection);
            place.connection.call_begins();
            known.push(place);
        }
        assert!(places.take(from(2)).await.is_none());
        assert!(known.iter().all(|known| !known.connection.is_cut()));
        known[2].connection.call_ends();
        let newcomer = tokio::spawn({
            let places = places.clone();
            async move { places.take(from(2)).await.is_some() }
        });
        assert_eq!(known[2].connection.is_to_end().await, Cut::Displaced);
        known.remove(2);
        assert!(newcomer.await.unwrap());
    }

    #[tokio::test]
    async fn the_connection_holding_most_is_cut_when_memory_runs_out() {
        let places = places(100, 8, 0);
        let held = [take(&places, 1).await, take(&places, 2).await];
        held[0].connection.hold(10, false);
        held[1].connection.hold(100, true);
        places.relieve();
        assert!(!held[1].connection.is_cut());
        held[0].connection.hold(91, false);
        places.relieve();
        assert!(held[0].connection.is_cut() && !held[1].connection.is_cut());
        assert_eq!(places.counts().held_bytes, 100);
    }
}
