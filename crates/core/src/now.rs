//! The two times of a log entry: how much time has passed, and which date it is.
//!
//! **Log time** measures durations: what expires, what has to wait and what is forgotten. It never
//! runs backwards and goes on at the pace of time, whatever happens to clocks. **Dates** are what
//! people are shown: they follow the clocks of the voters, and go back when those go back.
//!
//! Always true: both follow from what the entries say; a rule that compares times reads log time,
//! and nothing is ordered by a date.

use crate::{
    Batch, Timestamp,
    limits::{DATE_STANDS_MS, DATE_STEADY_MS, LOG_TIME_MAX_MS},
};

/// The times of one log entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// How much time has passed: never less than in the entry before.
    pub log_time: Timestamp,
    /// What people are shown.
    pub date: Timestamp,
}

impl Now {
    /// Returns the times of the entry that holds `batch`, if these are those of the one before. A
    /// batch that says neither, with zeros, changes neither.
    #[must_use]
    pub fn next(self, batch: &Batch) -> Self {
        self.at(batch.proposed_at, batch.date)
    }

    /// Returns the times of the next entry, if the entry says these. A date of zero says nothing.
    #[must_use]
    pub fn at(self, proposed_at: Timestamp, date: Timestamp) -> Self {
        let date = date.min(Timestamp(LOG_TIME_MAX_MS));
        let log_time = log_time(self.log_time, proposed_at);
        // Two readings of a clock differ a little, and the date at which a session ends must not
        // change with every entry.
        let steady = self.steady_date(log_time);
        let jitter = date < self.date && self.date <= date.plus_ms(DATE_STANDS_MS);
        let date = if date == Timestamp(0) {
            self.date
        } else if date.0.abs_diff(steady.0) <= DATE_STEADY_MS {
            steady.min(Timestamp(LOG_TIME_MAX_MS))
        } else if jitter {
            self.date
        } else {
            date
        };
        Self { log_time, date }
    }

    /// Returns the date at `log_time`, if dates keep their distance to log time.
    #[must_use]
    pub fn steady_date(self, log_time: Timestamp) -> Timestamp {
        self.date
            .plus_ms(log_time.0.saturating_sub(self.log_time.0))
    }

    /// Returns the date of a moment in log time. The end of log time, which means never, stays what
    /// it is.
    #[must_use]
    pub fn date_of(self, moment: Timestamp) -> Timestamp {
        if moment > self.log_time && moment.0 >= LOG_TIME_MAX_MS {
            return moment;
        }
        match moment.0.checked_sub(self.log_time.0) {
            Some(later) => self.date.plus_ms(later),
            None => Timestamp(self.date.0.saturating_sub(self.log_time.0 - moment.0)),
        }
    }
}

/// Returns the log time of a batch: never earlier than the one before, whatever the leader says.
fn log_time(before: Timestamp, proposed_at: Timestamp) -> Timestamp {
    before.max(proposed_at.min(Timestamp(LOG_TIME_MAX_MS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(proposed_at: u64, date: u64) -> Batch {
        Batch {
            proposed_at: Timestamp(proposed_at),
            date: Timestamp(date),
            commands: Vec::new(),
        }
    }

    fn now(log_time: u64, date: u64) -> Now {
        Now {
            log_time: Timestamp(log_time),
            date: Timestamp(date),
        }
    }

    #[test]
    fn log_time_is_monotonic_and_dates_step_back_only_beyond_jitter() {
        let before = now(1_000_000, 2_000_000);
        for (stamp, expected) in [
            ((1_000_001, 2_000_001), (1_000_001, 2_000_001)),
            ((1_000_010, 2_000_011), (1_000_010, 2_000_010)),
            ((1_000_010, 2_000_009), (1_000_010, 2_000_010)),
            ((1_000_010, 2_001_010), (1_000_010, 2_000_010)),
            ((1_000_010, 2_001_011), (1_000_010, 2_001_011)),
            ((5, 1_999_999), (1_000_000, 2_000_000)),
            ((5, 2_000_000 - DATE_STANDS_MS), (1_000_000, 2_000_000)),
            (
                (5, 1_999_999 - DATE_STANDS_MS),
                (1_000_000, 1_999_999 - DATE_STANDS_MS),
            ),
            ((5, 1), (1_000_000, 1)),
            ((0, 0), (1_000_000, 2_000_000)),
            ((u64::MAX, u64::MAX), (LOG_TIME_MAX_MS, LOG_TIME_MAX_MS)),
        ] {
            let (log_time, date) = expected;
            assert_eq!(
                before.next(&batch(stamp.0, stamp.1)),
                now(log_time, date),
                "{stamp:?}"
            );
        }
    }

    #[test]
    fn the_date_of_a_log_time_keeps_its_distance_to_now() {
        let before = now(5000, 1000);
        for (moment, date) in [(5000, 1000), (6000, 2000), (4500, 500), (0, 0)] {
            assert_eq!(
                before.date_of(Timestamp(moment)),
                Timestamp(date),
                "{moment}"
            );
        }
        let never = Timestamp(LOG_TIME_MAX_MS);
        assert_eq!(before.date_of(never), never);
        assert_eq!(now(never.0, 7).date_of(never), Timestamp(7));
        assert_eq!(now(u64::MAX, 0).date_of(Timestamp(0)), Timestamp(0));
    }
}
