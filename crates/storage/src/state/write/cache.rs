//! Rows that the writer keeps in memory, so that deciding costs no query in the steady state.
//!
//! Always true: what is here equals what is in the open transaction. A cache may lose anything at
//! any time without changing a result.

use conclave_core::{
    Account, AccountId, Allowance, Conversation, ConversationId, Membership, Session, SessionId,
};

use crate::RecentMap;

/// One map per kind of row that rules read often.
pub(crate) struct Caches {
    pub(crate) accounts: RecentMap<AccountId, Account>,
    pub(crate) keys: RecentMap<String, AccountId>,
    pub(crate) sessions: RecentMap<SessionId, Session>,
    pub(crate) conversations: RecentMap<ConversationId, Conversation>,
    pub(crate) directs: RecentMap<(AccountId, AccountId), ConversationId>,
    pub(crate) members: RecentMap<(ConversationId, AccountId), Membership>,
    pub(crate) room_keys: RecentMap<String, ConversationId>,
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
            blocks: RecentMap::new(rows_max),
            allowances: RecentMap::new(rows_max),
        }
    }
}
