//! The progress of long work: backups and what is made of them, exports and imports. A bar on a
//! terminal's stderr, and nothing elsewhere.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use tokio::time::Instant;

use crate::progress::{self, Progress, bytes};

/// Least time between two bars.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);

/// One line of stderr that is painted over.
pub(crate) struct Bar {
    is_terminal: bool,
    began: Option<Instant>,
    shown_at: Option<Instant>,
}

impl Bar {
    pub(crate) fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            began: None,
            shown_at: None,
        }
    }

    /// Shows how much of the database is done; `then` says what comes after all of it.
    pub(crate) fn show(&mut self, done: u64, total: u64, then: &str) {
        let began = *self.began.get_or_insert_with(Instant::now);
        if done >= total {
            return self.say(&format!("{then} {}", bytes(total)));
        }
        let progress = Progress {
            done,
            total,
            before: 0,
            elapsed: began.elapsed(),
        };
        if self.is_due() {
            self.say(&progress.line());
        }
    }

    /// Shows how many of something are done.
    pub(crate) fn count(&mut self, done: u64, total: u64, what: &str) {
        if self.is_due() {
            let (bar, percent) = (progress::bar(done, total), progress::percent(done, total));
            self.say(&format!("{bar} {percent:>3} %  {done} of {total} {what}"));
        }
    }

    /// Shows how many of something there are so far, while their number is not known.
    pub(crate) fn count_up(&mut self, done: u64, what: &str) {
        if self.is_due() {
            self.say(&format!("{done} {what}"));
        }
    }

    /// Shows a line in the place of the one before, on a terminal.
    pub(crate) fn say(&mut self, line: &str) {
        if self.is_terminal {
            // If stderr is closed, there is no reader left for the bar.
            let _ = write!(io::stderr(), "\r{line}\x1b[K");
            self.shown_at = Some(Instant::now());
        }
    }

    /// Removes the line.
    pub(crate) fn clear(&mut self) {
        if self.shown_at.take().is_some() {
            self.say("");
            self.shown_at = None;
        }
    }

    fn is_due(&self) -> bool {
        let shown_at = self.shown_at;
        shown_at.is_none_or(|shown_at| shown_at.elapsed() >= SHOW_INTERVAL)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
