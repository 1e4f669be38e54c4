//! Rows that the writer keeps in memory, so that deciding costs no query in the steady state.
//!
//! Always true: what is here equals what is in the open transaction. A cache may lose anything at
//! any time without changing a result.

use std::{collections::HashMap, hash::Hash};

use conclave_core::{
    Account, AccountId, Allowance, Conversation, ConversationId, Membership, Session, SessionId,
};

/// A map that is emptied when it is full: simple, and rare enough at its size.
pub(crate) struct Bounded<K, V> {
    map: HashMap<K, V>,
    rows_max: usize,
}

impl<K: Hash + Eq, V> Bounded<K, V> {
    fn new(rows_max: usize) -> Self {
        Self {
            map: HashMap::new(),
            rows_max: rows_max.max(1),
        }
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.map.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.map.len() >= self.rows_max && !self.map.contains_key(&key) {
            self.map.clear();
        }
        self.map.insert(key, value);
    }

    pub(crate) fn clear(&mut self) {
        self.map.clear();
    }

    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        self.map.remove(key);
    }
}

/// One map per kind of row that rules read often.
pub(crate) struct Caches {
    pub(crate) accounts: Bounded<AccountId, Account>,
    pub(crate) keys: Bounded<String, AccountId>,
    pub(crate) sessions: Bounded<SessionId, Session>,
    pub(crate) conversations: Bounded<ConversationId, Conversation>,
    pub(crate) directs: Bounded<(AccountId, AccountId), ConversationId>,
    pub(crate) members: Bounded<(ConversationId, AccountId), Membership>,
    pub(crate) room_keys: Bounded<String, ConversationId>,
    /// Whether the first has blocked the second.
    pub(crate) blocks: Bounded<(AccountId, AccountId), bool>,
    pub(crate) allowances: Bounded<AccountId, Allowance>,
}

impl Caches {
    pub(crate) fn new(rows_max: usize) -> Self {
        Self {
            accounts: Bounded::new(rows_max),
            keys: Bounded::new(rows_max),
            sessions: Bounded::new(rows_max),
            conversations: Bounded::new(rows_max),
            directs: Bounded::new(rows_max),
            members: Bounded::new(rows_max),
            room_keys: Bounded::new(rows_max),
            blocks: Bounded::new(rows_max),
            allowances: Bounded::new(rows_max),
        }
    }
}
