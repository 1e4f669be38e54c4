//! One node on one host: a process that is started, listened to and killed.

use std::{fs::File, path::PathBuf, process::Stdio, time::Duration};

use conclave_client::OperatorCredential;
use conclave_server::OPERATOR_FILE;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{sleep, timeout},
};

use crate::lab::{Lab, address};

/// Maximum time for a node to print a line that it must print.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two checks whether a file exists.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A running node.
pub(crate) struct Node {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
    data: PathBuf,
}

/// Returns the address at which clients reach the node of a host.
pub(crate) fn endpoint(host: u8) -> String {
    format!("{}:7400", address(host))
}

/// Returns the address at which peers reach the node of a host.
pub(crate) fn peer_address(host: u8) -> String {
    format!("{}:7401", address(host))
}

impl Node {
    /// Starts `conclave serve` on a host. `words` come as a person would type them.
    pub(crate) fn start(lab: &Lab, host: u8, words: &[&str]) -> Self {
        let log = lab.directory.join(format!("host-{host}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let mut command = lab.on(host, env!("CARGO_BIN_EXE_conclave").as_ref());
        command
            .arg("serve")
            .args(words)
            .arg("--data")
            .arg(lab.directory.join(format!("host-{host}")))
            .args(["--client-address", &endpoint(host)])
            .args(["--peer-address", &peer_address(host)])
            .args(["--registration", "open"])
            .args(["--die-with-parent", &std::process::id().to_string()])
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file);
        let mut command = Command::from(command);
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        Self {
            child,
            lines: BufReader::new(stdout).lines(),
            log,
            data: lab.directory.join(format!("host-{host}")),
        }
    }

    /// Waits for the next line that begins with `word` and returns what follows it.
    pub(crate) async fn says(&mut self, word: &str) -> String {
        let found = timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if let Some(rest) = line.strip_prefix(word) {
                    return rest.trim().to_owned();
                }
            }
            panic!("it has ended: {}", self.log());
        });
        found
            .await
            .unwrap_or_else(|_| panic!("it never says {word}: {}", self.log()))
    }

    /// Returns the credential of the cluster's first operator, which this node has created.
    pub(crate) async fn operator(&self) -> OperatorCredential {
        let file = self.data.join(OPERATOR_FILE);
        let written = timeout(PATIENCE, async {
            loop {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                if let Some(credential) = OperatorCredential::from_text(&text) {
                    return credential;
                }
                sleep(LOOK_INTERVAL).await;
            }
        });
        written
            .await
            .unwrap_or_else(|_| panic!("it makes no operator: {}", self.log()))
    }

    /// Returns what the node has written to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Pauses the node's process, as on a machine that hangs.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Resumes a process that was paused.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        // The process keeps its number until it is waited for.
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).expect("it runs");
        kill_process(pid, signal).unwrap();
    }

    /// Removes everything that the node of a host has stored, except its log.
    pub(crate) fn wipe(lab: &Lab, host: u8) {
        std::fs::remove_dir_all(lab.directory.join(format!("host-{host}"))).unwrap();
    }

    /// Kills the node's process, as a power cut does.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}
