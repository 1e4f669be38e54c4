//! Progress of the snapshots that are being sent or received.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_wire::v1;
use tokio::time::Instant;

use crate::protocol::problems::millis;

/// Direction of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Sent by this node.
    Out,
    /// Received by this node.
    In,
}

/// A snapshot that is being transferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Direction of the transfer.
    pub direction: Direction,
    /// Number of the other node.
    pub peer: u64,
    /// Number of bytes that are there.
    pub bytes_done: u64,
    /// Length of the snapshot in bytes.
    pub bytes_total: u64,
    /// Number of bytes that were there already when this attempt began.
    pub bytes_before: u64,
    /// Duration of this attempt so far.
    pub elapsed: Duration,
}

/// All transfers of one node. Cheap to clone; all clones share the same state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transfers {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    numbers: AtomicU64,
    /// Transfers that were begun, out and in.
    begun: [AtomicU64; 2],
    under_way: Mutex<BTreeMap<u64, Entry>>,
}

#[derive(Debug)]
struct Entry {
    direction: Direction,
    peer: u64,
    bytes_done: u64,
    bytes_total: u64,
    bytes_before: u64,
    began: Instant,
    moved: Instant,
}

/// One transfer, under way until this is dropped.
#[derive(Debug)]
pub(super) struct Moving {
    transfers: Transfers,
    number: u64,
}

impl Transfers {
    /// Begins a transfer, of which `before` bytes are there already.
    pub(super) fn begin(&self, direction: Direction, peer: u64, total: u64, before: u64) -> Moving {
        let number = self.inner.numbers.fetch_add(1, Ordering::Relaxed);
        self.inner.begun[direction as usize].fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let entry = Entry {
            direction,
            peer,
            bytes_done: before,
            bytes_total: total,
            bytes_before: before,
            began: now,
            moved: now,
        };
        self.with(|under_way| under_way.insert(number, entry));
        Moving {
            transfers: self.clone(),
            number,
        }
    }

    /// Returns how many transfers were begun in a direction since the start.
    pub(crate) fn begun(&self, direction: Direction) -> u64 {
        self.inner.begun[direction as usize].load(Ordering::Relaxed)
    }

    /// Returns all transfers under way, in the order in which they began.
    pub(crate) fn list(&self) -> Vec<Transfer> {
        let transfer = |entry: &Entry| Transfer {
            direction: entry.direction,
            peer: entry.peer,
            bytes_done: entry.bytes_done,
            bytes_total: entry.bytes_total,
            bytes_before: entry.bytes_before,
            elapsed: entry.began.elapsed(),
        };
        self.with(|under_way| under_way.values().map(transfer).collect())
    }

    /// Returns the same as messages.
    pub(crate) fn to_wire(&self) -> Vec<v1::SnapshotTransfer> {
        let transfers = self.list().into_iter();
        let to_wire = |transfer: Transfer| v1::SnapshotTransfer {
            direction: match transfer.direction {
                Direction::Out => v1::TransferDirection::Out.into(),
                Direction::In => v1::TransferDirection::In.into(),
            },
            peer_node_id: transfer.peer,
            bytes_done: transfer.bytes_done,
            bytes_total: transfer.bytes_total,
            bytes_before: transfer.bytes_before,
            elapsed_ms: millis(transfer.elapsed),
        };
        transfers.map(to_wire).collect()
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<u64, Entry>) -> T) -> T {
        // An entry is valid after every statement that changes it.
        let under_way = self.inner.under_way.lock();
        act(&mut under_way.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Moving {
    /// Records how many bytes are there now.
    pub(super) fn reached(&self, bytes: u64) {
        self.transfers.with(|under_way| {
            if let Some(entry) = under_way.get_mut(&self.number) {
                entry.bytes_done = bytes;
                entry.moved = Instant::now();
            }
        });
    }

    /// Returns when the transfer last advanced, and whether all of it is there.
    pub(super) fn last_moved(&self) -> (Instant, bool) {
        self.transfers.with(|under_way| {
            let entry = &under_way[&self.number];
            (entry.moved, entry.bytes_done >= entry.bytes_total)
        })
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.transfers
            .with(|under_way| under_way.remove(&self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_transfer_is_listed_until_it_ends() {
        let transfers = Transfers::default();
        let sending = transfers.begin(Direction::Out, 4, 100, 20);
        let receiving = transfers.begin(Direction::In, 5, 50, 0);
        tokio::time::advance(Duration::from_secs(2)).await;
        sending.reached(60);
        let found = transfers.list();
        assert_eq!(
            found[0],
            Transfer {
                direction: Direction::Out,
                peer: 4,
                bytes_done: 60,
                bytes_total: 100,
                bytes_before: 20,
                elapsed: Duration::from_secs(2),
            }
        );
        assert_eq!(
            (found[1].direction, found[1].bytes_done),
            (Direction::In, 0)
        );
        assert_eq!(sending.last_moved(), (Instant::now(), false));
        sending.reached(100);
        assert!(sending.last_moved().1);
        drop(sending);
        assert_eq!(transfers.to_wire().len(), 1);
        drop(receiving);
        assert_eq!(transfers.list(), []);
    }
}
