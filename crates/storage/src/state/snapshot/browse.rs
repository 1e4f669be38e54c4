//! Reads everything that people wrote out of a snapshot's file: for an export.
//!
//! Hashes of passwords and tokens are not read. What a deletion has left behind and the sweep has
//! not removed yet is left out: a conversation without members, reactions to a deleted message.
//!
//! Always true: memory is bounded whatever the number of messages; of what there may be many, one
//! row is held at a time.

use std::{collections::BTreeMap, io, path::Path};

use conclave_core::{AccountId, AccountRole, ConversationId, MemberRole, Sequence, Timestamp};
use rusqlite::{Connection, Row, params};

use crate::state::{
    column::{account_role, member_role, number, number_or_none, sought},
    database,
};

/// A snapshot's file cannot be read, or what was read not be passed on.
#[derive(Debug, thiserror::Error)]
pub enum BrowseError {
    /// The file is no database of this version, or damaged.
    #[error("the database cannot be read")]
    Database(#[from] rusqlite::Error),
    /// The file is none of ours, or of another version.
    #[error("the database cannot be used: {0}")]
    Refused(String),
    /// The receiver of the rows has failed.
    #[error(transparent)]
    Receiver(#[from] io::Error),
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowsedAccount {
    /// Number of the account.
    pub id: AccountId,
    /// Name as its owner wrote it.
    pub name: String,
    /// Display name; may be empty.
    pub display_name: String,
    /// Role of the account.
    pub role: AccountRole,
    /// Date of creation.
    pub created_at: Timestamp,
    /// Whether an administrator has suspended it.
    pub suspended: bool,
}

/// A room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowsedRoom {
    /// Number of the conversation.
    pub id: ConversationId,
    /// Name as its creator wrote it.
    pub name: String,
    /// Topic; may be empty.
    pub topic: String,
    /// Whether every account may see and join it.
    pub public: bool,
    /// Date of creation.
    pub created_at: Timestamp,
}

/// A direct conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrowsedDirect {
    /// Number of the conversation.
    pub id: ConversationId,
    /// The two accounts; the same twice if an account writes to itself.
    pub members: (AccountId, AccountId),
}

/// A member of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrowsedMember {
    /// The account.
    pub account: AccountId,
    /// Role of the member; plain in a direct conversation.
    pub role: MemberRole,
    /// What has reached a device.
    pub delivered: Sequence,
    /// What was read.
    pub read: Sequence,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowsedMessage {
    /// Number in the conversation.
    pub sequence: Sequence,
    /// Account that sent it; perhaps deleted since.
    pub by: AccountId,
    /// Date of the message.
    pub sent_at: Timestamp,
    /// Text; `None` if it was deleted for everyone.
    pub text: Option<String>,
    /// Date of the last edit.
    pub edited_at: Option<Timestamp>,
    /// Date of the deletion.
    pub deleted_at: Option<Timestamp>,
    /// The message that it answers.
    pub reply_to: Option<Sequence>,
    /// Whether the text describes an action of the sender.
    pub action: bool,
    /// Members that the text names.
    pub mentions: Vec<AccountId>,
    /// Accounts by reaction.
    pub reactions: BTreeMap<String, Vec<AccountId>>,
    /// Members that have deleted it for themselves.
    pub hidden_from: Vec<AccountId>,
}

/// What the reader of rows returns after each one.
pub type Received = io::Result<()>;

/// A snapshot's file, opened for reading.
pub struct Browser(Connection);

/// A conversation that is not waiting for the sweep.
macro_rules! has_members {
    () => {
        "EXISTS (SELECT 1 FROM members m JOIN accounts a ON a.id = m.account
            WHERE m.conversation = c.id)"
    };
}

/// Accounts that are gone and of which something is still shown.
const DELETED: &str = concat!(
    "WITH shown AS MATERIALIZED (SELECT c.id FROM conversations c WHERE ",
    has_members!(),
    ") SELECT account FROM (
        SELECT by_account AS account FROM messages WHERE conversation IN shown
        UNION SELECT account FROM reactions WHERE conversation IN shown
        UNION SELECT direct_low FROM conversations
            WHERE direct_low IS NOT NULL AND id IN shown
        UNION SELECT direct_high FROM conversations
            WHERE direct_low IS NOT NULL AND id IN shown)
    WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE id = account) ORDER BY account"
);

impl Browser {
    /// Opens a file that nothing changes meanwhile.
    ///
    /// # Errors
    /// See [`BrowseError`].
    pub fn open(snapshot: &Path) -> Result<Self, BrowseError> {
        let connection = database::open_read_only(snapshot)?;
        database::check_kind(&connection)
            .map_err(|error| BrowseError::Refused(error.to_string()))?;
        Ok(Self(connection))
    }

    /// Gives every account, in the order of the names.
    ///
    /// # Errors
    /// See [`BrowseError`].
    pub fn accounts(
        &self,
        each: &mut dyn FnMut(BrowsedAccount) -> Received,
    ) -> Result<(), BrowseError> {
        let sql = "SELECT id, name, display_name, role, created_at, suspended
            FROM accounts ORDER BY key";
        let read = |row: &Row<'_>| {
            Ok(BrowsedAccount {
                id: AccountId(number(row, 0)?),
                name: row.get(1)?,
                display_name: row.get(2)?,
                role: account_role(row, 3)?,
                created_at: Timestamp(number(row, 4)?),
                suspended: row.get(5)?,
            })
        };
        self.each(sql, params![], read, each)
    }

    /// Returns the accounts that an account has blocked, in the order of their names.
    ///
    /// # Errors
    /// See [`BrowseError`].
    pub fn blocks_of(&self, account: AccountId) -> Result<Vec<AccountId>, BrowseError> {
        let sql = "SELECT b.other FROM blocks b JOIN accounts a ON a.id = b.other
            WHERE b.account = ?1 ORDER BY a.key";
        self.ids(sql, &[sought(account.0)])
    }

    /// Returns the deleted accounts of which a message, a reaction or a direct conversation is
    /// left, in the order of their numbers.
    ///
    /// # Errors
    /// See [`BrowseError`].
    pub fn deleted_accounts(&self) -> Result<Vec<AccountId>, BrowseError> {
        self.ids(DELETED, &[])
    }

    /// Gives every room, in the order of the names.
    ///
    /// # Errors
    /// See [`BrowseError`].
    pub fn rooms(&self, each: &mut dyn FnMut(BrowsedRoom) -> Received) -> Result<(), BrowseError> {
        let sql = concat!(
            "SELECT id, name, topic, public, opened_at FROM conversations c
            WHERE key IS NOT NULL AND ",
            has_members!(),
            " ORDER BY key"
        );
        let read = |row: &Row<'_>| {
            Ok(BrowsedRoom {
                id: ConversationId(number(row, 0)?),
                name: row.get(1)?,
                topic: row.get(2)?,
                public: row.get(3)?,
                created_at: Timestamp(number(row, 4)?),
            })
        };
        self.each(sql, params![], read, each)
    }

    /// Gives every direct conversation, in the order of their numbers.
    ///
    /// # Errors
    /// See [`BrowseError`].
    pub fn directs(
        &self,
        each: &mut dyn FnMut(BrowsedDirect) -> Received,
    ) -> Result<(), BrowseError> {
        let sql = concat!(
            "SELECT id, direct_low, direct_high FROM conversations c
            WHERE direct_low IS NOT NULL AND ",
            has_members!(),
            " ORDER BY id"
        );
        let read = |row: &Row<'_>| {
            Ok(BrowsedDirect {
                id: ConversationId(number(row, 0)?),
                members: (AccountId(number(row, 1)?), AccountId(number(row, 2)?)),
            })
        };
        self.each(sql, params![], read, each)
    }

    /// Gives the members of a conversation, in the order of their names.
    ///
    /// # Errors
    /// See [`BrowseError`].
    pub fn members(
        &self,
        conversation: ConversationId,
        each: &mut dyn FnMut(BrowsedMember) -> Received,
    ) -> Result<(), BrowseError> {
        let sql = "SELECT m.account, m.role, m.delivered, m.read
            FROM members m JOIN accounts a ON a.id = m.account
            WHERE m.conversation = ?1 ORDER BY a.key";
        let read = |row: &Row<'_>| {
            Ok(BrowsedMember {
                account: AccountId(number(row, 0)?),
                role: member_role(row, 1)?,
                delivered: Sequence(number(row, 2)?),
                read: Sequence(number(row, 3)?),
            })
        };
        self.each(sql, params![sought(conversation.0)], read, each)
    }

    /// Returns the invited accounts of a room, each with the account that invited it, in the order
    /// of their names.
    ///
    /// # Errors
    /// See [`BrowseError`].
    pub fn invitations(
        &self,
        conversation: ConversationId,
    ) -> Result<Vec<(AccountId, AccountId)>, BrowseError> {
        let sql = "SELECT i.account, i.by_account
            FROM invitations i JOIN accounts a ON a.id = i.account
            WHERE i.conversation = ?1 ORDER BY a.key";
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map([sought(conversation.0)], |row| {
            Ok((AccountId(number(row, 0)?), AccountId(number(row, 1)?)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Gives the messages of a conversation in their order.
    ///
    /// # Errors
    /// See [`BrowseError`].
    pub fn messages(
        &self,
        conversation: ConversationId,
        each: &mut dyn FnMut(BrowsedMessage) -> Received,
    ) -> Result<(), BrowseError> {
        let sql = "SELECT sequence, by_account, sent_at, text, edited_at, deleted_at, reply_to,
                action
            FROM messages WHERE conversation = ?1
                AND sequence > (SELECT forgotten FROM conversations WHERE id = ?1)
            ORDER BY sequence";
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query([sought(conversation.0)])?;
        while let Some(row) = rows.next()? {
            let mut message = BrowsedMessage {
                sequence: Sequence(number(row, 0)?),
                by: AccountId(number(row, 1)?),
                sent_at: Timestamp(number(row, 2)?),
                text: row.get(3)?,
                edited_at: number_or_none(row, 4)?.map(Timestamp),
                deleted_at: number_or_none(row, 5)?.map(Timestamp),
                reply_to: number_or_none(row, 6)?.map(Sequence),
                action: row.get(7)?,
                mentions: Vec::new(),
                reactions: BTreeMap::new(),
                hidden_from: Vec::new(),
            };
            self.add(conversation, &mut message)?;
            each(message)?;
        }
        Ok(())
    }

    /// Adds what stands in other tables.
    fn add(
        &self,
        conversation: ConversationId,
        message: &mut BrowsedMessage,
    ) -> Result<(), BrowseError> {
        let key = [conversation.0, message.sequence.0].map(sought);
        let hidden = "SELECT account FROM hidden WHERE conversation = ?1 AND sequence = ?2
            AND EXISTS (SELECT 1 FROM accounts WHERE id = account)";
        message.hidden_from = self.ids(hidden, &key)?;
        if message.text.is_none() {
            return Ok(());
        }
        let mentions = "SELECT account FROM mentions WHERE conversation = ?1 AND sequence = ?2
            AND EXISTS (SELECT 1 FROM accounts WHERE id = account)";
        message.mentions = self.ids(mentions, &key)?;
        let reactions = "SELECT reaction, account FROM reactions
            WHERE conversation = ?1 AND sequence = ?2 ORDER BY account";
        let mut statement = self.0.prepare_cached(reactions)?;
        let mut rows = statement.query(key)?;
        while let Some(row) = rows.next()? {
            let of = message.reactions.entry(row.get(0)?).or_default();
            of.push(AccountId(number(row, 1)?));
        }
        Ok(())
    }

    fn ids(&self, sql: &str, key: &[i64]) -> Result<Vec<AccountId>, BrowseError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map(rusqlite::params_from_iter(key), |row| {
            number(row, 0).map(AccountId)
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn each<T>(
        &self,
        sql: &str,
        key: impl rusqlite::Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        each: &mut dyn FnMut(T) -> Received,
    ) -> Result<(), BrowseError> {
        let mut statement = self.0.prepare(sql)?;
        let mut rows = statement.query(key)?;
        while let Some(row) = rows.next()? {
            each(read(row)?)?;
        }
        Ok(())
    }
}
