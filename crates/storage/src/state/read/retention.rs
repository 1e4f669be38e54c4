//! What is kept and for how long, and which conversations have something to forget.
//!
//! The reader proposes and the rules decide: what is found here is looked at again in the log.
//! Where neither the cluster nor a room has a limit, nothing is looked at.

use conclave_core::{
    ClusterRetention, ConversationId, Retention, RoomRetention, Timestamp,
    limits::FORGET_CONVERSATIONS_MAX,
};
use rusqlite::{Connection, Result, Row, params};

use crate::state::{
    ReadError, Reader,
    column::{bound, count, number, number_or_none, stored},
    meta::Meta,
};

/// Conversations that one page looks at: a millisecond or two.
const LOOKED_AT_MAX: usize = 256;

/// Conversations after `?1`, each with its first message and the number of its last one; `?2` rows.
/// `?3` is the log time of messages that have none.
const OF_ALL: &str = "
SELECT c.id, m.sequence, coalesce(m.log_time, ?3, 0),
    (SELECT max(sequence) FROM messages WHERE conversation = c.id),
    c.direct_low IS NULL, c.keep_ms, c.keep_messages
FROM conversations c
LEFT JOIN messages m ON m.conversation = c.id AND m.sequence = c.forgotten + 1
WHERE c.id > ?1 ORDER BY c.id LIMIT ?2";

/// The same of rooms that have set something.
const OF_ROOMS: &str = "
SELECT c.id, m.sequence, coalesce(m.log_time, ?3, 0),
    (SELECT max(sequence) FROM messages WHERE conversation = c.id),
    c.direct_low IS NULL, c.keep_ms, c.keep_messages
FROM conversations c INDEXED BY conversations_keeping
LEFT JOIN messages m ON m.conversation = c.id AND m.sequence = c.forgotten + 1
WHERE c.id > ?1 AND (c.keep_ms IS NOT NULL OR c.keep_messages IS NOT NULL)
ORDER BY c.id LIMIT ?2";

/// A part of the conversations that have something to forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DuePage {
    /// In order of their numbers: at most [`FORGET_CONVERSATIONS_MAX`].
    pub conversations: Vec<ConversationId>,
    /// Where to go on; `None` at the end.
    pub next_after: Option<ConversationId>,
}

impl Reader {
    /// Returns what the cluster keeps.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn retention(&self) -> std::result::Result<ClusterRetention, ReadError> {
        Ok(self.read(Meta::load)?.retention)
    }

    /// Returns whether the cluster has more messages in all than it keeps.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn has_surplus(&self) -> std::result::Result<bool, ReadError> {
        let meta = self.read(Meta::load)?;
        Ok(meta.retention.surplus(meta.messages) > 0)
    }

    /// Returns the conversations after `after` whose first message is older than they keep, or is
    /// one too many for them, at the log time `now`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn due(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
    ) -> std::result::Result<DuePage, ReadError> {
        self.read(|connection| due(connection, after, now))
    }
}

fn due(connection: &Connection, after: Option<ConversationId>, now: Timestamp) -> Result<DuePage> {
    let meta = Meta::load(connection)?;
    let after = after.map_or(-1, |id| bound(id.0));
    let since = meta.aged_since.map(|since| stored(since.0));
    let has_limit = meta.retention.each != Retention::default();
    let sql = if has_limit { OF_ALL } else { OF_ROOMS };
    let mut page = DuePage::default();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![after, count(LOOKED_AT_MAX), since])?;
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        let id = ConversationId(number(row, 0)?);
        seen += 1;
        if is_due(row, meta.retention, now)? {
            page.conversations.push(id);
        }
        page.next_after = Some(id);
        if page.conversations.len() == FORGET_CONVERSATIONS_MAX {
            return Ok(page);
        }
    }
    if seen < LOOKED_AT_MAX {
        page.next_after = None;
    }
    Ok(page)
}

fn is_due(row: &Row<'_>, cluster: ClusterRetention, now: Timestamp) -> Result<bool> {
    let (Some(first), Some(last)) = (number_or_none(row, 1)?, number_or_none(row, 3)?) else {
        return Ok(false);
    };
    let own = RoomRetention {
        age_ms: number_or_none(row, 5)?,
        messages: number_or_none(row, 6)?,
    };
    let is_room: bool = row.get(4)?;
    let Retention { age_ms, messages } = match is_room {
        true => cluster.of_room(own),
        false => cluster.each,
    };
    let age = now.0.saturating_sub(number(row, 2)?);
    let newer = last.saturating_sub(first);
    Ok((age_ms > 0 && age >= age_ms) || (messages > 0 && newer >= messages))
}
