//! Digests of a node's state at fixed places of the log, by which nodes are compared
//! (`digests.rs`), as they are remembered and sent.
//!
//! Always true: only the newest digests are remembered, and a malformed digest from a peer is left
//! out.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use conclave_storage::state::RANGES_MAX;
use conclave_wire::peer;

/// Maximum number of digests of rows in memory: those of four steps of a check, more than are made
/// while a node is asked.
const KEPT_MAX: usize = 4 * RANGES_MAX;

/// Digests of a node's state, by the entry after which they were made and by kind.
pub(crate) type Points = BTreeMap<(u64, Kind), [u8; 32]>;

/// Content of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// All answers and events.
    Chain,
    /// The rows of the range with this number.
    Rows(u64),
}

/// Digests that this node has made.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    rows: Mutex<BTreeMap<(u64, u64), [u8; 32]>>,
    /// An entry after which there is no majority; 0 if none.
    differs_at: AtomicU64,
}

impl Digests {
    /// Records the digest of a range of rows after an entry.
    pub(crate) fn note(&self, index: u64, range: u64, digest: [u8; 32]) {
        let mut rows = self.lock();
        rows.insert((index, range), digest);
        while rows.len() > KEPT_MAX {
            rows.pop_first();
        }
    }

    /// Returns an entry after which the voters differ and none has a majority; 0 if none.
    pub(crate) fn differs_at(&self) -> u64 {
        self.differs_at.load(Ordering::Relaxed)
    }

    /// Records the entry after which there is no majority, 0 if none; returns the previous value.
    pub(crate) fn set_differs_at(&self, log_index: u64) -> u64 {
        self.differs_at.swap(log_index, Ordering::Relaxed)
    }

    /// Returns the digests of ranges of rows.
    pub(crate) fn rows(&self) -> Points {
        let rows = self.lock();
        let rows = rows.iter();
        rows.map(|((index, range), digest)| ((*index, Kind::Rows(*range)), *digest))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u64, u64), [u8; 32]>> {
        // Valid after every statement that changes it.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the message for a peer.
pub(crate) fn points_out(points: Points) -> peer::GetDigestsResponse {
    let mut told = peer::GetDigestsResponse::default();
    for ((log_index, kind), digest) in points {
        let mut point = peer::PointDigest {
            log_index,
            digest: digest.to_vec().into(),
            range_id: 0,
        };
        match kind {
            Kind::Chain => told.chain.push(point),
            Kind::Rows(range) => {
                point.range_id = range;
                told.rows.push(point);
            }
        }
    }
    told
}

/// Parses a peer's message; leaves out what is malformed.
pub(crate) fn points_in(told: peer::GetDigestsResponse) -> Points {
    let of = |points: Vec<peer::PointDigest>, kind: fn(u64) -> Kind| {
        points.into_iter().filter_map(move |point| {
            let digest = point.digest[..].try_into().ok()?;
            Some(((point.log_index, kind(point.range_id)), digest))
        })
    };
    of(told.chain, |_| Kind::Chain)
        .chain(of(told.rows, Kind::Rows))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_points_round_trip_and_malformed_points_are_dropped() {
        let chain = [(64, 1), (128, 2)].map(|(at, byte)| ((at, Kind::Chain), [byte; 32]));
        let mut told = Points::from(chain);
        told.insert((64, Kind::Rows(1)), [5; 32]);
        told.insert((64, Kind::Rows(2)), [6; 32]);
        assert_eq!(points_in(points_out(told.clone())), told);
        let mut malformed = points_out(told);
        malformed.rows[0].digest = vec![1, 2].into();
        assert_eq!(points_in(malformed).len(), 3);
    }

    #[test]
    fn only_the_newest_digests_are_kept() {
        let digests = Digests::default();
        for index in 1..=2 * KEPT_MAX as u64 {
            digests.note(index, 9, [0; 32]);
        }
        let rows = digests.lock();
        assert_eq!(rows.len(), KEPT_MAX);
        assert_eq!(rows.keys().next(), Some(&(KEPT_MAX as u64 + 1, 9)));
    }
}
