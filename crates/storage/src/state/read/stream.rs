//! What an account may see of the log, in order: messages, changes, and the positions of members.
//!
//! Always true: one page is read from one state. Pages that follow each other give everything once;
//! only the last advance of each member is given, at its position, and so the last time that
//! messages of a conversation were forgotten. Messages of other conversations cost nothing, however
//! many there are.

mod own_messages;

use std::collections::HashMap;

use conclave_core::{
    AccountId, ConversationId, MessageRef, Position, Progress, Sequence, limits::PAGE_MAX,
};
use rusqlite::{Connection, Error, OptionalExtension as _, Result, Row, params};

use self::own_messages::OwnMessages;
use super::{
    messages::{add_mentions_and_reactions, at_position, named},
    reader::{account_now, mark, page},
};
use crate::state::{
    MessageRow, ReadError, Reader, RoomChange, StreamEvent, StreamItem, StreamPage,
    change_kind::Kind,
    column::{bound, count, member_role_of, number, number_or_none, sought},
};

/// Steps that one page takes: one for each change that is passed over.
const STREAM_STEPS_MAX: usize = 32 * PAGE_MAX;

/// Steps that a message or a change of the account costs, which is read from several tables.
const STEPS_PER_ITEM: usize = 8;

/// Bytes of the messages of one page, about: a stream whose client does not read holds one.
const STREAM_BYTES_MAX: usize = 256 * 1024;

/// Conversations of account `?1`, how far it and a direct peer have come, and the last message.
const SEATS: &str = "
SELECT own.conversation, own.joined_at, c.direct_low IS NULL,
    iif(c.direct_low = ?1, c.direct_high, c.direct_low),
    own.delivered, own.read, own.advanced_at, peer.delivered, peer.read, peer.advanced_at,
    c.message_last, c.forgotten, c.forgotten_at
FROM members own JOIN conversations c ON c.id = own.conversation
LEFT JOIN members peer ON peer.conversation = own.conversation
    AND peer.account = iif(c.direct_low = ?1, c.direct_high, c.direct_low)
WHERE own.account = ?1 ORDER BY own.conversation";

/// Changes after `?1`; `?2` rows.
const CHANGES: &str = "
SELECT position, kind, conversation, account, sequence, subject, by_account, value
FROM changes WHERE position > ?1 ORDER BY position LIMIT ?2";

impl Reader {
    /// Returns up to `limit` of the things after `after` that the account may see.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn stream(
        &self,
        account: AccountId,
        after: Position,
        limit: usize,
    ) -> std::result::Result<StreamPage, ReadError> {
        self.read(|c| stream(c, account, after, page(limit)))
    }
}

fn stream(
    connection: &Connection,
    account: AccountId,
    after: Position,
    limit: usize,
) -> Result<StreamPage> {
    let mark = mark(connection)?;
    let (view, mut messages) = View::load(connection, account, after)?;
    let mut page = StreamPage {
        items: Vec::new(),
        scanned_to: after,
        complete: false,
        gap: after < mark.changes_after,
        rooms: Vec::new(),
    };
    // One row more than is looked at: a source that has ended has no more.
    let from = [bound(after.0), count(STREAM_STEPS_MAX + 1)];
    let mut changes = connection.prepare_cached(CHANGES)?;
    let mut changes = changes.query_map(from, change)?;
    let mut advances = view.advances.iter();
    let mut change = changes.next().transpose()?;
    let mut advance = advances.next();
    let (mut steps, mut bytes) = (0, 0);
    loop {
        let message = messages.head();
        let heads = [
            message,
            change.as_ref().map(|change| change.at),
            advance.map(|advance| advance.at),
        ];
        let Some(at) = heads.into_iter().flatten().min() else {
            break;
        };
        let is_full = page.items.len() == limit || bytes >= STREAM_BYTES_MAX;
        if is_full || steps >= STREAM_STEPS_MAX {
            view.finish(&mut page)?;
            return Ok(page);
        }
        let mut what = None;
        if message == Some(at) {
            let row = at_position(connection, account, Position(at))?;
            what = row.map(StreamEvent::Sent);
            messages.advance()?;
            steps += STEPS_PER_ITEM;
        } else if let Some(head) = change.take_if(|head| head.at == at) {
            steps += 1;
            if view.is_for_account(&head) {
                what = view.change(head)?;
                steps += STEPS_PER_ITEM;
            }
            change = changes.next().transpose()?;
        } else if let Some(head) = advance {
            what = Some(head.what.clone());
            advance = advances.next();
        }
        page.scanned_to = Position(at);
        let position = page.scanned_to;
        if let Some(StreamEvent::Sent(row) | StreamEvent::Edited(row)) = &what {
            bytes += row.bytes();
        }
        page.items
            .extend(what.map(|what| StreamItem { position, what }));
    }
    page.complete = true;
    page.scanned_to = after.max(mark.applied);
    page.rooms.clone_from(&view.rooms);
    view.finish(&mut page)?;
    Ok(page)
}

/// A row of the table, as far as one page needs it.
struct Change {
    at: u64,
    kind: Kind,
    conversation: Option<u64>,
    account: Option<u64>,
    sequence: Option<u64>,
    subject: Option<u64>,
    by: Option<u64>,
    value: Option<String>,
}

fn change(row: &Row<'_>) -> Result<Change> {
    let kind = row.get(1)?;
    Ok(Change {
        at: number(row, 0)?,
        kind: Kind::of(kind).ok_or(Error::IntegralValueOutOfRange(1, kind))?,
        conversation: number_or_none(row, 2)?,
        account: number_or_none(row, 3)?,
        sequence: number_or_none(row, 4)?,
        subject: number_or_none(row, 5)?,
        by: number_or_none(row, 6)?,
        value: row.get(7)?,
    })
}

/// A conversation that the account is in.
struct Seat {
    /// Nothing before this position is given: when the account joined a room.
    since: u64,
    /// The other person of a direct conversation.
    peer: Option<u64>,
}

struct Advance {
    at: u64,
    what: StreamEvent,
}

/// What one account may see, as it is in this transaction.
struct View<'c> {
    connection: &'c Connection,
    account: AccountId,
    seats: HashMap<u64, Seat>,
    /// In order of their numbers.
    rooms: Vec<ConversationId>,
    /// By position.
    advances: Vec<Advance>,
}

impl<'c> View<'c> {
    /// Loads the account's conversations, with the messages in them after a position.
    fn load(
        connection: &'c Connection,
        account: AccountId,
        after: Position,
    ) -> Result<(Self, OwnMessages<'c>)> {
        let mut messages = OwnMessages::new(connection)?;
        let mut view = Self {
            connection,
            account,
            seats: HashMap::new(),
            rooms: Vec::new(),
            advances: Vec::new(),
        };
        let mut statement = connection.prepare_cached(SEATS)?;
        let mut rows = statement.query([sought(account.0)])?;
        while let Some(row) = rows.next()? {
            let conversation = number(row, 0)?;
            let (is_room, peer) = (row.get(2)?, number_or_none(row, 3)?);
            let since = if is_room { number(row, 1)? } else { 0 };
            // What happened at `since` itself is seen.
            let seen_after = after.0.max(since.saturating_sub(1));
            if number(row, 10)? > seen_after {
                messages.add(conversation, seen_after)?;
            }
            view.seats.insert(conversation, Seat { since, peer });
            if is_room {
                view.rooms.push(ConversationId(conversation));
            }
            let forgotten_at = number(row, 12)?;
            if forgotten_at > seen_after {
                let what = StreamEvent::Forgotten {
                    conversation: ConversationId(conversation),
                    through: Sequence(number(row, 11)?),
                };
                let at = forgotten_at;
                view.advances.push(Advance { at, what });
            }
            // The peer of a conversation with oneself is oneself, once.
            let peer = peer.filter(|peer| *peer != account.0);
            for (who, column) in [(Some(account.0), 4), (peer, 7)] {
                let (Some(who), Some(at)) = (who, number_or_none(row, column + 2)?) else {
                    continue;
                };
                // What is left of a deleted account is not shown.
                if at <= after.0 || view.name_of(AccountId(who))?.is_none() {
                    continue;
                }
                let what = StreamEvent::Advanced {
                    conversation: ConversationId(conversation),
                    account: AccountId(who),
                    progress: Progress {
                        delivered: Sequence(number(row, column)?),
                        read: Sequence(number(row, column + 1)?),
                    },
                };
                view.advances.push(Advance { at, what });
            }
        }
        view.advances.sort_by_key(|advance| advance.at);
        Ok((view, messages))
    }

    /// Returns whether the account may know what happened at `at` in a conversation.
    fn is_seen(&self, conversation: u64, at: u64) -> bool {
        let seat = self.seats.get(&conversation);
        seat.is_some_and(|seat| seat.since <= at)
    }

    /// Returns whether the account gets a change.
    fn is_for_account(&self, change: &Change) -> bool {
        match change.account {
            Some(account) => account == self.account.0,
            None => {
                let has_left = change.kind == Kind::Left && change.subject == Some(self.account.0);
                let is_seen = |conversation| self.is_seen(conversation, change.at);
                has_left || change.conversation.is_some_and(is_seen)
            }
        }
    }

    fn change(&self, change: Change) -> Result<Option<StreamEvent>> {
        if change.kind == Kind::AccountChanged {
            let now = account_now(self.connection, self.account)?;
            return Ok(now.map(StreamEvent::AccountChanged));
        }
        match change.sequence {
            Some(sequence) => self.change_of_message(change, Sequence(sequence)),
            None => self.change_of_conversation(change),
        }
    }

    fn change_of_message(&self, change: Change, sequence: Sequence) -> Result<Option<StreamEvent>> {
        let message = MessageRef {
            conversation: ConversationId(needed(4, change.conversation)?),
            sequence,
        };
        if change.kind == Kind::Hidden {
            return Ok(Some(StreamEvent::Hidden(message)));
        }
        // What the account has hidden stays hidden, whatever happens to it.
        let Some(row) = named(self.connection, self.account, message)? else {
            return Ok(None);
        };
        Ok(match change.kind {
            Kind::Edited => Some(StreamEvent::Edited(row)),
            Kind::Deleted => Some(StreamEvent::Deleted(message)),
            Kind::ReactionAdded | Kind::ReactionRemoved => {
                let account = AccountId(needed(5, change.subject)?);
                let reaction = change.value.unwrap_or_default();
                Some(StreamEvent::Reaction {
                    message,
                    account,
                    name: self.name_of(account)?,
                    count: self.reaction_count(message, &reaction)?,
                    reaction,
                    present: change.kind == Kind::ReactionAdded,
                })
            }
            _ => None,
        })
    }

    fn change_of_conversation(&self, change: Change) -> Result<Option<StreamEvent>> {
        let conversation = ConversationId(needed(2, change.conversation)?);
        let room_name = || self.room_name_of(conversation);
        let account = || needed(5, change.subject).map(AccountId);
        let by = || needed(6, change.by).map(AccountId);
        Ok(Some(match change.kind {
            Kind::Opened => {
                let peer = self.seats.get(&conversation.0).and_then(|seat| seat.peer);
                let name = peer.map(|peer| self.name_of(AccountId(peer))).transpose()?;
                StreamEvent::Opened {
                    conversation,
                    peer_name: name.flatten(),
                }
            }
            Kind::Joined => StreamEvent::Room(RoomChange::Joined {
                conversation,
                room_name: room_name()?,
                account: account()?,
                name: self.name_of(account()?)?,
            }),
            Kind::Left => StreamEvent::Room(RoomChange::Left {
                conversation,
                room_name: room_name()?,
                account: account()?,
                name: self.name_of(account()?)?,
                by: by()?,
            }),
            Kind::RoleChanged => {
                let value = change.value.as_deref().and_then(|role| role.parse().ok());
                StreamEvent::Room(RoomChange::RoleChanged {
                    conversation,
                    account: account()?,
                    role: member_role_of(7, value.unwrap_or(-1))?,
                })
            }
            Kind::TopicChanged => StreamEvent::Room(RoomChange::TopicChanged {
                conversation,
                topic: change.value.unwrap_or_default(),
            }),
            Kind::Invited => StreamEvent::Room(RoomChange::Invited {
                conversation,
                room_name: room_name()?,
                by: by()?,
            }),
            _ => return Ok(None),
        }))
    }

    fn name_of(&self, account: AccountId) -> Result<Option<String>> {
        let sql = "SELECT name FROM accounts WHERE id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let name = statement.query_row([sought(account.0)], |row| row.get(0));
        name.optional()
    }

    /// Returns how many accounts give this reaction to a message now.
    fn reaction_count(&self, message: MessageRef, reaction: &str) -> Result<u64> {
        let sql = "SELECT count FROM reaction_counts
            WHERE conversation = ?1 AND sequence = ?2 AND reaction = ?3";
        let [id, sequence] = [message.conversation.0, message.sequence.0].map(sought);
        let mut statement = self.connection.prepare_cached(sql)?;
        let count = statement.query_row(params![id, sequence, reaction], |row| number(row, 0));
        Ok(count.optional()?.unwrap_or(0))
    }

    fn room_name_of(&self, room: ConversationId) -> Result<Option<String>> {
        let sql = "SELECT name FROM conversations WHERE id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let name = statement.query_row([sought(room.0)], |row| row.get(0));
        Ok(name.optional()?.flatten())
    }

    /// Adds to the messages of a page what many have in common.
    fn finish(&self, page: &mut StreamPage) -> Result<()> {
        add_mentions_and_reactions(
            self.connection,
            self.account,
            page.items.iter_mut().filter_map(message_of),
        )?;
        cut(page);
        Ok(())
    }
}

/// Ends a page with the item that reaches its bytes, mentions and reactions included. What is cut
/// off comes with the next page.
fn cut(page: &mut StreamPage) {
    let mut bytes = 0;
    let last = page.items.iter_mut().position(|item| {
        bytes += message_of(item).map_or(0, |row| row.bytes());
        bytes >= STREAM_BYTES_MAX
    });
    let Some(last) = last.filter(|last| last + 1 < page.items.len()) else {
        return;
    };
    page.items.truncate(last + 1);
    page.scanned_to = page.items[last].position;
    page.complete = false;
    page.rooms.clear();
}

fn message_of(item: &mut StreamItem) -> Option<&mut MessageRow> {
    match &mut item.what {
        StreamEvent::Sent(row) | StreamEvent::Edited(row) => Some(row),
        _ => None,
    }
}

/// Returns a value that this kind of change always has.
fn needed(column: usize, value: Option<u64>) -> Result<u64> {
    value.ok_or(Error::IntegralValueOutOfRange(column, -1))
}
