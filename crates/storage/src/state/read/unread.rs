//! What an account has not read, over all its conversations, in the order of the log.
//!
//! A conversation is looked at when its turn may have come, and its next message is looked for
//! when the one before it was taken: the cost follows what is given, not what is there. Runs of
//! the account's own messages are jumped over by their ordinals, however long they are; deleted
//! and hidden ones are passed over one by one, so there is a bound for them.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use conclave_core::{
    AccountId, ConversationId, Position, Sequence,
    limits::{PAGE_BYTES_MAX, PAGE_MAX},
};
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use super::{
    messages::{add_mentions_and_reactions, at_position, cut},
    reader::page,
};
use crate::state::{
    MessageRow, ReadError, Reader,
    column::{bound, count, number, sought},
};

/// Deleted and hidden messages of one conversation that are passed over. What follows more of them
/// is given when the account has advanced its position.
const PASSED_MAX: usize = 4 * PAGE_MAX;

/// Messages that are looked at together, at first and at most.
const STEP_MIN: usize = 8;
/// See above.
const STEP_MAX: usize = 64;

/// Conversations of account `?1` with messages behind its position, and where the first of those
/// is, from whichever sender. A message to oneself is read.
const BEHIND: &str = "
SELECT own.conversation, max(own.read, c.forgotten), m.position
FROM members own JOIN conversations c ON c.id = own.conversation
JOIN messages m INDEXED BY messages_sequence
    ON m.conversation = own.conversation AND m.sequence = max(own.read, c.forgotten) + 1
WHERE own.account = ?1 AND (c.direct_low IS NULL OR c.direct_low <> c.direct_high)";

/// Messages in conversation `?2` after `?3`, and whether they are the account's own; `?4` rows.
const NEXT: &str = "
SELECT m.sequence, m.position, m.by_account = ?1, m.ordinal,
    m.text IS NULL OR EXISTS (SELECT 1 FROM hidden h WHERE h.account = ?1
        AND h.conversation = m.conversation AND h.sequence = m.sequence)
FROM messages m INDEXED BY messages_sequence
WHERE m.conversation = ?2 AND m.sequence > ?3 ORDER BY m.sequence LIMIT ?4";

/// Whether message `?2` of conversation `?1` is the one with ordinal `?4` of account `?3`.
const IS_OWN: &str = "
SELECT by_account = ?3 AND ordinal = ?4 FROM messages WHERE conversation = ?1 AND sequence = ?2";

impl Reader {
    /// Returns the first `limit` messages, by position, that an account has not read: of others,
    /// neither deleted nor hidden; fewer if they are long (see [`PAGE_BYTES_MAX`]).
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn unread(
        &self,
        account: AccountId,
        limit: usize,
    ) -> std::result::Result<Vec<MessageRow>, ReadError> {
        self.read(|c| unread(c, account, page(limit)))
    }

    /// Returns the last message of a conversation that an account has read; `None`: it is not in
    /// it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_to(
        &self,
        account: AccountId,
        conversation: ConversationId,
    ) -> std::result::Result<Option<Sequence>, ReadError> {
        let sql = "SELECT read FROM members WHERE conversation = ?1 AND account = ?2";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            let key = [conversation.0, account.0].map(sought);
            let found = statement.query_row(key, |row| number(row, 0));
            Ok(found.optional()?.map(Sequence))
        })
    }
}

fn unread(connection: &Connection, account: AccountId, limit: usize) -> Result<Vec<MessageRow>> {
    let mut places = behind(connection, account)?;
    let first = |(at, place): (usize, &ConversationCursor)| Reverse((place.first, at));
    let mut next: BinaryHeap<_> = places.iter().enumerate().map(first).collect();
    let mut found = Vec::new();
    let mut bytes = 0;
    while let Some(Reverse((position, at))) = next.pop() {
        let place = &mut places[at];
        // At first it is only known that nothing unread comes before this position.
        if place.is_looked_at {
            let row = at_position(connection, account, Position(position))?;
            bytes += row.as_ref().map_or(0, MessageRow::bytes);
            found.extend(row);
            if found.len() == limit || bytes >= PAGE_BYTES_MAX {
                break;
            }
        }
        if let Some(position) = place.take(connection, account)? {
            next.push(Reverse((position, at)));
        }
    }
    add_mentions_and_reactions(connection, account, found.iter_mut())?;
    cut(&mut found);
    Ok(found)
}

/// How far one conversation was looked through.
struct ConversationCursor {
    conversation: u64,
    /// Where the first message is that may be unread.
    first: u64,
    is_looked_at: bool,
    /// Everything up to this sequence was looked at.
    after: u64,
    /// Positions that were found and not taken yet.
    found: VecDeque<u64>,
    step: usize,
    passed: usize,
    is_at_end: bool,
}

fn behind(connection: &Connection, account: AccountId) -> Result<Vec<ConversationCursor>> {
    let mut statement = connection.prepare_cached(BEHIND)?;
    let place = |row: &Row<'_>| {
        Ok(ConversationCursor {
            conversation: number(row, 0)?,
            first: number(row, 2)?,
            is_looked_at: false,
            after: number(row, 1)?,
            found: VecDeque::new(),
            step: STEP_MIN,
            passed: 0,
            is_at_end: false,
        })
    };
    let places = statement.query_map([sought(account.0)], place)?;
    places.collect()
}

impl ConversationCursor {
    /// Returns the position of the next unread message.
    fn take(&mut self, connection: &Connection, account: AccountId) -> Result<Option<u64>> {
        self.is_looked_at = true;
        while self.found.is_empty() && !self.is_at_end && self.passed < PASSED_MAX {
            self.look(connection, account)?;
        }
        Ok(self.found.pop_front())
    }

    /// Looks at the next few messages.
    fn look(&mut self, connection: &Connection, account: AccountId) -> Result<()> {
        let mut statement = connection.prepare_cached(NEXT)?;
        let mut rows = statement.query(params![
            sought(account.0),
            sought(self.conversation),
            bound(self.after),
            count(self.step)
        ])?;
        let mut seen = 0;
        let mut own_last = None;
        while let Some(row) = rows.next()? {
            seen += 1;
            self.after = number(row, 0)?;
            let (is_own, is_gone): (bool, bool) = (row.get(2)?, row.get(4)?);
            own_last = is_own.then_some(number(row, 3)?);
            if is_own {
                continue;
            } else if is_gone {
                self.passed += 1;
            } else {
                self.found.push_back(number(row, 1)?);
            }
        }
        self.is_at_end = seen < self.step;
        self.step = STEP_MAX.min(self.step * 2);
        if let Some(ordinal) = own_last.filter(|_| !self.is_at_end) {
            self.after = self.end_of_run(connection, account, ordinal)?;
        }
        Ok(())
    }

    /// Returns the last of the own messages that follow each other from `after`, whose ordinal is
    /// given. In a run the ordinals grow like the sequences: any message shows whether it belongs
    /// to it.
    fn end_of_run(&self, connection: &Connection, account: AccountId, ordinal: u64) -> Result<u64> {
        let mut statement = connection.prepare_cached(IS_OWN)?;
        let mut is_in_run = |sequence: u64| {
            let ordinal = ordinal + (sequence - self.after);
            let key = [self.conversation, sequence, account.0, ordinal].map(sought);
            let is_own = statement.query_row(key, |row| row.get(0)).optional()?;
            Ok::<bool, rusqlite::Error>(is_own.unwrap_or(false))
        };
        let (mut inside, mut stride) = (self.after, 1);
        while is_in_run(inside + stride)? {
            inside += stride;
            stride *= 2;
        }
        let mut outside = inside + stride;
        while outside - inside > 1 {
            let middle = inside + (outside - inside) / 2;
            if is_in_run(middle)? {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        Ok(inside)
    }
}
