//! Tracks how much the program at the other end of stdout has taken.
//!
//! Bytes that were written to a pipe may never be read: `head -1` ends with most of them unread.
//! Any other stdout (a terminal, a file, a socket) takes what is written.
//!
//! Always true: every wait has a limit, except the wait for a follower's reader, which may take its
//! time.

use std::{io, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, fstat},
    io::ioctl_fionread,
};
use tokio::time::Instant;

/// Longest time that the next line waits for the one before to be taken, and the end for the last
/// lines, unless [`WAIT_VARIABLE`] sets another. A reader that takes longer takes many lines at
/// once (a pager, a program that waits for the end), and the next lines do not wait for it.
const WAIT: Duration = Duration::from_secs(2);
/// Environment variable with that time in seconds, for slow programs or a busy machine.
const WAIT_VARIABLE: &str = "CONCLAVE_PIPE_WAIT";
/// Maximum of [`WAIT_VARIABLE`] in seconds: an hour. A greater value counts as this one.
const WAIT_SECONDS_MAX: u64 = 60 * 60;
/// Interval between two looks at the pipe, after the first ones.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// Interval between the first looks: a reader that waits for the line takes it within some of
/// these.
const LOOK_INTERVAL_FIRST: Duration = Duration::from_micros(20);
/// Number of first looks: they block the thread.
const LOOKS_FIRST: usize = 50;

/// Stdout, and the number of bytes written to it.
pub(crate) struct Pipe {
    is_pipe: bool,
    written: u64,
    /// Whether the reader takes line by line, as far as this command has seen.
    by_line: bool,
    /// Longest wait for a line to be taken.
    wait: Duration,
}

impl Pipe {
    /// Finds out whether stdout is a pipe.
    pub(crate) fn stdout() -> Self {
        let mode = fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        Self {
            is_pipe: mode == Ok(FileType::Fifo),
            written: 0,
            by_line: true,
            wait: wait_of(std::env::var(WAIT_VARIABLE).ok().as_deref()),
        }
    }

    /// Adds the number of bytes that were written; returns the total.
    pub(crate) fn add(&mut self, bytes: usize) -> u64 {
        self.written += bytes as u64;
        self.written
    }

    /// Returns how many of the bytes that were written have been taken.
    pub(crate) fn taken(&self) -> u64 {
        self.written.saturating_sub(self.left())
    }

    /// Waits until the line before was taken, if the reader takes line by line.
    ///
    /// # Errors
    /// If the reader has closed the pipe.
    pub(crate) async fn line_taken(&mut self) -> io::Result<()> {
        if self.by_line {
            self.by_line = self.all_taken(Some(self.wait)).await?;
        }
        Ok(())
    }

    /// Waits until everything was taken, at most for the usual wait; returns whether it was.
    ///
    /// # Errors
    /// If the reader has closed the pipe before.
    pub(crate) async fn end_taken(&self) -> io::Result<bool> {
        self.all_taken(Some(self.wait)).await
    }

    /// Waits until everything was taken, however long that is.
    ///
    /// # Errors
    /// If the reader has closed the pipe before.
    pub(crate) async fn wait_until_taken(&self) -> io::Result<()> {
        self.all_taken(None).await.map(drop)
    }

    /// Returns whether the reader has closed the pipe.
    pub(crate) fn is_closed(&self) -> bool {
        let stdout = io::stdout();
        let mut look = [PollFd::new(&stdout, PollFlags::empty())];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        self.is_pipe
            && poll(&mut look, Some(&now)).is_ok()
            && look[0].revents().contains(PollFlags::ERR)
    }

    async fn all_taken(&self, limit: Option<Duration>) -> io::Result<bool> {
        let begun = Instant::now();
        let mut looks = 0;
        loop {
            if self.left() == 0 {
                return Ok(true);
            }
            if self.is_closed() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if limit.is_some_and(|limit| begun.elapsed() >= limit) {
                return Ok(false);
            }
            looks += 1;
            if looks <= LOOKS_FIRST {
                look_interval_first();
            } else {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
    }

    /// Returns the bytes that wait in the pipe. Other programs may write to it, too: their bytes
    /// count as if they were ours, so fewer bytes count as taken than were.
    fn left(&self) -> u64 {
        if !self.is_pipe {
            return 0;
        }
        // If the system does not tell, the reader counts as having taken everything.
        ioctl_fionread(io::stdout()).unwrap_or(0)
    }
}

/// Returns the wait that the variable sets; without a number, the usual one.
fn wait_of(variable: Option<&str>) -> Duration {
    let seconds = variable.and_then(|seconds| seconds.parse().ok());
    seconds.map_or(WAIT, |seconds: u64| {
        Duration::from_secs(seconds.min(WAIT_SECONDS_MAX))
    })
}

#[allow(
    clippy::disallowed_methods,
    reason = "the wait is for a condition; the timer of the runtime is fifty times as coarse"
)]
fn look_interval_first() {
    std::thread::sleep(LOOK_INTERVAL_FIRST);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_of_seconds_within_its_bound() {
        assert_eq!(wait_of(Some("60")), Duration::from_secs(60));
        assert_eq!(wait_of(Some("0")), Duration::ZERO);
        assert_eq!(wait_of(Some("99999999")), Duration::from_secs(3600));
        for none in [None, Some(""), Some("soon"), Some("-1")] {
            assert_eq!(wait_of(none), WAIT, "{none:?}");
        }
    }
}
