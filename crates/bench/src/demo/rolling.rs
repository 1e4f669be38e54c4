//! Checks while messages are sent that what was acknowledged is there, once: what the panel shows.
//!
//! The verdict at the end reads every node completely and does not rely on this.
//!
//! Always true: memory is bounded. What is older than the last thousands of messages of a
//! conversation is no longer compared.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

/// Number of messages of a conversation that are remembered: far more than are sent while an
/// answer takes as long as it may.
const REMEMBERED: usize = 8192;

/// What was found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Found {
    /// Acknowledged messages that were read where they were acknowledged.
    pub(super) verified: u64,
    /// Acknowledged messages that are not there.
    pub(super) lost: u64,
    /// Messages that were read in two places.
    pub(super) twice: u64,
}

/// All conversations of a demonstration.
#[derive(Debug, Default)]
pub(super) struct Rolling {
    conversations: Mutex<HashMap<String, Conversation>>,
}

#[derive(Debug, Default)]
struct Conversation {
    found: Found,
    /// Everything up to this sequence was read.
    read_to: u64,
    /// Acknowledged messages that were not read yet.
    expected: BTreeMap<u64, String>,
    /// Messages that were read before their acknowledgement.
    early: BTreeMap<u64, String>,
    seen: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Rolling {
    /// Takes an acknowledgement.
    pub(super) fn acked(&self, conversation: &str, sequence: u64, text: &str) {
        let mut conversations = self.conversations();
        let conversation = conversations.entry(conversation.to_owned()).or_default();
        conversation.acked(sequence, text);
    }

    /// Takes a message that was read.
    pub(super) fn read(&self, conversation: &str, sequence: u64, text: &str) {
        let mut conversations = self.conversations();
        let conversation = conversations.entry(conversation.to_owned()).or_default();
        conversation.read(sequence, text);
    }

    /// Returns what was found in all conversations.
    pub(super) fn found(&self) -> Found {
        let conversations = self.conversations();
        let all = conversations
            .values()
            .map(|conversation| conversation.found);
        all.fold(Found::default(), |sum, one| Found {
            verified: sum.verified + one.verified,
            lost: sum.lost + one.lost,
            twice: sum.twice + one.twice,
        })
    }

    fn conversations(&self) -> MutexGuard<'_, HashMap<String, Conversation>> {
        // The value is sound after every statement that changes it.
        self.conversations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Conversation {
    fn acked(&mut self, sequence: u64, text: &str) {
        if sequence > self.read_to {
            self.expected.insert(sequence, text.to_owned());
            return;
        }
        match self.early.remove(&sequence) {
            Some(early) if early == text => self.found.verified += 1,
            Some(_) => self.found.lost += 1,
            // A second answer, or one that is too old to be compared.
            None => {}
        }
    }

    fn read(&mut self, sequence: u64, text: &str) {
        if sequence <= self.read_to {
            return;
        }
        self.read_to = sequence;
        // What should have stood before this one will not come any more.
        let later = self.expected.split_off(&sequence);
        self.found.lost += self.expected.len() as u64;
        self.expected = later;
        if !self.seen.insert(text.to_owned()) {
            self.found.twice += 1;
        } else {
            self.order.push_back(text.to_owned());
        }
        match self.expected.remove(&sequence) {
            Some(expected) if expected == text => self.found.verified += 1,
            Some(_) => self.found.lost += 1,
            None => {
                self.early.insert(sequence, text.to_owned());
            }
        }
        if self.early.len() > REMEMBERED {
            self.early.pop_first();
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(verified: u64, lost: u64, twice: u64) -> Found {
        Found {
            verified,
            lost,
            twice,
        }
    }

    #[test]
    fn what_was_acknowledged_and_read_is_verified_in_either_order() {
        let rolling = Rolling::default();
        rolling.acked("a", 1, "one");
        rolling.read("a", 1, "one");
        rolling.read("a", 2, "two");
        rolling.acked("a", 2, "two");
        // Its answer never came: it is no loss, and no proof.
        rolling.read("a", 3, "three");
        rolling.acked("b", 1, "one");
        assert_eq!(rolling.found(), found(2, 0, 0));
        // An answer that comes twice counts once.
        rolling.acked("a", 2, "two");
        assert_eq!(rolling.found(), found(2, 0, 0));
    }

    #[test]
    fn a_lost_message_and_one_that_stands_twice_are_found() {
        let rolling = Rolling::default();
        rolling.acked("a", 1, "one");
        rolling.acked("a", 2, "two");
        rolling.read("a", 1, "another");
        rolling.read("a", 3, "three");
        assert_eq!(rolling.found(), found(0, 2, 0));
        rolling.read("a", 4, "three");
        assert_eq!(rolling.found(), found(0, 2, 1));
        rolling.acked("a", 4, "four");
        assert_eq!(rolling.found(), found(0, 3, 1));
    }

    #[test]
    fn memory_does_not_grow_with_the_conversation() {
        let mut conversation = Conversation::default();
        for sequence in 1..3 * REMEMBERED as u64 {
            conversation.read(sequence, &sequence.to_string());
        }
        assert!(conversation.early.len() <= REMEMBERED);
        assert!(conversation.seen.len() <= REMEMBERED);
        assert_eq!(conversation.order.len(), conversation.seen.len());
    }
}
