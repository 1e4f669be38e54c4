//! Questions about rooms: those that an account may know of, and their members.
//!
//! Always true: an account that is neither in a private room nor invited does not learn of it.

use conclave_core::{
    AccountId, ClusterRetention, ConversationId, MemberRole, NamePattern, RoomRetention,
    limits::PAGE_MAX,
};
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use super::reader::{ACCOUNT_COLUMNS, account, page, select_accounts};
use crate::state::{
    MemberRow, ReadError, Reader, RoomRow, RoomsPage,
    column::{bound, count, member_role, member_role_or_none, number, number_or_none, sought},
    meta::Meta,
};

/// Names that one page looks at for a pattern.
const ROOMS_SCANNED_MAX: usize = 4 * PAGE_MAX;

/// What makes a [`RoomRow`] for account `?1`, with the room as `c`; then its key.
macro_rules! select_rooms {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.name, c.topic, c.public, c.members,
                (SELECT role FROM members WHERE conversation = c.id AND account = ?1),
                EXISTS (SELECT 1 FROM invitations i
                    WHERE i.conversation = c.id AND i.account = ?1),
                c.key, c.keep_ms, c.keep_messages ",
            $rest
        )
    };
}

impl Reader {
    /// Returns the room whose name has this key; `None` also if the account may not know of it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn room_by_key(
        &self,
        account: AccountId,
        room_key: &str,
    ) -> std::result::Result<Option<RoomRow>, ReadError> {
        let sql = select_rooms!("FROM conversations c WHERE c.key = ?2");
        self.read(|c| {
            let of = params![sought(account.0), room_key];
            let cluster = Meta::load(c)?.retention;
            let mut statement = c.prepare_cached(sql)?;
            let found = statement.query_row(of, |row| room(row, cluster));
            Ok(found.optional()?.filter(is_visible))
        })
    }

    /// Returns up to `limit` rooms that the account may know of and whose names match, in order of
    /// their keys, after `after_key`. `only_own`: those that it is in or invited to.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn rooms(
        &self,
        account: AccountId,
        pattern: &NamePattern,
        only_own: bool,
        after_key: Option<&str>,
        limit: usize,
    ) -> std::result::Result<RoomsPage, ReadError> {
        let after = after_key.unwrap_or_default();
        if only_own {
            return self.read(|c| own_rooms(c, account, pattern, after, page(limit)));
        }
        self.read(|c| rooms(c, account, pattern, after, page(limit)))
    }

    /// Returns how many members a room has; `None` if there is no such room.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn member_count(
        &self,
        room: ConversationId,
    ) -> std::result::Result<Option<u64>, ReadError> {
        let sql = "SELECT members FROM conversations WHERE id = ?1 AND members IS NOT NULL";
        self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            let found = statement.query_row([sought(room.0)], |row| number(row, 0));
            found.optional()
        })
    }

    /// Returns up to `limit` members of a room, in order of their numbers, after `after`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn members(
        &self,
        room: ConversationId,
        after: Option<AccountId>,
        limit: usize,
    ) -> std::result::Result<Vec<MemberRow>, ReadError> {
        let sql = select_accounts!(
            ", m.role FROM members m JOIN accounts a ON a.id = m.account
            WHERE m.conversation = ?1 AND m.account > ?2 ORDER BY m.account LIMIT ?3"
        );
        let after = after.map_or(-1, |id| bound(id.0));
        self.read(|c| {
            let of = params![sought(room.0), after, count(page(limit))];
            c.prepare_cached(sql)?.query_map(of, member)?.collect()
        })
    }

    /// Returns the role of an account in a conversation; `None` if it is not in it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn member_role(
        &self,
        conversation: ConversationId,
        account: AccountId,
    ) -> std::result::Result<Option<MemberRole>, ReadError> {
        let sql = "SELECT role FROM members WHERE conversation = ?1 AND account = ?2";
        self.read(|c| {
            let of = [sought(conversation.0), sought(account.0)];
            let mut statement = c.prepare_cached(sql)?;
            statement
                .query_row(of, |row| member_role(row, 0))
                .optional()
        })
    }
}

fn rooms(
    connection: &Connection,
    account: AccountId,
    pattern: &NamePattern,
    after: &str,
    limit: usize,
) -> Result<RoomsPage> {
    let sql = select_rooms!(
        "FROM conversations c WHERE c.key >= ?2 AND c.key > ?3 ORDER BY c.key LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(sql)?;
    // One row more than is looked at shows whether there is more.
    let scan = count(ROOMS_SCANNED_MAX + 1);
    let mut rows = statement.query(params![sought(account.0), pattern.prefix(), after, scan])?;
    let cluster = Meta::load(connection)?.retention;
    let mut page_so_far = RoomsPage::default();
    let (mut seen, mut last_key) = (0, None);
    while let Some(row) = rows.next()? {
        let key: String = row.get(7)?;
        if !key.starts_with(pattern.prefix()) {
            break;
        }
        if page_so_far.rows.len() == limit || seen == ROOMS_SCANNED_MAX {
            page_so_far.next_after_key = last_key;
            break;
        }
        seen += 1;
        if pattern.matches(&key) {
            page_so_far
                .rows
                .extend(Some(room(row, cluster)?).filter(is_visible));
        }
        last_key = Some(key);
    }
    Ok(page_so_far)
}

/// Reads the account's own rooms: found by the account, not by the name, since few of many rooms
/// are one's own.
fn own_rooms(
    connection: &Connection,
    account: AccountId,
    pattern: &NamePattern,
    after: &str,
    limit: usize,
) -> Result<RoomsPage> {
    let joined = select_rooms!(
        "FROM members own JOIN conversations c ON c.id = own.conversation
        WHERE own.account = ?1 AND c.key > ?2"
    );
    let invited = select_rooms!(
        "FROM invitations own JOIN conversations c ON c.id = own.conversation
        WHERE own.account = ?1 AND c.key > ?2"
    );
    let cluster = Meta::load(connection)?.retention;
    let mut found: Vec<(String, RoomRow)> = Vec::new();
    for sql in [joined, invited] {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![sought(account.0), after])?;
        while let Some(row) = rows.next()? {
            let key: String = row.get(7)?;
            if pattern.matches(&key) {
                found.push((key, room(row, cluster)?));
            }
        }
    }
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    // A member that is invited as well would be there twice.
    found.dedup_by(|(left, _), (right, _)| left == right);
    let more = found.len() > limit;
    found.truncate(limit);
    Ok(RoomsPage {
        next_after_key: found.last().filter(|_| more).map(|(key, _)| key.clone()),
        rows: found.into_iter().map(|(_, row)| row).collect(),
    })
}

fn is_visible(room: &RoomRow) -> bool {
    room.public || room.role.is_some() || room.invited
}

fn room(row: &Row<'_>, cluster: ClusterRetention) -> Result<RoomRow> {
    let own_retention = RoomRetention {
        age_ms: number_or_none(row, 8)?,
        messages: number_or_none(row, 9)?,
    };
    Ok(RoomRow {
        id: ConversationId(number(row, 0)?),
        name: row.get(1)?,
        topic: row.get(2)?,
        public: row.get(3)?,
        members: number(row, 4)?,
        role: member_role_or_none(row, 5)?,
        invited: row.get(6)?,
        retention: cluster.of_room(own_retention),
        own_retention,
    })
}

fn member(row: &Row<'_>) -> Result<MemberRow> {
    Ok(MemberRow {
        account: account(row)?,
        role: member_role(row, ACCOUNT_COLUMNS)?,
    })
}
