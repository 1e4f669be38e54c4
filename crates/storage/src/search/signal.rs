//! The signals to the thread of the index: news, damage, or an end.
//!
//! Always true: signalling never waits longer than for a flag to be set.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

#[derive(Default)]
struct Flags {
    news: bool,
    damage: bool,
    stop: bool,
}

/// A few flags and a way to wait for them.
#[derive(Default)]
pub(super) struct Signal {
    flags: Mutex<Flags>,
    changed: Condvar,
}

impl Signal {
    fn flags(&self) -> MutexGuard<'_, Flags> {
        // Each change under the lock is one assignment, so a panic elsewhere leaves it whole.
        self.flags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signals that there is news. A second signal before the first is taken wakes no thread again.
    pub(super) fn notify(&self) {
        if !std::mem::replace(&mut self.flags().news, true) {
            self.changed.notify_all();
        }
    }

    pub(super) fn damaged(&self) {
        self.flags().damage = true;
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        self.flags().stop = true;
        self.changed.notify_all();
    }

    /// Returns whether a search has found damage, and forgets it.
    pub(super) fn take_damage(&self) -> bool {
        std::mem::take(&mut self.flags().damage)
    }

    /// Returns whether there was news before `wait` was over.
    pub(super) fn wait_for_news(&self, wait: Duration) -> bool {
        let mut flags = self.wait(wait, |flags| flags.news || flags.damage);
        std::mem::take(&mut flags.news)
    }

    /// Returns whether the thread has to end; waits for that signal, but no longer than `wait`.
    pub(super) fn wait_for_stop(&self, wait: Duration) -> bool {
        self.wait(wait, |_| false).stop
    }

    fn wait(&self, wait: Duration, until: impl Fn(&Flags) -> bool) -> MutexGuard<'_, Flags> {
        let is_early = |flags: &mut Flags| !flags.stop && !until(flags);
        let waited = self
            .changed
            .wait_timeout_while(self.flags(), wait, is_early);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
