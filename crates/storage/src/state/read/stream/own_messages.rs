//! Merges the messages of several conversations into the order of the log.
//!
//! It reads the index of each conversation alone, so other conversations cost nothing. Always true:
//! of each conversation the next message is known, and the first of all is at the head.

use std::{cmp::Reverse, collections::BinaryHeap};

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Result, Row};

use crate::state::column::{number, stored};

/// The first message of conversation `?1` from sequence `?2` on.
const FROM: &str = "
SELECT sequence, position FROM messages
WHERE conversation = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT 1";

/// The last message of conversation `?1`.
const LAST: &str = "
SELECT sequence, position FROM messages
WHERE conversation = ?1 ORDER BY sequence DESC LIMIT 1";

/// The messages of some conversations, each from a position on.
pub(super) struct OwnMessages<'c> {
    from: CachedStatement<'c>,
    last: CachedStatement<'c>,
    /// Position, conversation and sequence of the next message of each conversation.
    next: BinaryHeap<Reverse<(u64, u64, u64)>>,
}

impl<'c> OwnMessages<'c> {
    pub(super) fn new(connection: &'c Connection) -> Result<Self> {
        Ok(Self {
            from: connection.prepare_cached(FROM)?,
            last: connection.prepare_cached(LAST)?,
            next: BinaryHeap::new(),
        })
    }

    /// Adds the messages of a conversation after a position.
    pub(super) fn add(&mut self, conversation: u64, after: u64) -> Result<()> {
        let last = self.last.query_row([stored(conversation)], name);
        if let Some((sequence, position)) = last.optional()?
            && position > after
        {
            let first = self.first_after(conversation, after, (sequence, position))?;
            self.next.push(Reverse((first.1, conversation, first.0)));
        }
        Ok(())
    }

    /// Returns the position of the next message.
    pub(super) fn head(&self) -> Option<u64> {
        self.next.peek().map(|Reverse((position, ..))| *position)
    }

    /// Goes on to the message after the head.
    pub(super) fn advance(&mut self) -> Result<()> {
        let Some(Reverse((_, conversation, sequence))) = self.next.pop() else {
            return Ok(());
        };
        if let Some((sequence, position)) = self.at_or_after(conversation, sequence + 1)? {
            self.next.push(Reverse((position, conversation, sequence)));
        }
        Ok(())
    }

    /// Finds the first message after a position, given a later one: by steps back that double, then
    /// by halves, because most of what is new is near the end.
    fn first_after(
        &mut self,
        conversation: u64,
        after: u64,
        mut found: (u64, u64),
    ) -> Result<(u64, u64)> {
        // What is before `low` is too early, and nothing between `high` and `found` is.
        let (mut low, mut high, mut step) = (1, found.0, 1_u64);
        while low < high {
            let half = low + (high - low) / 2;
            let probe = half.max(high.saturating_sub(step));
            step = step.saturating_mul(2);
            match self.at_or_after(conversation, probe)? {
                Some(row) if row.1 > after => (high, found) = (probe, row),
                _ => low = probe + 1,
            }
        }
        Ok(found)
    }

    fn at_or_after(&mut self, conversation: u64, sequence: u64) -> Result<Option<(u64, u64)>> {
        let key = [conversation, sequence].map(stored);
        self.from.query_row(key, name).optional()
    }
}

/// Returns the sequence and the position of a message.
fn name(row: &Row<'_>) -> Result<(u64, u64)> {
    Ok((number(row, 0)?, number(row, 1)?))
}
