//! Writes what accounts have used of what they may: one row for each account that has used
//! something, written once per transaction.
//!
//! Always true: what a writer holds is what the rows say after the transaction is committed,
//! whatever entries it holds.

use std::collections::btree_map::Entry;

use conclave_core::{AccountId, AccountLimits, Allowance};
use rusqlite::{OptionalExtension as _, Result, params};

use super::super::{
    ApplyError,
    column::{sought, stored},
};
use crate::state::{read::allowances::allowance, write::writer::Writer};

/// The columns are in the order of [`Allowance::full_at`], between the account and the totals.
const SAVE: &str = "
INSERT OR REPLACE INTO allowances
    (account, messages, bytes, edits, reactions, deletions, positions, rooms, changes,
     conversations, stored_bytes)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

impl Writer {
    /// Returns what an account has used, if it has used anything.
    pub(in crate::state) fn allowance_of(&self, account: AccountId) -> Result<Option<Allowance>> {
        if let Some(changed) = self.allowances.get(&account) {
            return Ok(Some(*changed));
        }
        let known = self.caches.borrow_mut().allowances.get(&account);
        if known.is_some() {
            return Ok(known);
        }
        let sql = "SELECT * FROM allowances WHERE account = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row([sought(account.0)], allowance);
        let found = found.optional()?;
        if let Some(found) = found {
            let mut caches = self.caches.borrow_mut();
            caches.allowances.insert(account, found);
        }
        Ok(found)
    }

    /// Notes what an account has used.
    pub(in crate::state) fn set_allowance(&mut self, account: AccountId, allowance: Allowance) {
        self.allowances.insert(account, allowance);
    }

    /// Counts bytes that an account keeps, or keeps no longer; nothing of one that is gone.
    pub(in crate::state) fn count_stored(
        &mut self,
        account: AccountId,
        more: u64,
        less: u64,
    ) -> Result<(), ApplyError> {
        let known = self.allowance_of(account)?;
        match (self.allowances.entry(account), known) {
            (Entry::Occupied(mut row), _) => change(row.get_mut(), more, less),
            (Entry::Vacant(place), Some(mut known)) => {
                change(&mut known, more, less);
                place.insert(known);
            }
            (Entry::Vacant(_), None) => {}
        }
        Ok(())
    }

    pub(in crate::state) fn forget_allowance(
        &mut self,
        account: AccountId,
    ) -> Result<(), ApplyError> {
        self.allowances.remove(&account);
        self.caches.get_mut().allowances.remove(&account);
        let sql = "DELETE FROM allowances WHERE account = ?1";
        self.run(sql, [stored(account.0)])?;
        Ok(())
    }

    /// Writes what was changed; called once, at the end of the transaction.
    pub(in crate::state) fn save_allowances(&mut self) -> Result<(), ApplyError> {
        if self.allowances.is_empty() {
            return Ok(());
        }
        let mut statement = self.connection.prepare_cached(SAVE)?;
        let caches = self.caches.get_mut();
        for (account, used) in std::mem::take(&mut self.allowances) {
            let at = used.full_at.map(stored);
            statement.execute(params![
                stored(account.0),
                at[0],
                at[1],
                at[2],
                at[3],
                at[4],
                at[5],
                at[6],
                at[7],
                stored(used.conversations),
                stored(used.stored_bytes),
            ])?;
            caches.allowances.insert(account, used);
        }
        Ok(())
    }

    pub(super) fn write_account_limits(&mut self, limits: AccountLimits) -> Result<(), ApplyError> {
        let sql = "INSERT OR REPLACE INTO account_limits (number, value) VALUES (?1, ?2)";
        for (limit, value) in limits.iter() {
            self.change_one(sql, [limit.number(), value].map(stored))?;
        }
        self.limits = limits;
        Ok(())
    }
}

fn change(allowance: &mut Allowance, more: u64, less: u64) {
    let stored = allowance.stored_bytes.saturating_add(more);
    allowance.stored_bytes = stored.saturating_sub(less);
}
