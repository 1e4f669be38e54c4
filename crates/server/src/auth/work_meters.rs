//! The work of this node for each account.
//!
//! Always true: the number of accounts in memory is bounded.

use std::sync::{Arc, Mutex, PoisonError};

use conclave_core::AccountId;

use crate::base::{
    bounded_map::BoundedMap,
    work_meter::{WorkMeter, WorkRules},
};

/// Maximum number of accounts in memory. At the bound, accounts that have worked little lately are
/// removed; if there are none, the work for a new account is not counted.
const KEPT_MAX: usize = 65_536;

/// Work meters by account. Clones share them.
#[derive(Clone)]
pub(crate) struct WorkMeters {
    of: Arc<Mutex<BoundedMap<AccountId, Arc<WorkMeter>>>>,
    rules: Arc<WorkRules>,
}

impl Default for WorkMeters {
    fn default() -> Self {
        Self {
            of: Arc::new(Mutex::new(BoundedMap::new(KEPT_MAX))),
            rules: Arc::default(),
        }
    }
}

impl WorkMeters {
    /// Returns the meter of an account.
    pub(crate) fn of(&self, account: AccountId) -> Arc<WorkMeter> {
        let mut all = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let is_needed = |meter: &Arc<WorkMeter>| meter.is_in_use() || Arc::strong_count(meter) > 1;
        let new = || Arc::new(WorkMeter::new(&self.rules));
        let found = all.entry(account, is_needed, new).cloned();
        found.unwrap_or_else(new)
    }

    /// Returns what all meters share.
    pub(crate) fn rules(&self) -> &WorkRules {
        &self.rules
    }
}
