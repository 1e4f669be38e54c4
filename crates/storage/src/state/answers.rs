//! Remembers answers, so that a retry gets the first one.
//!
//! Always true: a session has at most `REQUEST_WINDOW` rows; requests outside sessions have at
//! most `ONCE_ANSWERS_MAX` rows.

use conclave_core::{
    Command, OnceId, Origin,
    limits::{ONCE_ANSWER_MS, ONCE_ANSWERS_MAX, REQUEST_WINDOW},
};
use rusqlite::params;

use super::{ApplyError, column::bits, column::count, column::stored, writer::Writer};

/// Forgotten answers that one insertion removes: more than one, so that a backlog shrinks.
const ONCE_REMOVED_MAX: usize = 2;

impl Writer {
    /// Keeps the answer of a command that was executed.
    pub(super) fn remember(&mut self, command: &Command, json: &str) -> Result<(), ApplyError> {
        let digest = bits(command.digest.0);
        match command.origin {
            Origin::Session { session, number } => {
                let sql = "INSERT INTO answers (session, slot, number, digest, answer)
                    VALUES (?1, ?2, ?3, ?4, ?5)
                    ON CONFLICT (session, slot) DO UPDATE SET
                        number = excluded.number, digest = excluded.digest,
                        answer = excluded.answer";
                let [id, slot, used] = [session.0, number % REQUEST_WINDOW, number].map(stored);
                self.run(sql, params![id, slot, used, digest, json])?;
                self.in_cache(session, |row| row.requests.record(number));
                Ok(())
            }
            Origin::Once(id) => self.remember_once(id, digest, json),
        }
    }

    fn remember_once(&mut self, id: OnceId, digest: i64, json: &str) -> Result<(), ApplyError> {
        // The same bits may have a row that is forgotten but not yet removed.
        let replaced = self.run("DELETE FROM once_answers WHERE id = ?1", [id.0])?;
        self.meta.once_answers -= replaced as u64;
        self.meta.once_last += 1;
        let sql = "INSERT INTO once_answers (number, id, digest, answer, at)
            VALUES (?1, ?2, ?3, ?4, ?5)";
        let (number, at) = (
            stored(self.meta.once_last),
            stored(self.meta.now.log_time.0),
        );
        self.run(sql, params![number, id.0, digest, json, at])?;
        self.meta.once_answers += 1;

        let surplus = self.meta.once_answers.saturating_sub(ONCE_ANSWERS_MAX);
        let sql = "DELETE FROM once_answers WHERE number IN
            (SELECT number FROM once_answers ORDER BY number LIMIT ?1)";
        let over = if surplus > 0 {
            self.run(sql, [stored(surplus)])?
        } else {
            0
        };
        let Some(forgotten_at) = self.meta.now.log_time.0.checked_sub(ONCE_ANSWER_MS) else {
            self.meta.once_answers -= over as u64;
            return Ok(());
        };
        // Log time never runs backwards, so the oldest are those with the lowest numbers.
        let sql = "DELETE FROM once_answers WHERE at <= ?2 AND number IN
            (SELECT number FROM once_answers ORDER BY number LIMIT ?1)";
        let limit = count(ONCE_REMOVED_MAX);
        let old = self.run(sql, params![limit, stored(forgotten_at)])?;
        self.meta.once_answers -= (over + old) as u64;
        Ok(())
    }
}
