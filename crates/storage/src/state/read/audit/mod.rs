//! Questions about the audit log.
//!
//! Always true: a page looks at a bounded number of entries, whatever is asked for.

use conclave_core::{Timestamp, answer, limits::PAGE_MAX};
use rusqlite::{Result, Row, params};

use crate::state::{
    ReadError, Reader,
    audited::{AuditActor, AuditFilter, AuditPage, AuditRefusal, AuditRow},
    column::{bound, count, number, number_or_none},
};

/// Entries that one page looks at: some milliseconds.
const SCANNED_MAX: usize = 8192;

impl Reader {
    /// Returns entries of the audit log, the newest first: at most `limit` with a number below
    /// `before`, or the newest ones.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn audit(
        &self,
        before: Option<u64>,
        filter: &AuditFilter,
        limit: usize,
    ) -> std::result::Result<AuditPage, ReadError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let sql = "SELECT sequence, log_index, log_time, date, actor_kind, actor, actor_name, act,
                target, detail, refusal, noted_refusal
            FROM audit WHERE sequence < ?1 ORDER BY sequence DESC LIMIT ?2";
        self.read(|c| {
            let mut page = AuditPage::default();
            let mut statement = c.prepare_cached(sql)?;
            let before = bound(before.unwrap_or(u64::MAX));
            let mut rows = statement.query(params![before, count(SCANNED_MAX)])?;
            let mut scanned = 0;
            while let Some(row) = rows.next()? {
                let row = audited(row)?;
                scanned += 1;
                let sequence = row.sequence;
                if matches(filter, &row) {
                    page.rows.push(row);
                }
                if page.rows.len() == limit || scanned == SCANNED_MAX {
                    // The first one ever has number 1.
                    page.next_before = Some(sequence).filter(|sequence| *sequence > 1);
                    break;
                }
            }
            Ok(page)
        })
    }
}

fn matches(filter: &AuditFilter, row: &AuditRow) -> bool {
    let is_by = match &row.actor {
        _ if filter.actor.is_empty() => true,
        AuditActor::Account { name, .. } | AuditActor::Operator(name) => {
            name.eq_ignore_ascii_case(&filter.actor)
        }
        AuditActor::Cluster | AuditActor::Node(_) | AuditActor::Unknown => false,
    };
    is_by
        && (filter.act.is_empty() || filter.act == row.act)
        && row.date >= filter.since
        && filter.until.is_none_or(|until| row.date < until)
}

fn audited(row: &Row<'_>) -> Result<AuditRow> {
    let refusal: Option<Vec<u8>> = row.get(10)?;
    let noted: Option<String> = row.get(11)?;
    // Bytes that no version makes are a damage, which the digest finds; the entry is shown.
    let by_the_log = |bytes: Vec<u8>| match answer::decode(&bytes) {
        Ok(answer) => AuditRefusal::ByTheLog(answer),
        Err(_) => AuditRefusal::Noted(String::new()),
    };
    Ok(AuditRow {
        sequence: number(row, 0)?,
        log_index: number(row, 1)?,
        log_time: Timestamp(number(row, 2)?),
        date: Timestamp(number(row, 3)?),
        actor: AuditActor::of_columns(row.get(4)?, number_or_none(row, 5)?, row.get(6)?),
        act: row.get(7)?,
        target: row.get(8)?,
        detail: row.get(9)?,
        refusal: noted.map(AuditRefusal::Noted).or(refusal.map(by_the_log)),
    })
}
