//! What the state of a node was at fixed places of the log: the digests by which nodes are compared
//! (`digests.rs`), as they are remembered and sent.
//!
//! Always true: only the newest digests are remembered, and what a peer has sent that is malformed
//! is left out.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use conclave_wire::peer;

/// Digests of all rows that are remembered: more than are made while a node is asked.
const KEPT_MAX: usize = 16;

/// What a node's state was: by what was compared, and after which entry.
pub(crate) type Points = BTreeMap<(Kind, u64), [u8; 32]>;

/// What was made a digest of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// All answers and events.
    Chain,
    /// All rows.
    Rows,
}

/// What this node has made.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    rows: Mutex<BTreeMap<u64, [u8; 32]>>,
    /// An entry after which there is no majority; 0 if none.
    differs_at: AtomicU64,
}

impl Digests {
    /// Remembers what all rows were after an entry.
    pub(crate) fn note(&self, index: u64, digest: [u8; 32]) {
        let mut rows = self.lock();
        rows.insert(index, digest);
        while rows.len() > KEPT_MAX {
            rows.pop_first();
        }
    }

    /// An entry after which the voters differ and none has a majority; 0 if none.
    pub(crate) fn differs_at(&self) -> u64 {
        self.differs_at.load(Ordering::Relaxed)
    }

    /// Notes after which entry there is no majority, 0 if none; gives what was noted before.
    pub(crate) fn set_differs_at(&self, log_index: u64) -> u64 {
        self.differs_at.swap(log_index, Ordering::Relaxed)
    }

    /// What all rows were, by entries.
    pub(crate) fn rows(&self) -> BTreeMap<u64, [u8; 32]> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, [u8; 32]>> {
        // It is sound after every statement that changes it.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a peer is told.
pub(crate) fn points_out(points: Points) -> peer::GetDigestsResponse {
    let mut told = peer::GetDigestsResponse::default();
    for ((kind, log_index), digest) in points {
        let point = peer::PointDigest {
            log_index,
            digest: digest.to_vec().into(),
        };
        match kind {
            Kind::Chain => told.chain.push(point),
            Kind::Rows => told.rows.push(point),
        }
    }
    told
}

/// What a peer has told; what is malformed is left out.
pub(crate) fn points_in(told: peer::GetDigestsResponse) -> Points {
    let of = |kind, points: Vec<peer::PointDigest>| {
        points.into_iter().filter_map(move |point| {
            let digest = point.digest[..].try_into().ok()?;
            Some(((kind, point.log_index), digest))
        })
    };
    of(Kind::Chain, told.chain)
        .chain(of(Kind::Rows, told.rows))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_tells_is_what_it_has() {
        let chain = [(64, 1), (128, 2)].map(|(at, byte)| ((Kind::Chain, at), [byte; 32]));
        let mut told = Points::from(chain);
        told.insert((Kind::Rows, 64), [5; 32]);
        assert_eq!(points_in(points_out(told.clone())), told);
        let mut malformed = points_out(told);
        malformed.rows[0].digest = vec![1, 2].into();
        assert_eq!(points_in(malformed).len(), 2);
    }

    #[test]
    fn only_the_newest_digests_are_kept() {
        let digests = Digests::default();
        for index in 1..=2 * KEPT_MAX as u64 {
            digests.note(index, [0; 32]);
        }
        let rows = digests.lock();
        assert_eq!(rows.len(), KEPT_MAX);
        assert_eq!(rows.keys().next(), Some(&(KEPT_MAX as u64 + 1)));
    }
}
