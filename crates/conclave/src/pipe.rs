//! What the program at the other end of stdout has taken.
//!
//! Bytes that were written to a pipe were not shown to anybody yet: `head -1` ends with most of
//! them unread. What stdout is otherwise (a terminal, a file, a socket) takes what is written.
//!
//! Always true: no wait has no end, unless it is for a follower's reader, which may take its time.

use std::{io, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, fstat},
    io::ioctl_fionread,
};
use tokio::time::Instant;

/// How long the next line waits for the one before to be taken, and the end for the last lines,
/// unless [`WAIT_VARIABLE`] says otherwise. A reader that takes longer takes many lines at once (a
/// pager, a program that waits for the end), and the next lines do not wait for it.
const WAIT: Duration = Duration::from_secs(2);
/// The same in seconds, for programs that are slow or a machine that is busy.
const WAIT_VARIABLE: &str = "CONCLAVE_PIPE_WAIT";
/// Longest wait that can be asked for, in seconds: an hour. Longer: this long.
const WAIT_SECONDS_MAX: u64 = 60 * 60;
/// Between two looks at the pipe, after the first ones.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// Between the first looks: a reader that waits for the line takes it within some of these.
const LOOK_INTERVAL_FIRST: Duration = Duration::from_micros(20);
/// How many first looks there are: they block the thread.
const LOOKS_FIRST: usize = 50;

/// Stdout, and what was written to it.
pub(crate) struct Pipe {
    is_pipe: bool,
    written: u64,
    /// Whether the reader takes line by line, as far as is known.
    by_line: bool,
    /// How long a line is waited for.
    wait: Duration,
}

impl Pipe {
    /// Looks at what stdout is.
    pub(crate) fn stdout() -> Self {
        let mode = fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        Self {
            is_pipe: mode == Ok(FileType::Fifo),
            written: 0,
            by_line: true,
            wait: wait_of(std::env::var(WAIT_VARIABLE).ok().as_deref()),
        }
    }

    /// Adds so many bytes that were written; returns how many there were in all.
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

    /// Waits some time until everything was taken; returns whether it was.
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

    /// Whether nobody is left to read.
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

    /// Bytes that wait in the pipe. Others may have written to it, too: then these count as if
    /// they were ours, and less is taken for read than was.
    fn left(&self) -> u64 {
        if !self.is_pipe {
            return 0;
        }
        // A system that does not tell has taken what was written.
        ioctl_fionread(io::stdout()).unwrap_or(0)
    }
}

/// Returns the wait that the variable asks for; without a number, the usual one.
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
