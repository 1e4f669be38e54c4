//! What a node knows of time, as plain numbers: milliseconds since it started, and what has to be
//! added to them.
//!
//! Always true: once it is settled how much time has passed, log time goes on by the time of this
//! machine alone; the clocks only make dates.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use conclave_core::{Now, Timestamp, limits::DATE_STANDS_MS};

use super::status::{CLOCK_SKEW_MAX_MS, ClockStatus};

/// How old a reading may be to count for a majority, in milliseconds: several rounds.
const FRESH_MS: i64 = 10_000;
/// How long a reading of a node that does not answer is kept beside those of a majority, in
/// milliseconds: so that one wrong clock beside one node that is down is still outvoted.
const KEPT_MS: i64 = 60 * 60 * 1000;
/// An entry whose date is this near to now was made now, in milliseconds: longer than an entry
/// takes, far shorter than an absence.
const JUST_NOW_MS: u64 = 60_000;
/// The longest absence that is believed when a node starts, in milliseconds: ten years. An absurd
/// clock of a majority does not use up log time.
const ABSENCE_MAX_MS: i64 = 10 * 366 * 24 * 60 * 60 * 1000;
/// The latest log time with which a log begins: the year 2500.
const FIRST_MAX_MS: i64 = 16_725_225_600_000;

/// A reading of one node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// What must be added to the time since this node started.
    base: i64,
    /// When it was read.
    at: i64,
}

impl Reading {
    /// Creates a reading: the clock said `said` about `half` milliseconds ago.
    pub(super) fn new(said: Timestamp, half: i64, elapsed: i64) -> Self {
        let base = signed(said).saturating_add(half).saturating_sub(elapsed);
        Self { base, at: elapsed }
    }
}

/// Changes that are worth a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// By how much dates were moved.
    pub(super) date_step_ms: Option<i64>,
    /// The own clock is off now, or is right again.
    pub(super) skew: Option<(i64, bool)>,
}

pub(super) struct ClockState {
    /// The times of the state.
    applied: Now,
    /// Log time, less the time since the start. `None` before it is known.
    log_base: Option<i64>,
    /// Whether `log_base` has the time before the start in it.
    settled: bool,
    /// The agreed date, less the time since the start.
    date_base: Option<i64>,
    readings: BTreeMap<u64, Reading>,
    skew: Option<i64>,
    is_skewed: bool,
}

impl ClockState {
    pub(super) fn new(applied: Now) -> Self {
        Self {
            applied,
            log_base: None,
            settled: false,
            date_base: None,
            readings: BTreeMap::new(),
            skew: None,
            is_skewed: false,
        }
    }

    /// Returns the times now.
    pub(super) fn now(&self, elapsed: i64) -> Now {
        let log_time = unsigned(self.log_time(elapsed));
        let agreed = self.date_base.map(|base| base.saturating_add(elapsed));
        let steady = || self.applied.steady_date(log_time);
        self.applied
            .at(log_time, agreed.map_or_else(steady, unsigned))
    }

    fn log_time(&self, elapsed: i64) -> i64 {
        let applied = signed(self.applied.log_time);
        let counted = self.log_base.map_or(0, |base| base.saturating_add(elapsed));
        let by_clock = match self.date_base {
            Some(base) if !self.settled => self.by_clock(base.saturating_add(elapsed)),
            Some(_) | None => 0,
        };
        applied.max(counted).max(by_clock)
    }

    /// Returns the log time if the clocks say how much time has passed since the last entry.
    fn by_clock(&self, date: i64) -> i64 {
        let applied = signed(self.applied.log_time);
        if applied == 0 {
            return date.clamp(0, FIRST_MAX_MS);
        }
        let absence = date.saturating_sub(signed(self.applied.date));
        applied.saturating_add(absence.clamp(0, ABSENCE_MAX_MS))
    }

    /// Returns the times of an entry; `own` is this node's clock. From now on log time is counted.
    pub(super) fn stamp(&mut self, elapsed: i64, own: Timestamp) -> Now {
        if self.date_base.is_none() && self.applied == Now::default() {
            // The first entry of all, and no other node has reported its clock.
            self.date_base = Some(signed(own).saturating_sub(elapsed));
        }
        if self.date_base.is_some() {
            self.settle(elapsed);
        }
        self.now(elapsed)
    }

    fn settle(&mut self, elapsed: i64) {
        if !self.settled {
            self.log_base = Some(self.log_time(elapsed).saturating_sub(elapsed));
            self.settled = true;
        }
    }

    /// Notes that the state has these times now.
    pub(super) fn applied(&mut self, now: Now, elapsed: i64) {
        if now == self.applied {
            return;
        }
        self.applied = now;
        let base = signed(now.log_time).saturating_sub(elapsed);
        self.log_base = self.log_base.max(Some(base));
        self.settle_if_current(elapsed);
    }

    /// Settles the log time if the last entry was made just now: it says how much time has passed,
    /// whatever the clocks say.
    fn settle_if_current(&mut self, elapsed: i64) {
        let Some(base) = self.date_base.filter(|_| !self.settled) else {
            return;
        };
        let away = base
            .saturating_add(elapsed)
            .abs_diff(signed(self.applied.date));
        if away <= JUST_NOW_MS && self.log_base.is_some() {
            self.settle(elapsed);
        }
    }

    pub(super) fn read(&mut self, readings: impl IntoIterator<Item = (u64, Reading)>) {
        self.readings.extend(readings);
    }

    pub(super) fn has_agreed(&self) -> bool {
        self.date_base.is_some()
    }

    /// Takes the median of the clocks if a majority of each set of voters has reported its own.
    pub(super) fn agree(
        &mut self,
        node: u64,
        own: Timestamp,
        voters: &[BTreeSet<u64>],
        elapsed: i64,
    ) -> Changes {
        let own_base = signed(own).saturating_sub(elapsed);
        let own = Reading {
            base: own_base,
            at: elapsed,
        };
        self.readings.insert(node, own);
        let all: BTreeSet<u64> = voters.iter().flatten().copied().collect();
        self.readings.retain(|from, reading| {
            (all.contains(from) || *from == node) && elapsed - reading.at <= KEPT_MS
        });
        let is_fresh = |voter: &&u64| {
            let reading = self.readings.get(*voter);
            reading.is_some_and(|reading| elapsed - reading.at <= FRESH_MS)
        };
        let enough = |set: &BTreeSet<u64>| set.iter().filter(is_fresh).count() > set.len() / 2;
        if all.is_empty() || !voters.iter().all(enough) {
            self.skew = None;
            return Changes::default();
        }
        let of_voters = self.readings.iter().filter(|(from, _)| all.contains(from));
        let mut bases: Vec<i64> = of_voters.map(|(_, reading)| reading.base).collect();
        if bases.len().is_multiple_of(2)
            && let Some(expected) = self.expected()
        {
            bases.push(expected);
        }
        bases.sort_unstable();
        let median = bases[(bases.len() - 1) / 2];
        let step = self
            .date_base
            .map_or(0, |before| median.saturating_sub(before));
        self.date_base = Some(median);
        self.settle_if_current(elapsed);
        let skew = own_base.saturating_sub(median);
        Changes {
            date_step_ms: Some(step).filter(|step| step.unsigned_abs() > DATE_STANDS_MS),
            skew: self.judge(skew),
        }
    }

    /// Returns the date that the log makes expect: between two clocks it shows which one was set.
    fn expected(&self) -> Option<i64> {
        let base = self.log_base.filter(|_| self.settled)?;
        let shift = signed(self.applied.date).saturating_sub(signed(self.applied.log_time));
        Some(base.saturating_add(shift))
    }

    /// Notes how far off the own clock is, and returns what has changed. A clock counts as right
    /// again within half of what is allowed, so that one at the edge is not reported for ever.
    fn judge(&mut self, skew: i64) -> Option<(i64, bool)> {
        let limit = match self.is_skewed {
            true => CLOCK_SKEW_MAX_MS / 2,
            false => CLOCK_SKEW_MAX_MS,
        };
        let is_skewed = skew.unsigned_abs() > limit;
        self.skew = Some(skew);
        let changed = is_skewed != std::mem::replace(&mut self.is_skewed, is_skewed);
        changed.then_some((skew, is_skewed))
    }

    pub(super) fn status(&self) -> ClockStatus {
        ClockStatus {
            skew_ms: self.skew,
            is_skewed: self.is_skewed,
        }
    }
}

/// Returns whole milliseconds; no node runs long enough for more.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn signed(time: Timestamp) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn unsigned(time: i64) -> Timestamp {
    Timestamp(u64::try_from(time).unwrap_or(0))
}
