//! How far every full member has come, as a witness is told.
//!
//! An entry counts as stored when a majority of the voters has it in the log. If the full nodes
//! among these fail, only witnesses have it, and they have no state by which they could pass it on:
//! they need the entry itself.
//!
//! Always true: what a witness that votes lacks in its log, every full member has applied. A
//! witness that was told nothing yet keeps everything that it has.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The last entry that every full member has applied; all clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct FullMembers(Option<Arc<AtomicU64>>);

impl FullMembers {
    /// Begins with nothing for a witness; a full node is bound by no other one.
    pub(crate) fn new(is_witness: bool) -> Self {
        Self(is_witness.then(Arc::default))
    }

    /// Returns the index of the last entry that every full member has applied; `u64::MAX` on a full
    /// node.
    pub(crate) fn have_all(&self) -> u64 {
        let told = self.0.as_ref();
        told.map_or(u64::MAX, |index| index.load(Ordering::Acquire))
    }

    /// Notes it. It may fall, when a member is added.
    pub(crate) fn set(&self, index: u64) {
        if let Some(told) = &self.0 {
            told.store(index, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_that_was_told_nothing_keeps_everything() {
        let witness = FullMembers::new(true);
        assert_eq!(witness.have_all(), 0);
        witness.clone().set(7);
        assert_eq!(witness.have_all(), 7);
        witness.set(3);
        assert_eq!(witness.have_all(), 3);
        let full = FullMembers::new(false);
        full.set(7);
        assert_eq!(full.have_all(), u64::MAX);
    }
}
