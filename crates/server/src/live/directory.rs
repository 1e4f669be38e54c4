//! Names of accounts and rooms by their numbers, which events for people need.
//!
//! Events come before the database has their rows. A read here waits until it has them.
//!
//! Names of accounts and rooms never change while these exist, and numbers are never used again, so
//! a cached name stays true until a deletion is published.

use std::time::Duration;

use conclave_core::{AccountId, ConversationId};
use conclave_replica::Written;
use conclave_storage::{
    RecentMap,
    state::{ConversationInfo, ReadError, Reader},
};

/// Maximum number of cached names of each kind. Half of them, those that were used last, are never
/// forgotten.
const KEPT_MAX: usize = 262_144;

/// How long a read waits for the database. After that all subscribers catch up by themselves.
const WRITTEN_LIMIT: Duration = Duration::from_secs(2);

/// Cache of names; see the head of this file.
pub(crate) struct Directory {
    reader: Reader,
    written: Written,
    /// The entry that the database must have before it is read.
    index: u64,
    accounts: RecentMap<AccountId, String>,
    conversations: RecentMap<ConversationId, Between>,
}

/// Participants of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    Two(AccountId, AccountId),
    Room(String),
}

impl Directory {
    pub(crate) fn new(reader: Reader, written: Written) -> Self {
        Self {
            reader,
            written,
            index: 0,
            accounts: RecentMap::new(KEPT_MAX),
            conversations: RecentMap::new(KEPT_MAX),
        }
    }

    /// Begins with events of which the last is of entry `index`.
    pub(crate) fn begin(&mut self, index: u64) {
        self.index = index;
    }

    /// Returns a reader that sees what the present events have done.
    pub(crate) fn reader(&self) -> Result<&Reader, ReadError> {
        let reached = self.written.reaches_blocking(self.index, WRITTEN_LIMIT);
        reached.map_err(|_| ReadError::Busy)?;
        Ok(&self.reader)
    }

    /// Returns the name of an account; `None` if it was deleted.
    pub(crate) fn account(&mut self, id: AccountId) -> Result<Option<String>, ReadError> {
        if let Some(name) = self.accounts.get(&id) {
            return Ok(Some(name));
        }
        let Some(row) = self.reader()?.account(id)? else {
            return Ok(None);
        };
        self.accounts.insert(id, row.name.clone());
        Ok(Some(row.name))
    }

    /// Returns the participants of a conversation; `None` if it was removed.
    pub(crate) fn conversation(
        &mut self,
        id: ConversationId,
    ) -> Result<Option<Between>, ReadError> {
        if let Some(between) = self.conversations.get(&id) {
            return Ok(Some(between));
        }
        let between = match self.reader()?.conversation_of(id)? {
            Some(ConversationInfo::Direct(low, high)) => Between::Two(low, high),
            Some(ConversationInfo::Room { name, .. }) => Between::Room(name),
            None => return Ok(None),
        };
        self.conversations.insert(id, between.clone());
        Ok(Some(between))
    }

    /// Removes the name of an account that was deleted.
    pub(crate) fn forget(&mut self, id: AccountId) {
        self.accounts.remove(&id);
    }
}
