//! Formats the progress of a transfer for people: a bar, an amount, a rate and the time left.

use std::time::Duration;

/// Width of a bar in characters.
const BAR_WIDTH: u64 = 16;

/// The transfer of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes that have arrived.
    pub(crate) done: u64,
    /// Bytes in total.
    pub(crate) total: u64,
    /// Bytes that had arrived when this attempt began.
    pub(crate) before: u64,
    /// Duration of this attempt so far.
    pub(crate) elapsed: Duration,
}

impl Progress {
    /// Returns the progress in percent.
    pub(crate) fn percent(&self) -> u64 {
        percent(self.done, self.total)
    }

    /// Returns the rate in bytes per second; `None` if it is not known yet.
    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        per_second(self.done.saturating_sub(self.before), self.elapsed)
    }

    /// Returns the time that the rest takes at this rate.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        let rest = self.total.saturating_sub(self.done);
        at_rate(rest, self.bytes_per_second()?)
    }

    /// Formats all of it in one line.
    pub(crate) fn line(&self) -> String {
        let (done, total) = (bytes(self.done), bytes(self.total));
        let bar = bar(self.done, self.total);
        let head = format!("{bar} {:>3} %  {done} of {total}", self.percent());
        if self.done >= self.total {
            return format!("{head}  checking and installing");
        }
        let rate = self.bytes_per_second().map(bytes);
        let rate = rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate}/s"));
        format!("{head}  {rate}  {}", left(self.remaining()))
    }
}

/// Draws a bar that is full when all is done.
pub(crate) fn bar(done: u64, total: u64) -> String {
    let full = part(done, total, BAR_WIDTH);
    (0..BAR_WIDTH)
        .map(|place| if place < full { '█' } else { '░' })
        .collect()
}

/// Returns the progress in percent.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    part(done, total, 100)
}

/// Returns how many of `parts` equal parts are done; all of them only at the end.
fn part(done: u64, total: u64, parts: u64) -> u64 {
    let done = u128::from(done.min(total)) * u128::from(parts);
    let part = done.checked_div(u128::from(total));
    part.map_or(0, |part| u64::try_from(part).unwrap_or(parts))
}

/// Returns the amount per second; `None` if nothing has moved.
pub(crate) fn per_second(amount: u64, elapsed: Duration) -> Option<u64> {
    let ms = elapsed.as_millis().max(1);
    let rate = u64::try_from(u128::from(amount) * 1000 / ms).unwrap_or(u64::MAX);
    (rate > 0).then_some(rate)
}

/// Returns the time that `amount` takes at this rate; `None` if nothing moves.
pub(crate) fn at_rate(amount: u64, per_second: u64) -> Option<Duration> {
    (per_second > 0).then(|| Duration::from_secs(amount.div_ceil(per_second)))
}

/// Formats the time left in words.
pub(crate) fn left(remaining: Option<Duration>) -> String {
    let Some(remaining) = remaining else {
        return "time left unknown".to_owned();
    };
    let seconds = remaining.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s left"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s left"),
        (hours, minutes, _) => format!("{hours} h {minutes} min left"),
    }
}

/// Formats an amount of bytes in words.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64 / 1024.0;
    if amount < 1.0 {
        return format!("{bytes} B");
    }
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = larger;
    }
    format!("{amount:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_progress_line_shows_amount_rate_and_time_left() {
        let progress = Progress {
            done: 30 * MIB,
            total: 120 * MIB,
            before: 10 * MIB,
            elapsed: Duration::from_secs(10),
        };
        assert_eq!(
            progress.line(),
            "████░░░░░░░░░░░░  25 %  30.0 MiB of 120.0 MiB  2.0 MiB/s  45 s left"
        );
        let end = Progress {
            done: 120 * MIB,
            ..progress
        };
        assert!(end.line().contains("100 %"), "{}", end.line());
        assert!(end.line().ends_with("checking and installing"));
        let begun = Progress {
            done: 10 * MIB,
            elapsed: Duration::ZERO,
            ..progress
        };
        assert!(begun.line().ends_with("-  time left unknown"));
    }

    #[test]
    fn progress_is_100_percent_only_when_complete() {
        let cases = [(0, 0), (0, 7), (999, 1000), (u64::MAX - 1, u64::MAX)];
        for (done, total) in cases {
            assert!(part(done, total, 100) < 100, "{done} of {total}");
        }
        assert_eq!(part(u64::MAX, u64::MAX, 100), 100);
        assert_eq!(part(9, 7, 100), 100);
    }

    #[test]
    fn amounts_and_times_are_words_and_no_value_is_a_panic() {
        let amounts = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (5 * MIB, "5.0 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ];
        for (amount, words) in amounts {
            assert_eq!(bytes(amount), words);
        }
        let times = [
            (0, "0 s left"),
            (61, "1 min 1 s left"),
            (3 * 3600 + 125, "3 h 2 min left"),
        ];
        for (seconds, words) in times {
            assert_eq!(left(Some(Duration::from_secs(seconds))), words);
        }
        assert_eq!(per_second(u64::MAX, Duration::ZERO), Some(u64::MAX));
        assert_eq!(per_second(0, Duration::ZERO), None);
        assert_eq!(at_rate(5, 0), None);
    }
}
