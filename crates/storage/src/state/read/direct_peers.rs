//! Questions of a node's live part: which accounts have a conversation with an account.

use conclave_core::{AccountId, limits::PAGE_MAX};
use rusqlite::{Result, params};

use crate::state::{
    ReadError, Reader,
    column::{count, number, sought},
};

impl Reader {
    /// Returns the accounts with which an account has a direct conversation and which it has not
    /// blocked, in order of their numbers; at most [`PAGE_MAX`], the last ones.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn direct_peers(
        &self,
        account: AccountId,
    ) -> std::result::Result<Vec<AccountId>, ReadError> {
        let sql = "SELECT c.direct_low + c.direct_high - ?1
            FROM members m JOIN conversations c ON c.id = m.conversation
            WHERE m.account = ?1 AND c.direct_low IS NOT NULL AND c.direct_low <> c.direct_high
                AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.account = ?1
                    AND b.other = c.direct_low + c.direct_high - ?1)
            ORDER BY m.conversation DESC LIMIT ?2";
        let mut peers = self.read(|c| {
            let mut statement = c.prepare_cached(sql)?;
            let key = params![sought(account.0), count(PAGE_MAX)];
            let rows = statement.query_map(key, |row| number(row, 0).map(AccountId))?;
            rows.collect::<Result<Vec<_>>>()
        })?;
        peers.sort_unstable();
        Ok(peers)
    }
}
