//! Writes sessions: opened, renewed, closed, forgotten.

use conclave_core::{Session, SessionEvent, SessionId};
use rusqlite::params;

use crate::state::{ApplyError, column::stored, write::writer::Writer};

impl Writer {
    pub(super) fn write_session(&mut self, event: &SessionEvent) -> Result<(), ApplyError> {
        match event {
            SessionEvent::Opened {
                session,
                account,
                token,
                label,
                at,
                began_at,
                expires_at,
            } => {
                let sql = "INSERT INTO sessions
                        (id, account, token, opened_at, expires_at, closed, label, began_at,
                        used_at)
                    VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?7)";
                let [id, of] = [session.0, account.0].map(stored);
                let [since, began, until] = [at.0, began_at.0, expires_at.0].map(stored);
                let row = params![id, of, token.0, since, until, label.as_str(), began];
                self.change_one(sql, row)?;
                self.meta.session_last = *session;
                let row = Session {
                    id: *session,
                    account: *account,
                    closed: false,
                    expires_at: *expires_at,
                    began_at: *began_at,
                    used_at: *began_at,
                    requests: Default::default(),
                };
                self.caches.get_mut().sessions.insert(*session, row);
                Ok(())
            }
            SessionEvent::Renewed {
                session,
                expires_at,
                used_at,
            } => {
                let sql = "UPDATE sessions SET expires_at = ?2, used_at = ?3 WHERE id = ?1";
                self.change_one(sql, [session.0, expires_at.0, used_at.0].map(stored))?;
                self.in_cache(*session, |row| {
                    row.expires_at = *expires_at;
                    row.used_at = *used_at;
                });
                Ok(())
            }
            SessionEvent::Closed { session, forget_at } => {
                let sql = "UPDATE sessions SET expires_at = ?2, closed = 1 WHERE id = ?1";
                self.change_one(sql, [stored(session.0), stored(forget_at.0)])?;
                self.in_cache(*session, |row| {
                    row.expires_at = *forget_at;
                    row.closed = true;
                });
                Ok(())
            }
            SessionEvent::Forgotten { session } => {
                let id = stored(session.0);
                self.change_one("DELETE FROM sessions WHERE id = ?1", [id])?;
                self.run("DELETE FROM answers WHERE session = ?1", [id])?;
                self.caches.get_mut().sessions.remove(session);
                Ok(())
            }
        }
    }

    /// Changes a session's cached row, if it is cached.
    pub(in crate::state) fn in_cache(&mut self, id: SessionId, change: impl FnOnce(&mut Session)) {
        if let Some(row) = self.caches.get_mut().sessions.get_mut(&id) {
            change(row);
        }
    }
}
