//! Rows that the writer keeps in memory, so that deciding costs no query in the steady state.
//!
//! Always true: what is here equals what is in the open transaction. A cache may lose anything at
//! any time without changing a result.

use conclave_core::{
    Account, AccountId, Allowance, Conversation, ConversationId, Membership, Session, SessionId,
    limits::ROOMS_PER_ACCOUNT_MAX,
};

use crate::RecentMap;

/// A list of rooms takes up to this many times as much memory as a row.
const ROWS_PER_LIST: usize = 16;

/// One map per kind of row that rules read often.
pub(crate) struct Caches {
    pub(crate) accounts: RecentMap<AccountId, Account>,
    pub(crate) keys: RecentMap<String, AccountId>,
    pub(crate) sessions: RecentMap<SessionId, Session>,
    pub(crate) conversations: RecentMap<ConversationId, Conversation>,
    pub(crate) directs: RecentMap<(AccountId, AccountId), ConversationId>,
    pub(crate) members: RecentMap<(ConversationId, AccountId), Membership>,
    pub(crate) room_keys: RecentMap<String, ConversationId>,
    /// The rooms of an account in the order of their numbers, all of them. The table has them
    /// among its direct conversations, of which there may be thousands.
    pub(crate) rooms_of: RecentMap<AccountId, Vec<ConversationId>>,
    /// Whether the first has blocked the second.
    pub(crate) blocks: RecentMap<(AccountId, AccountId), bool>,
    pub(crate) allowances: RecentMap<AccountId, Allowance>,
}

impl Caches {
    pub(crate) fn new(rows_max: usize) -> Self {
        Self {
            accounts: RecentMap::new(rows_max),
            keys: RecentMap::new(rows_max),
            sessions: RecentMap::new(rows_max),
            conversations: RecentMap::new(rows_max),
            directs: RecentMap::new(rows_max),
            members: RecentMap::new(rows_max),
            room_keys: RecentMap::new(rows_max),
            rooms_of: RecentMap::new(rows_max / ROWS_PER_LIST),
            blocks: RecentMap::new(rows_max),
            allowances: RecentMap::new(rows_max),
        }
    }

    /// Keeps the rooms of an account, if there are no more than the rules allow.
    pub(crate) fn keep_rooms(&mut self, account: AccountId, rooms: &[ConversationId]) {
        if rooms.len() as u64 <= ROOMS_PER_ACCOUNT_MAX {
            self.rooms_of.insert(account, rooms.to_vec());
        }
    }

    /// Adds a room to those of an account that are kept.
    pub(crate) fn add_room(&mut self, account: AccountId, room: ConversationId) {
        let Some(rooms) = self.rooms_of.get_mut(&account) else {
            return;
        };
        if let Err(place) = rooms.binary_search(&room) {
            rooms.insert(place, room);
        }
        if rooms.len() as u64 > ROOMS_PER_ACCOUNT_MAX {
            self.rooms_of.remove(&account);
        }
    }

    /// Takes a conversation, perhaps a room, from those of an account that are kept.
    pub(crate) fn remove_room(&mut self, account: AccountId, id: ConversationId) {
        if let Some(rooms) = self.rooms_of.get_mut(&account)
            && let Ok(place) = rooms.binary_search(&id)
        {
            rooms.remove(place);
        }
    }
}
