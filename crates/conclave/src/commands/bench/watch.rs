//! Shows on a terminal what a measurement of sends does: one line that changes, and lines that
//! stay.

use std::{
    cell::RefCell,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use conclave_bench::sends::{Happening, Step};
use tokio::time::Instant;

use crate::{
    errors::note,
    progress::{at_rate, bar, left, per_second, percent},
};

/// Interval between two changes of the line.
const PAINT_INTERVAL: Duration = Duration::from_millis(100);
/// Terminal sequence that returns to the beginning of the line and erases it.
const EMPTY_LINE: &str = "\r\x1b[K";

/// A terminal on which a measurement is watched; without one it shows nothing.
pub(super) struct Watcher {
    is_terminal: bool,
    state: RefCell<State>,
}

struct State {
    painted: Option<Instant>,
    /// The step under way, and its beginning.
    step: Option<(Step, Instant)>,
}

impl Watcher {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            state: RefCell::new(State {
                painted: None,
                step: None,
            }),
        }
    }

    /// Shows what happens.
    pub(super) fn tell(&self, happening: &Happening) {
        if !self.is_terminal {
            return;
        }
        match happening {
            Happening::Step { step, done, total } => self.step(*step, *done, *total),
            Happening::Measured { .. } | Happening::WarmingUp { .. } | Happening::Checking => {
                paint(&line(happening));
            }
            Happening::Starting { .. }
            | Happening::Saturated { .. }
            | Happening::Killed { .. }
            | Happening::Restarting { .. } => {
                self.clear();
                note(&line(happening));
            }
        }
    }

    /// Removes the line that changes.
    pub(super) fn clear(&self) {
        if self.is_terminal {
            paint("");
        }
    }

    fn step(&self, step: Step, done: u64, total: u64) {
        let (mut state, now) = (self.state.borrow_mut(), Instant::now());
        let began = match state.step {
            Some((under_way, began)) if under_way == step => began,
            _ => now,
        };
        state.step = Some((step, began));
        let is_due = |painted: Instant| now.duration_since(painted) >= PAINT_INTERVAL;
        if done == total || state.painted.is_none_or(is_due) {
            state.painted = Some(now);
            paint(&progress(step, done, total, now.duration_since(began)));
        }
    }
}

fn paint(line: &str) {
    // If stderr is closed, there is no reader left for any line.
    let _ = write!(io::stderr(), "{EMPTY_LINE}{line}");
    let _ = io::stderr().flush();
}

/// Formats the progress of a step.
fn progress(step: Step, done: u64, total: u64, elapsed: Duration) -> String {
    let what = match step {
        Step::Sessions => "sessions",
        Step::Rooms => "rooms",
        Step::Members => "members of rooms",
        Step::Fill => "messages stored",
        Step::Reads => "conversations read",
    };
    let head = format!(
        "{} {:>3} %  {done} of {total} {what}",
        bar(done, total),
        percent(done, total)
    );
    let Some(rate) = per_second(done, elapsed).filter(|_| done < total) else {
        return head;
    };
    format!("{head}  {rate}/s  {}", left(at_rate(total - done, rate)))
}

/// Formats what happens.
fn line(happening: &Happening) -> String {
    match happening {
        Happening::Starting { nodes } => format!("starting {nodes} nodes"),
        Happening::WarmingUp { lasts } => format!("warming up for {} s", lasts.as_secs()),
        Happening::Saturated { rate } => {
            format!("the nodes take {rate:.0} messages per second")
        }
        Happening::Killed { node } => format!("kill -9 node {node} (leader)"),
        Happening::Restarting { node } => format!("start node {node} again"),
        Happening::Checking => "no more messages; comparing the nodes".to_owned(),
        Happening::Step { step, done, total } => progress(*step, *done, *total, Duration::ZERO),
        Happening::Measured {
            acked,
            failed,
            p99_us,
            done,
            total,
        } => {
            let p99 = p99_us.map_or("-".to_owned(), |us| format!("{:.1} ms", us as f64 / 1e3));
            let failed = match failed {
                0 => String::new(),
                failed => format!(", {failed} not"),
            };
            let bar = bar(*done, *total);
            format!("{bar} {done} of {total} s  {acked} acknowledged{failed}  p99 {p99}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_shows_its_rate_and_the_time_left() {
        let shown = progress(Step::Fill, 2_500_000, 10_000_000, Duration::from_secs(250));
        assert_eq!(
            shown,
            "████░░░░░░░░░░░░  25 %  2500000 of 10000000 messages stored  10000/s  12 min 30 s left"
        );
        let ended = progress(Step::Rooms, 7, 7, Duration::from_secs(1));
        assert!(ended.ends_with("100 %  7 of 7 rooms"), "{ended}");
        assert!(!progress(Step::Reads, 0, 0, Duration::ZERO).is_empty());
    }

    #[test]
    fn a_second_without_an_acknowledgement_is_shown_as_one() {
        let second = Happening::Measured {
            acked: 0,
            failed: 12,
            p99_us: None,
            done: 1,
            total: 4,
        };
        let shown = line(&second);
        assert!(
            shown.ends_with("1 of 4 s  0 acknowledged, 12 not  p99 -"),
            "{shown}"
        );
    }
}
