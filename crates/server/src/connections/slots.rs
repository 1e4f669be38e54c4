//! The places of one port: which connections have one; `displacement.rs` says which is displaced.
//!
//! Always true: a connection whose caller is known is displaced only if all places are taken, and
//! it has no call or its account has more than its share of them. Among the others a connection of
//! the address that has most is displaced; addresses of members keep places of their own. A
//! newcomer waits only for a connection that is about to close.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use super::{
    address::Address,
    displacement::OpenConnections,
    limits::Capacity,
    meter::{Connection, Cut, PortBytes},
};

/// Connection slots of a port; see the head of this file.
pub(crate) struct ConnectionSlots {
    capacity: Capacity,
    /// Maximum number of bytes that may wait for all connections together.
    held_max: u64,
    open_connections: Mutex<OpenConnections>,
    freed: Notify,
    bytes: Arc<PortBytes>,
    /// Numbers of connections, as they were when the lock was last released: for counting.
    open: AtomicU64,
    unauthenticated: AtomicU64,
    taken: AtomicU64,
    cuts: [AtomicU64; Cut::ALL.len()],
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
            open_connections: Mutex::default(),
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
        let mut open = self.lock();
        let found = self.find_in(&mut open, from);
        self.note(&open);
        found
    }

    fn find_in(&self, open: &mut OpenConnections, from: SocketAddr) -> Found {
        let address = Address::of(from.ip());
        let (most, competing) = match open.members.contains(&address) {
            true => (self.capacity.unauthenticated, open.unauthenticated()),
            // Connections of members count for themselves.
            false => (
                self.capacity.unauthenticated - self.capacity.kept,
                open.unauthenticated_of_others(),
            ),
        };
        if competing >= most && !open.displace_unauthenticated(address) {
            return Found::None;
        }
        if open.all.len() >= self.capacity.all {
            let displaced = open.leaving() > 0 || open.displace(address, self.capacity.all);
            return match displaced {
                true => Found::Soon,
                false => Found::None,
            };
        }
        Found::Slot(open.open(from, self.bytes.clone()))
    }

    /// Records that the caller of a connection is known now.
    pub(crate) fn know(&self, connection: &Connection) {
        if connection.know() {
            let mut open = self.lock();
            open.forget_unauthenticated(connection);
            self.note(&open);
            drop(open);
            // A newcomer that waits for a place of an unknown caller can have this one.
            self.freed.notify_one();
        }
    }

    /// Cuts connections until all together hold no more than they may; `displacement.rs` says
    /// which.
    pub(crate) fn relieve(&self) {
        let max = i64::try_from(self.held_max).unwrap_or(i64::MAX);
        if self.bytes.held.load(Ordering::Relaxed) <= max {
            return;
        }
        let open = self.lock();
        // Each connection that is cut no longer counts, so this ends.
        while self.bytes.held.load(Ordering::Relaxed) > max
            && let Some(largest) = open.largest(max)
        {
            largest.cut(Cut::Memory);
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
    fn note(&self, open: &OpenConnections) {
        let (open, unauthenticated) = (open.all.len(), open.unauthenticated());
        self.open.store(count(open), Ordering::Relaxed);
        self.unauthenticated
            .store(count(unauthenticated), Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OpenConnections> {
        self.open_connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
        let mut open = self.places.lock();
        open.remove(&self.connection);
        self.places.note(&open);
        drop(open);
        self.places.freed.notify_one();
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
