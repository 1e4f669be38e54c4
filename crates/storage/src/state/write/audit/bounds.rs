//! Forgets the oldest entries of the audit log.
//!
//! Always true: how many entries are kept depends on the log only; a new entry forgets at most two;
//! and refused acts beyond [`AUDIT_REFUSALS_KEPT_MAX`] push out each other, never an act that was
//! carried out.

use conclave_core::limits::{
    AUDIT_AGE_MS_MAX, AUDIT_AGED_EVERY, AUDIT_KEPT_MAX, AUDIT_REFUSALS_KEPT_MAX,
};
use rusqlite::Params;

use crate::state::{ApplyError, column::stored, write::writer::Writer};

impl Writer {
    /// Forgets what is beyond the number that is kept, after an entry was added.
    pub(super) fn bound_audit(&mut self) -> Result<(), ApplyError> {
        if self.meta.audit_refusals > AUDIT_REFUSALS_KEPT_MAX {
            let sql = "DELETE FROM audit WHERE sequence = (SELECT sequence FROM audit
                    INDEXED BY audit_refused
                    WHERE (refusal IS NOT NULL OR noted_refusal IS NOT NULL) AND sequence > 0
                    ORDER BY sequence LIMIT 1)
                RETURNING refusal IS NOT NULL OR noted_refusal IS NOT NULL";
            self.forget_audited(sql, [])?;
        }
        if self.meta.audit_entries > AUDIT_KEPT_MAX {
            let sql = "DELETE FROM audit WHERE sequence =
                    (SELECT sequence FROM audit WHERE sequence > 0 ORDER BY sequence LIMIT 1)
                RETURNING refusal IS NOT NULL OR noted_refusal IS NOT NULL";
            self.forget_audited(sql, [])?;
        }
        Ok(())
    }

    /// Forgets entries that are too old, at the end of some entries of the log.
    pub(in crate::state::write) fn age_audit(&mut self, index: u64) -> Result<(), ApplyError> {
        if !index.is_multiple_of(AUDIT_AGED_EVERY) || self.meta.audit_entries == 0 {
            return Ok(());
        }
        let before = self.meta.now.log_time.0.saturating_sub(AUDIT_AGE_MS_MAX);
        let sql = "DELETE FROM audit WHERE sequence IN
                (SELECT sequence FROM audit WHERE sequence > 0 ORDER BY sequence LIMIT ?1)
                AND log_time < ?2
            RETURNING refusal IS NOT NULL OR noted_refusal IS NOT NULL";
        self.forget_audited(sql, [AUDIT_AGED_EVERY, before].map(stored))
    }

    /// Counts what a statement deletes, which returns of each entry whether the act was refused.
    fn forget_audited(&mut self, sql: &str, params: impl Params) -> Result<(), ApplyError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let gone = statement.query_map(params, |row| row.get::<_, bool>(0))?;
        let gone = gone.collect::<rusqlite::Result<Vec<bool>>>()?;
        drop(statement);
        let refused = gone.iter().filter(|refused| **refused).count();
        self.meta.audit_entries -= gone.len() as u64;
        self.meta.audit_refusals -= refused as u64;
        Ok(())
    }
}
