//! Removes what deleted accounts left behind, a few rows per log entry.
//!
//! Always true: how much goes depends on the entries only, never on how they are grouped into
//! transactions; and no entry removes more than `SWEEP_ROWS_PER_ENTRY` rows of messages or of
//! hidden messages.

use conclave_core::{AccountId, ConversationId, limits::SWEEP_ROWS_PER_ENTRY};
use rusqlite::params;

use super::{
    ApplyError,
    column::{count, number, number_or_none, stored},
    writer::Writer,
};

impl Writer {
    /// Sweeps once; called at the end of every entry.
    pub(super) fn sweep(&mut self) -> Result<(), ApplyError> {
        if self.meta.orphans == 0 {
            return Ok(());
        }
        let sql = "SELECT number, conversation, account FROM orphans ORDER BY number LIMIT 1";
        let (first, conversation, account) =
            self.connection.prepare_cached(sql)?.query_row([], |row| {
                Ok((
                    number(row, 0)?,
                    number_or_none(row, 1)?,
                    number_or_none(row, 2)?,
                ))
            })?;
        let is_done = match (conversation, account) {
            (Some(id), None) => self.sweep_conversation(ConversationId(id))?,
            (None, Some(id)) => self.sweep_hidden(AccountId(id))?,
            _ => return Err(ApplyError::Contradiction("an orphan is not one thing")),
        };
        if is_done {
            self.run("DELETE FROM orphans WHERE number = ?1", [stored(first)])?;
            self.meta.orphans -= 1;
        }
        Ok(())
    }

    fn sweep_conversation(&mut self, id: ConversationId) -> Result<bool, ApplyError> {
        let limit = count(SWEEP_ROWS_PER_ENTRY);
        for table in ["mentions", "reactions", "reaction_counts"] {
            let sql = format!(
                "DELETE FROM {table} WHERE conversation = ?1 AND sequence IN
                (SELECT sequence FROM messages WHERE conversation = ?1 ORDER BY sequence LIMIT ?2)"
            );
            self.run(&sql, params![stored(id.0), limit])?;
        }
        let sql = "DELETE FROM messages WHERE position IN
            (SELECT position FROM messages WHERE conversation = ?1 ORDER BY sequence LIMIT ?2)";
        let swept = self.run(sql, params![stored(id.0), limit])?;
        self.caches.get_mut().conversations.remove(&id);
        let is_done = swept < SWEEP_ROWS_PER_ENTRY;
        if is_done {
            self.run("DELETE FROM conversations WHERE id = ?1", [stored(id.0)])?;
        }
        Ok(is_done)
    }

    fn sweep_hidden(&mut self, account: AccountId) -> Result<bool, ApplyError> {
        let sql = "DELETE FROM hidden WHERE account = ?1 AND (account, conversation, sequence) IN
            (SELECT account, conversation, sequence FROM hidden WHERE account = ?1
                ORDER BY conversation, sequence LIMIT ?2)";
        let limit = count(SWEEP_ROWS_PER_ENTRY);
        let swept = self.run(sql, params![stored(account.0), limit])?;
        Ok(swept < SWEEP_ROWS_PER_ENTRY)
    }
}
