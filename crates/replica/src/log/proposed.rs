//! The batches of the entries that this node has proposed last, so that it need not decode them to
//! apply them: the log keeps bytes. With a batch goes where its steps are noted.
//!
//! Always true: a batch is given back for the entry, by its whole log id, with which it was noted.
//! At most [`BATCHES_MAX`] are kept; an entry whose batch is gone is decoded.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use conclave_core::Batch;
use openraft::EntryPayload;

use crate::{
    convert::{Entry, LogId},
    trace::EntryTrace,
};

/// Batches that are kept: more than the proposer has under way.
const BATCHES_MAX: usize = 16;

/// Batches in the order of their entries; all clones know the same.
#[derive(Clone, Default)]
pub(crate) struct Proposed(Arc<Mutex<Batches>>);

type Batches = VecDeque<Noted>;

struct Noted {
    id: LogId,
    batch: Arc<Batch>,
    trace: Option<Arc<EntryTrace>>,
}

impl Proposed {
    /// Keeps the batch of an entry, if the entry has one; returns whether it has.
    pub(crate) fn note(&self, entry: &Entry) -> bool {
        let EntryPayload::Normal(commands) = &entry.payload else {
            return false;
        };
        let Some(batch) = &commands.batch else {
            return false;
        };
        let mut kept = self.lock();
        if kept.len() == BATCHES_MAX {
            kept.pop_front();
        }
        kept.push_back(Noted {
            id: entry.log_id,
            batch: batch.clone(),
            trace: commands.trace.clone(),
        });
        true
    }

    /// Gives their batches back to entries that were read, and keeps none up to the last of these.
    pub(crate) fn restore(&self, entries: &mut [Entry]) {
        let mut kept = self.lock();
        for entry in entries {
            while kept.front().is_some_and(|noted| noted.id < entry.log_id) {
                kept.pop_front();
            }
            let EntryPayload::Normal(commands) = &mut entry.payload else {
                continue;
            };
            if let Some(noted) = kept.pop_front_if(|noted| noted.id == entry.log_id) {
                commands.batch = Some(noted.batch);
                commands.trace = noted.trace;
            }
        }
    }

    /// Locks the batches. A panic elsewhere leaves at most one batch fewer.
    fn lock(&self) -> MutexGuard<'_, Batches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use conclave_core::Timestamp;
    use conclave_storage::log;

    use super::*;
    use crate::{
        convert::{Commands, log_id_in},
        log::suite_tests::TextCodec,
    };

    fn entry(term: u64, index: u64) -> Entry {
        let batch = Batch {
            proposed_at: Timestamp(index),
            date: Timestamp(term),
            commands: Vec::new(),
        };
        Entry {
            log_id: log_id_in(log::LogId {
                term,
                node: 1,
                index,
            }),
            payload: EntryPayload::Normal(Commands::of(batch, &TextCodec)),
        }
    }

    /// Returns the entry as the log has it, and whether a batch came back with it.
    fn restored(proposed: &Proposed, entry: &Entry) -> bool {
        let EntryPayload::Normal(commands) = &entry.payload else {
            unreachable!()
        };
        let mut read = [Entry {
            log_id: entry.log_id,
            payload: EntryPayload::Normal(commands.bytes.clone().into()),
        }];
        proposed.restore(&mut read);
        let [read] = read;
        let EntryPayload::Normal(found) = read.payload else {
            unreachable!()
        };
        assert!(found.batch.is_none() || found.batch == commands.batch);
        found.batch.is_some()
    }

    #[test]
    fn a_batch_returns_only_to_its_own_entry() {
        let proposed = Proposed::default();
        for index in 1..=3 {
            proposed.note(&entry(1, index));
        }
        assert!(restored(&proposed, &entry(1, 1)));
        assert!(!restored(&proposed, &entry(1, 1)), "it is given once");
        // The place of the second was taken by an entry of another leader.
        assert!(!restored(&proposed, &entry(2, 2)));
        proposed.note(&entry(3, 3));
        assert!(restored(&proposed, &entry(3, 3)));
    }

    #[test]
    fn the_batches_that_are_kept_are_bounded() {
        let proposed = Proposed::default();
        for index in 1..=100 {
            proposed.note(&entry(1, index));
        }
        assert_eq!(proposed.lock().len(), BATCHES_MAX);
        assert!(!restored(&proposed, &entry(1, 10)));
        assert!(restored(&proposed, &entry(1, 100)));
        assert_eq!(proposed.lock().len(), 0);
    }
}
