//! Days of a calendar and when they begin where the caller is.
//!
//! The caller says how far its days are from those of UTC: nothing here knows zones, their rules
//! or today.

use conclave_core::Timestamp;

/// Greatest distance from UTC: more than any zone ever had.
pub const OFFSET_MINUTES_MAX: i32 = 18 * 60;

/// Days of a query that may have an offset of their own: each date of a query and the day after
/// it, several times over.
pub const DAYS_MAX: usize = 16;

const MINUTE_MS: i64 = 60 * 1000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A day from 1970-01-01 to 9999-12-31, or the day after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    /// Days since 1970-01-01.
    number: u64,
}

impl Day {
    /// Reads a day that is written as 2026-11-20; `None` if there is no such day.
    #[must_use]
    pub fn parse(date: &str) -> Option<Self> {
        let mut parts = date.split('-');
        let mut number = |digits: usize| {
            let part = parts.next()?;
            let is_number = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| part.parse::<u64>().ok())?
        };
        let (year, month, day) = (number(4)?, number(2)?, number(2)?);
        if parts.next().is_some() || year < 1970 || !(1..=12).contains(&month) {
            return None;
        }
        let days_of = |month: u64| match month {
            2 if is_leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if !(1..=days_of(month)).contains(&day) {
            return None;
        }
        let years = (1970..year).map(|y| if is_leap(y) { 366 } else { 365 });
        let months = (1..month).map(days_of);
        let number = years.sum::<u64>() + months.sum::<u64>() + day - 1;
        Some(Self { number })
    }

    /// Returns the day after.
    #[must_use]
    pub fn next(self) -> Self {
        Self {
            number: self.number + 1,
        }
    }

    /// Returns when the day begins in UTC, in milliseconds since 1970.
    #[must_use]
    pub fn begin_ms(self) -> u64 {
        self.number * DAY_MS
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// How far the caller's days are from those of UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    offset_minutes: i32,
    days: Vec<(Day, i32)>,
}

impl Zone {
    /// Returns a zone whose days begin `offset_minutes` before those of UTC, except these. `None`:
    /// an offset is greater than [`OFFSET_MINUTES_MAX`], or there are more than [`DAYS_MAX`] days.
    #[must_use]
    pub fn new(offset_minutes: i32, days: Vec<(Day, i32)>) -> Option<Self> {
        let offsets = days.iter().map(|(_, offset)| *offset);
        let mut offsets = offsets.chain([offset_minutes]);
        let range = -OFFSET_MINUTES_MAX..=OFFSET_MINUTES_MAX;
        let is_valid = days.len() <= DAYS_MAX && offsets.all(|offset| range.contains(&offset));
        is_valid.then_some(Self {
            offset_minutes,
            days,
        })
    }

    /// Returns when a day begins in this zone.
    pub(super) fn begin(&self, day: Day) -> Timestamp {
        let own = self.days.iter().find(|(of, _)| *of == day);
        let offset = own.map_or(self.offset_minutes, |(_, offset)| *offset);
        let shift = i64::from(offset) * MINUTE_MS;
        Timestamp(day.begin_ms().saturating_add_signed(-shift))
    }
}

/// Returns the days in a text that looks like a query, and the day after each: those whose offsets
/// matter. At most [`DAYS_MAX`].
#[must_use]
pub fn days_in(typed: &str) -> Vec<Day> {
    let mut days: Vec<Day> = Vec::new();
    for piece in typed.split_whitespace() {
        let value = piece.rsplit(':').next().unwrap_or(piece);
        let Some(day) = Day::parse(value) else {
            continue;
        };
        for day in [day, day.next()] {
            if !days.contains(&day) && days.len() < DAYS_MAX {
                days.push(day);
            }
        }
    }
    days
}
