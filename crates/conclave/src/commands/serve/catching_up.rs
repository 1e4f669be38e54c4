//! Shows the operator how a node catches up: by a snapshot, then by the log.
//!
//! On a terminal that is a bar on the last line of stderr, which the lines of the log push down;
//! elsewhere it is a line of the log every few seconds.

use std::{
    convert::Infallible,
    io::{self, IsTerminal as _, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use conclave_server::{Direction, Node, Transfer};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::progress::{Progress, at_rate, left, per_second};

/// Interval between two looks at the node.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Interval between two lines of the log.
const SAY_INTERVAL: Duration = Duration::from_secs(3);
/// Longest time that the leader may take to say how far behind this node is.
const ASK_LIMIT: Duration = Duration::from_millis(500);
/// With fewer entries than this still to apply a node is not catching up.
const BEHIND_MIN: u64 = 1000;
/// Columns of a terminal that does not say how many it has.
const COLUMNS: u16 = 80;
/// Terminal sequence that erases to the end of the line.
const REST_OF_LINE: &str = "\x1b[K";

/// Stderr, with a line at its end that is painted over. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    is_terminal: bool,
    /// Whether such a line is shown now.
    is_shown: Arc<Mutex<bool>>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            is_shown: Arc::default(),
        }
    }

    /// Returns whether stderr is a terminal, on which a line can be painted over.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    fn is_shown(&self) -> MutexGuard<'_, bool> {
        self.is_shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, line: &str) {
        let line = cut(line, columns());
        let mut is_shown = self.is_shown();
        // A node does not end because its stderr has no reader any more.
        let _ = write!(io::stderr(), "\r{line}{REST_OF_LINE}");
        *is_shown = true;
    }

    /// Removes the line.
    pub(super) fn clear(&self) {
        let mut is_shown = self.is_shown();
        if std::mem::take(&mut *is_shown) {
            let _ = write!(io::stderr(), "\r{REST_OF_LINE}");
        }
    }
}

fn columns() -> u16 {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    size.map_or(COLUMNS, |size| {
        if size.ws_col == 0 {
            COLUMNS
        } else {
            size.ws_col
        }
    })
}

/// Cuts a text to one line: a second one could not be painted over.
fn cut(line: &str, columns: u16) -> String {
    line.chars()
        .take(usize::from(columns.saturating_sub(1)))
        .collect()
}

/// The log goes through here, so that its lines push the painted line down.
impl Write for Screen {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut is_shown = self.is_shown();
        let mut stderr = io::stderr().lock();
        if std::mem::take(&mut *is_shown) {
            write!(stderr, "\r{REST_OF_LINE}")?;
        }
        stderr.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Shows the progress for as long as the node runs.
pub(super) async fn tell(node: &Node, screen: &Screen) -> Infallible {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut teller = Teller::new(screen);
    loop {
        looks.tick().await;
        let incoming = |transfer: &Transfer| transfer.direction == Direction::In;
        match node.transfers().into_iter().find(incoming) {
            Some(transfer) => teller.receives(&transfer, Instant::now()),
            None if teller.follows => {
                let behind = node.entries_behind(ASK_LIMIT).await;
                teller.follows(behind, Instant::now());
            }
            None => {}
        }
    }
}

struct Teller<'a> {
    screen: &'a Screen,
    /// Whether the node may still lack entries.
    follows: bool,
    /// Whether the operator was told that it lacks some.
    has_told: bool,
    behind: Option<(u64, Instant)>,
    said_at: Option<Instant>,
}

impl<'a> Teller<'a> {
    fn new(screen: &'a Screen) -> Self {
        Self {
            screen,
            follows: true,
            has_told: false,
            behind: None,
            said_at: None,
        }
    }

    fn receives(&mut self, transfer: &Transfer, now: Instant) {
        let progress = Progress {
            done: transfer.bytes_done,
            total: transfer.bytes_total,
            before: transfer.bytes_before,
            elapsed: transfer.elapsed,
        };
        let peer = transfer.peer;
        (self.follows, self.behind) = (true, None);
        self.has_told = true;
        if self.screen.is_terminal {
            let line = format!("snapshot from node {peer}  {}", progress.line());
            self.screen.show(&line);
        } else if self.is_time(now) {
            tracing::info!(
                peer,
                percent = progress.percent(),
                bytes = progress.done,
                bytes_per_second = progress.bytes_per_second(),
                remaining_s = progress.remaining().map(|left| left.as_secs()),
                "receiving a snapshot"
            );
        }
    }

    fn follows(&mut self, behind: Option<u64>, now: Instant) {
        let Some(behind) = behind else {
            // No leader says how many entries are missing: the shown line is not true any more.
            self.behind = None;
            self.screen.clear();
            return;
        };
        let before = self.behind.replace((behind, now));
        if behind < BEHIND_MIN {
            self.screen.clear();
            if self.has_told {
                tracing::info!(entries_behind = behind, "caught up");
            }
            *self = Self::new(self.screen);
            self.follows = false;
            return;
        }
        self.has_told = true;
        let rate = before
            .and_then(|(then, at)| per_second(then.saturating_sub(behind), now.duration_since(at)));
        let remaining = rate.and_then(|rate| at_rate(behind, rate));
        if self.screen.is_terminal {
            let rate = rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate}/s"));
            let left = left(remaining);
            let line = format!("following the log: {behind} entries behind  {rate}  {left}");
            self.screen.show(&line);
        } else if self.is_time(now) {
            tracing::info!(
                entries_behind = behind,
                entries_per_second = rate,
                remaining_s = remaining.map(|left| left.as_secs()),
                "following the log"
            );
        }
    }

    /// Returns whether the next line of the log is due, and if so counts it as written.
    fn is_time(&mut self, now: Instant) -> bool {
        let is_due = self
            .said_at
            .is_none_or(|said| now.saturating_duration_since(said) >= SAY_INTERVAL);
        if is_due {
            self.said_at = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn catching_up_ends_near_the_leader_and_restarts_on_a_snapshot() {
        let screen = Screen {
            is_terminal: false,
            is_shown: Arc::default(),
        };
        let mut teller = Teller::new(&screen);
        let now = Instant::now();
        teller.follows(None, now);
        assert!(teller.follows && !teller.has_told, "no leader yet");
        teller.follows(Some(50_000), now);
        assert!(teller.follows && teller.has_told);
        teller.follows(Some(10), now);
        assert!(!teller.follows && !teller.has_told);
        let transfer = Transfer {
            direction: Direction::In,
            peer: 1,
            bytes_done: 1,
            bytes_total: 2,
            bytes_before: 0,
            elapsed: Duration::from_secs(1),
        };
        teller.receives(&transfer, now);
        assert!(teller.follows, "the log goes on after it");
    }

    #[test]
    fn a_line_is_cut_to_the_terminal_by_characters_not_bytes() {
        assert_eq!(cut("██░░ 5 %", 5), "██░░");
        assert_eq!(cut("short", 80), "short");
        assert_eq!(cut("short", 0), "");
    }

    #[tokio::test]
    async fn the_log_has_a_line_every_few_seconds() {
        let screen = Screen {
            is_terminal: false,
            is_shown: Arc::default(),
        };
        let mut teller = Teller::new(&screen);
        let now = Instant::now();
        assert!(teller.is_time(now));
        assert!(!teller.is_time(now + SAY_INTERVAL / 2));
        assert!(teller.is_time(now + SAY_INTERVAL));
    }
}
