//! Remembers answers, so that a retry gets the first one.
//!
//! Always true: a session has at most `REQUEST_WINDOW` rows, and each pool of requests outside of
//! sessions at most as many as it may hold. A full pool pushes out its own answers alone.

use conclave_core::{
    Command, Decision, OnceId, OncePool, Origin,
    limits::{ONCE_REMOVED_MAX, REQUEST_WINDOW},
};
use rusqlite::params;

use super::writer::Writer;
use crate::state::{
    ApplyError,
    column::{bits, count, number, stored},
};

impl Writer {
    /// Keeps the answer of a command that was executed in the entry `log_index`.
    pub(crate) fn remember(
        &mut self,
        log_index: u64,
        command: &Command,
        decision: &Decision,
        answer: &[u8],
    ) -> Result<(), ApplyError> {
        let digest = bits(command.digest.0);
        match command.origin {
            Origin::Session { session, number } => {
                let sql = "INSERT INTO answers (session, slot, number, digest, answer, log_index)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                    ON CONFLICT (session, slot) DO UPDATE SET
                        number = excluded.number, digest = excluded.digest,
                        answer = excluded.answer, log_index = excluded.log_index";
                let [id, slot, used, index] =
                    [session.0, number % REQUEST_WINDOW, number, log_index].map(stored);
                self.run(sql, params![id, slot, used, digest, answer, index])?;
                self.in_cache(session, |row| row.requests.record(number));
                Ok(())
            }
            Origin::Once(id) => self.remember_once(log_index, id, decision.pool, digest, answer),
        }
    }

    fn remember_once(
        &mut self,
        log_index: u64,
        id: OnceId,
        pool: OncePool,
        digest: i64,
        answer: &[u8],
    ) -> Result<(), ApplyError> {
        // The same bits may have a row that is forgotten but not yet removed.
        let sql = "DELETE FROM once_answers WHERE id = ?1 RETURNING pool";
        self.remove_once(sql, [id.0])?;
        self.meta.once_last += 1;
        let sql =
            "INSERT INTO once_answers (number, id, pool, digest, answer, log_index, forget_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let (row, index) = (stored(self.meta.once_last), stored(log_index));
        let forget_at = stored(self.meta.now.log_time.plus_ms(pool.answer_ms()).0);
        let number = pool_number(pool);
        self.run(
            sql,
            params![row, id.0, number, digest, answer, index, forget_at],
        )?;
        let sql = "INSERT INTO once_pools (pool, answers) VALUES (?1, 1)
            ON CONFLICT (pool) DO UPDATE SET answers = answers + 1";
        self.run(sql, [number])?;
        if self.once_answers_in(pool)? > pool.answers_max() {
            let sql = "DELETE FROM once_answers
                WHERE number = (SELECT min(number) FROM once_answers WHERE pool = ?1)
                RETURNING pool";
            self.remove_once(sql, [number])?;
        }
        Ok(())
    }

    /// Removes some answers whose time has come.
    pub(crate) fn forget_once_answers(&mut self) -> Result<(), ApplyError> {
        let sql = "DELETE FROM once_answers WHERE number IN
            (SELECT number FROM once_answers WHERE forget_at <= ?1
                ORDER BY forget_at, number LIMIT ?2)
            RETURNING pool";
        let now = stored(self.meta.now.log_time.0);
        self.remove_once(sql, params![now, count(ONCE_REMOVED_MAX)])
    }

    /// Removes the answers that a statement deletes, and counts them out of the pools that it
    /// returns.
    fn remove_once(&self, sql: &str, params: impl rusqlite::Params) -> Result<(), ApplyError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let pools = statement.query_map(params, |row| number(row, 0))?;
        for pool in pools.collect::<rusqlite::Result<Vec<u64>>>()? {
            let pool = stored(pool);
            let sql = "UPDATE once_pools SET answers = answers - 1 WHERE pool = ?1";
            self.run(sql, [pool])?;
            let sql = "DELETE FROM once_pools WHERE pool = ?1 AND answers = 0";
            self.run(sql, [pool])?;
        }
        Ok(())
    }

    /// Returns how many answers a pool holds.
    pub(crate) fn once_answers_in(&self, pool: OncePool) -> rusqlite::Result<u64> {
        let sql = "SELECT coalesce(max(answers), 0) FROM once_pools WHERE pool = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_row([pool_number(pool)], |row| number(row, 0))
    }
}

/// Returns the number of a pool in its column.
fn pool_number(pool: OncePool) -> crate::state::column::Stored {
    stored(match pool {
        OncePool::Lasting => 0,
        OncePool::Brief => 1,
        OncePool::Webhook(webhook) => webhook.0.saturating_add(1),
    })
}
