//! Marks messages that were shown as read.
//!
//! Always true: a message is marked as read only after it was written to stdout, and taken from
//! there if stdout is a pipe. A read position covers everything before it, so none is moved over an
//! unread message that was not shown: neither by a page nor by a stream that begins in the middle
//! of a conversation. What a cluster did not accept in time is still owed.

use std::collections::{BTreeMap, VecDeque};

use conclave_client::{CallError, Client, Freshness, Page};
use conclave_core::{
    ConversationId, Progress, Recipient, Sequence,
    limits::{PAGE_MAX, POSITIONS_PER_REQUEST_MAX},
};

use crate::{errors::note, names};

/// Messages that were shown, and how far they are marked as read.
pub(crate) struct Marks {
    client: Client,
    /// Whether shown messages are marked at all.
    is_on: bool,
    /// Messages that were written and not taken yet: where each ends in the bytes of stdout, its
    /// conversation and its sequence. At most what a pipe holds, and a page.
    written: VecDeque<(u64, u64, u64)>,
    /// The last sequence of each conversation that was taken and is not marked yet.
    read: BTreeMap<u64, u64>,
    /// State of the messages before those that were shown, for each conversation.
    before: BTreeMap<u64, Before>,
    /// Conversations of which messages were taken, and the server has to say what is before them.
    unsure: BTreeMap<u64, Unsure>,
}

/// State of the unread messages before the first one that was shown.
enum Before {
    /// All of them were shown.
    Shown,
    /// One of them was not shown, so none is marked.
    Unread(Taken),
}

/// The first and the last sequence of a conversation that were shown.
#[derive(Clone, Copy)]
struct Taken {
    first: u64,
    last: u64,
}

/// Messages that may be marked if the server says that none before them is unread.
struct Unsure {
    taken: Taken,
    /// Whether the user knows of unread messages before them.
    is_told: bool,
}

impl Marks {
    pub(crate) fn new(client: Client, is_on: bool) -> Self {
        Self {
            client,
            is_on,
            written: VecDeque::new(),
            read: BTreeMap::new(),
            before: BTreeMap::new(),
            unsure: BTreeMap::new(),
        }
    }

    /// Returns whether shown messages are marked as read.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Returns whether some shown message is not marked yet.
    pub(crate) fn is_owed(&self) -> bool {
        !self.read.is_empty() || !self.written.is_empty() || !self.unsure.is_empty()
    }

    /// Returns the number of messages that were not taken yet.
    pub(crate) fn untaken(&self) -> usize {
        self.written.len()
    }

    /// Records that a page of a conversation begins with `first`, and how many unread messages come
    /// before it.
    pub(crate) fn know(&mut self, conversation: u64, first: u64, unread_before: u64) {
        let known = match unread_before {
            0 => Before::Shown,
            _ => Before::Unread(Taken { first, last: 0 }),
        };
        self.before.insert(conversation, known);
    }

    /// Records a message that was written and ends at this byte of stdout, of which `taken` bytes
    /// were taken.
    pub(crate) fn wrote(&mut self, end: u64, conversation: u64, sequence: u64, taken: u64) {
        if self.is_on {
            self.written.push_back((end, conversation, sequence));
            self.take(taken);
        }
    }

    /// Checks a conversation again of which nothing was marked, after a read position in it has
    /// moved: if the older messages are read by now, the next [`Marks::mark`] marks the newer ones
    /// that were shown, too.
    pub(crate) fn look_again(&mut self, conversation: u64) {
        if !self.is_on {
            return;
        }
        if let Some(Before::Unread(taken)) = self.before.get(&conversation) {
            let unsure = Unsure {
                taken: *taken,
                is_told: true,
            };
            self.before.remove(&conversation);
            self.unsure.insert(conversation, unsure);
        }
    }

    /// Marks what was shown as delivered and read, if it lies within the first `taken` bytes of
    /// stdout. Conversations that the caller has left are left out. After an error, and if the
    /// future is dropped, what was not marked is still owed; only what was refused is not.
    ///
    /// # Errors
    /// If no node serves, the session has ended, or the positions are refused.
    pub(crate) async fn mark(&mut self, taken: u64) -> Result<(), CallError> {
        self.take(taken);
        while let Some((&conversation, unsure)) = self.unsure.first_key_value() {
            let Taken { first, last } = unsure.taken;
            let is_told = unsure.is_told;
            let unread = self.unread_before(conversation, first).await?;
            self.unsure.remove(&conversation);
            self.learn(conversation, Taken { first, last }, unread);
            if (1..u64::MAX).contains(&unread) && !is_told {
                let with = Recipient::Conversation(ConversationId(conversation));
                let what = format!("{unread} older messages are unread, none is marked read: ");
                let count = unread.min(PAGE_MAX as u64);
                tell_more(&with, &what, &format!("--unread {count}"));
            }
        }
        while !self.read.is_empty() {
            let part = self.read.iter().take(POSITIONS_PER_REQUEST_MAX);
            let part: Vec<_> = part.map(progress).collect();
            let marked = self.client.advance_where_member(&part).await;
            if matches!(marked, Ok(()) | Err(CallError::Refused { .. })) {
                for (conversation, _) in part {
                    self.read.remove(&conversation.0);
                }
            }
            marked?;
        }
        Ok(())
    }

    fn learn(&mut self, conversation: u64, taken: Taken, unread_before: u64) {
        self.know(conversation, taken.first, unread_before);
        match self.before.get_mut(&conversation) {
            Some(Before::Unread(unread)) => unread.last = taken.last,
            Some(Before::Shown) | None => self.note_read(conversation, taken.last),
        }
    }

    /// Takes the messages that were taken from stdout.
    fn take(&mut self, taken: u64) {
        while let Some((end, conversation, sequence)) = self.written.front().copied()
            && end <= taken
        {
            self.written.pop_front();
            match self.before.get_mut(&conversation) {
                Some(Before::Shown) => self.note_read(conversation, sequence),
                Some(Before::Unread(unread)) => unread.last = sequence.max(unread.last),
                None => {
                    let unsure = self.unsure.entry(conversation).or_insert(Unsure {
                        taken: Taken {
                            first: sequence,
                            last: sequence,
                        },
                        is_told: false,
                    });
                    unsure.taken.last = sequence.max(unsure.taken.last);
                }
            }
        }
    }

    fn note_read(&mut self, conversation: u64, sequence: u64) {
        if sequence > 0 {
            let last = self.read.entry(conversation).or_default();
            *last = sequence.max(*last);
        }
    }

    /// Counts the unread messages before one that was shown.
    async fn unread_before(&self, conversation: u64, shown: u64) -> Result<u64, CallError> {
        let with = Recipient::Conversation(ConversationId(conversation));
        let from = Page::After(Sequence(shown.saturating_sub(1)));
        let page = self.client.messages(&with, from, 1, Freshness::default());
        match page.await {
            Ok(page) => Ok(page.unread_before),
            // A conversation that the caller has left has no read position to move.
            Err(CallError::Refused { .. }) => Ok(u64::MAX),
            Err(error) => Err(error),
        }
    }
}

/// Notes how to see messages that are not shown.
pub(crate) fn tell_more(with: &Recipient, what: &str, how: &str) {
    note(&format!(
        "{what}conclave read --with {} {how}",
        names::shown(with)
    ));
}

fn progress((conversation, sequence): (&u64, &u64)) -> (ConversationId, Progress) {
    let progress = Progress {
        delivered: Sequence(*sequence),
        read: Sequence(*sequence),
    };
    (ConversationId(*conversation), progress)
}

#[cfg(test)]
#[path = "marks_tests.rs"]
mod tests;
