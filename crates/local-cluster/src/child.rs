//! Runs one node as a child process.
//!
//! The log of the node goes to a file, its stdout is read here: the lines that say that it listens,
//! that it serves, and with which token an administrator can be made. A child whose handle is
//! dropped is killed.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    sync::watch,
    time::timeout,
};

/// Maximum length of a line that a node writes to stdout, in bytes. A longer one is no such line.
const LINE_BYTES_MAX: u64 = 4096;

/// Progress of a node's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The process runs.
    Started,
    /// The node takes connections.
    Listening,
    /// The node has seen a leader.
    Ready,
    /// The stdout of the node is closed: the process has ended, or is about to.
    Ended,
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    pid: u32,
    phase: watch::Receiver<Phase>,
}

impl Node {
    /// Starts `command`, whose stderr is appended to the file `log`. The setup tokens that it
    /// prints go to `setup_token`, each in the place of the one before.
    pub(crate) fn spawn(
        mut command: Command,
        log: &Path,
        setup_token: watch::Sender<Option<String>>,
    ) -> io::Result<Self> {
        let log: File = OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C in the terminal is for the parent, which stops the children in its own way.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().expect("the child has not been waited for");
        let stdout = child.stdout.take().expect("it is piped");
        let (tell, phase) = watch::channel(Phase::Started);
        tokio::spawn(read_lines(stdout, tell, setup_token));
        Ok(Self { child, pid, phase })
    }

    /// Returns the process ID.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns a receiver that follows the phase of the node.
    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Returns the exit status if the node has ended by itself.
    pub(crate) fn has_ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Ends the node at once, as `kill -9` does.
    pub(crate) async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Asks the node to end, and kills it if it has not ended in time. Returns `None` if it was
    /// killed.
    pub(crate) async fn stop(mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        self.signal(Signal::TERM)?;
        match timeout(limit, self.child.wait()).await {
            Ok(ended) => ended.map(Some),
            Err(_) => self.child.kill().await.map(|()| None),
        }
    }

    /// Pauses the process: the node keeps its connections and answers nothing.
    pub(crate) fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Resumes the process.
    pub(crate) fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Makes the node read its settings again.
    pub(crate) fn read_again(&self) -> io::Result<()> {
        self.signal(Signal::HUP)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        // After the process was waited for, another process may have its number.
        if self.child.id().is_none() {
            return Ok(());
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.expect("the system gave it");
        Ok(kill_process(pid, signal)?)
    }
}

async fn read_lines(
    stdout: ChildStdout,
    tell: watch::Sender<Phase>,
    setup_token: watch::Sender<Option<String>>,
) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut stdout).take(LINE_BYTES_MAX);
        match bounded.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if let Some(token) = line.strip_prefix(b"setup-token ") {
            let token = String::from_utf8_lossy(token).trim_end().to_owned();
            setup_token.send_replace(Some(token));
            continue;
        }
        let phase = if line.starts_with(b"listening ") {
            Phase::Listening
        } else if line.starts_with(b"ready ") {
            Phase::Ready
        } else {
            continue;
        };
        tell.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }
    tell.send_replace(Phase::Ended);
}
