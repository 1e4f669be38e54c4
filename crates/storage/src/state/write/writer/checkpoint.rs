//! Syncs what is applied into the database file, so that the log may forget it.
//!
//! A read that began before the last commit is in the way. Reads are short, but with enough of them
//! there is always one: after some tries in vain no new read begins until those under way have
//! ended.
//!
//! Always true: reads that have not begun wait [`HOLD`] at most, and are waited for that long at
//! most; after that a checkpoint is tried as before.

use std::time::Duration;

use rusqlite::Connection;

use super::State;
use crate::{
    fault::{self, Fault},
    state::{Checkpoint, CheckpointError, mark},
};

/// Tries in vain before reads are held back: a caller that rests 50 ms between two has waited for a
/// second.
const HOLD_AFTER: u32 = 20;

/// The same when holding reads back was in vain each time: a read that takes minutes (a snapshot)
/// is in the way, and the others need not suffer from it.
const HOLD_AFTER_MAX: u32 = 16 * HOLD_AFTER;

/// How long reads that have begun may take to end while no other begins.
const HOLD: Duration = Duration::from_millis(100);

/// Tries that a reader has kept from completing.
pub(super) struct Missed {
    tries: u32,
    hold_after: u32,
}

impl Default for Missed {
    fn default() -> Self {
        Self {
            tries: 0,
            hold_after: HOLD_AFTER,
        }
    }
}

impl Missed {
    /// Counts one more; returns whether reads are to be held back now.
    fn again(&mut self) -> bool {
        self.tries += 1;
        if self.tries < self.hold_after {
            return false;
        }
        self.tries = 0;
        self.hold_after = (2 * self.hold_after).min(HOLD_AFTER_MAX);
        true
    }
}

impl State {
    /// Writes everything applied so far and syncs it into `state.db`, if no reader is in the way.
    /// If one was in the way of many calls in a row, this one holds new reads back for a moment.
    ///
    /// # Errors
    /// See [`CheckpointError`]: the node must stop, unless the disk is full.
    pub fn checkpoint(&mut self) -> Result<Checkpoint, CheckpointError> {
        self.write()?;
        let mut alone = self.checkpointer.alone();
        if let Some(failure) = alone.take_failure() {
            return Err(failure.into());
        }
        let writer = self.writer.as_ref().ok_or(CheckpointError::Closed)?;
        let mut complete = self.full_checkpoint(&writer.connection)?;
        if !complete && self.missed.again() {
            let held = self.pool.hold(HOLD);
            complete = held.is_alone() && self.full_checkpoint(&writer.connection)?;
        }
        drop(alone);
        if complete {
            self.missed = Missed::default();
            self.synced_through = self.applied.last;
            self.mark();
        }
        Ok(Checkpoint {
            synced_through: self.synced_through,
            complete,
        })
    }

    fn full_checkpoint(&self, connection: &Connection) -> Result<bool, CheckpointError> {
        checkpoint(connection, "FULL").map_err(|error| {
            let (fault, why) = fault::judge(&self.path, &error);
            if fault == Fault::Full {
                return CheckpointError::Full(why);
            }
            self.pool.remember(fault, why);
            error.into()
        })
    }

    /// Notes that everything so far is synced.
    fn mark(&self) {
        let Some(last) = self.applied.last else {
            return;
        };
        // Without it a damage may show later, and nothing else depends on it.
        if let Err(error) = mark::note(&self.path, last.index) {
            tracing::warn!(%error, "failed to record the position of the database");
        }
    }
}

/// Moves the write-ahead log into the database and syncs it; `false` if a reader was in the way.
pub(crate) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    // A reader may pin an old state for minutes (a snapshot): do not wait for it.
    let wait: i64 = connection.pragma_query_value(None, "busy_timeout", |row| row.get(0))?;
    connection.pragma_update(None, "busy_timeout", 0)?;
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let outcome = connection.query_row(&sql, [], |row| {
        let busy: i64 = row.get(0)?;
        let (frames, moved): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(busy == 0 && frames == moved && frames >= 0)
    });
    connection.pragma_update(None, "busy_timeout", wait)?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_held_back_less_often_when_that_is_in_vain() {
        let mut missed = Missed::default();
        let mut tries_until = || (1..).find(|_| missed.again()).unwrap();
        let tries = [(); 6].map(|()| tries_until());
        assert_eq!(tries, [20, 40, 80, 160, 320, 320]);
    }
}
