//! Names for numbers: what an event of the log needs to be told to people.
//!
//! Names of accounts and rooms never change while these exist, and numbers are never used again,
//! so what was read once stays true until a deletion is told. At its bound the memory is emptied.

use std::collections::HashMap;

use conclave_core::{AccountId, ConversationId};
use conclave_replica::rows::{ConversationInfo, ReadError, Reader};

/// Names of each kind that are kept.
const KEPT_MAX: usize = 65_536;

/// See the head of this file.
pub(crate) struct Directory {
    pub(crate) reader: Reader,
    accounts: HashMap<AccountId, String>,
    conversations: HashMap<ConversationId, Between>,
}

/// Between whom a conversation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    Two(AccountId, AccountId),
    Room(String),
}

impl Directory {
    pub(crate) fn new(reader: Reader) -> Self {
        Self {
            reader,
            accounts: HashMap::new(),
            conversations: HashMap::new(),
        }
    }

    /// The name of an account; `None` if it was deleted.
    pub(crate) fn account(&mut self, id: AccountId) -> Result<Option<String>, ReadError> {
        if let Some(name) = self.accounts.get(&id) {
            return Ok(Some(name.clone()));
        }
        let Some(row) = self.reader.account(id)? else {
            return Ok(None);
        };
        make_room(&mut self.accounts);
        self.accounts.insert(id, row.name.clone());
        Ok(Some(row.name))
    }

    /// Between whom a conversation is; `None` if it was removed.
    pub(crate) fn conversation(
        &mut self,
        id: ConversationId,
    ) -> Result<Option<Between>, ReadError> {
        if let Some(between) = self.conversations.get(&id) {
            return Ok(Some(between.clone()));
        }
        let between = match self.reader.conversation_of(id)? {
            Some(ConversationInfo::Direct(low, high)) => Between::Two(low, high),
            Some(ConversationInfo::Room { name, .. }) => Between::Room(name),
            None => return Ok(None),
        };
        make_room(&mut self.conversations);
        self.conversations.insert(id, between.clone());
        Ok(Some(between))
    }

    /// An account was deleted.
    pub(crate) fn forget(&mut self, id: AccountId) {
        self.accounts.remove(&id);
    }
}

fn make_room<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= KEPT_MAX {
        map.clear();
    }
}
