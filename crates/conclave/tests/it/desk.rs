//! A desk at which the commands of the documents are typed: a shell in a directory of its own.
//!
//! Always true: of the test's own environment only the path reaches the commands, and no command
//! outlives its test.

use std::{fs, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{
    command::{Home, Ran, run},
    support::PATIENCE,
    witness::PASSWORD,
};

/// Command in the documents that runs the program from its sources.
pub(crate) const CARGO: &str = "cargo run --release --";

/// A directory to work in, with the program in the path.
pub(crate) struct Desk {
    pub(crate) home: Home,
}

impl Desk {
    /// Makes the directory.
    pub(crate) async fn new() -> Self {
        let home = Home::new().await;
        for directory in ["bin", "desk"] {
            fs::create_dir(home.path(directory)).unwrap();
        }
        let program = home.path("bin/conclave");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_conclave"), program).unwrap();
        Self { home }
    }

    /// Returns a shell that runs these lines.
    fn shell(&self, lines: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.home.path("bin").display());
        let mut command = Command::new("sh");
        command
            .args(["-e", "-c", &lines.replace(CARGO, "conclave")])
            .current_dir(self.home.path("desk"))
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home.path("desk"))
            .env("CONCLAVE_PASSWORD", PASSWORD)
            .env("CONCLAVE_PLAIN", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Creates a secret file, as every machine gets it, and returns its path.
    pub(crate) async fn secret(&self) -> String {
        let path = self.home.path("desk/machine-secret").display().to_string();
        self.run(&format!("conclave token secret > {path}"))
            .await
            .succeeded();
        path
    }

    /// Runs lines to their end.
    pub(crate) async fn run(&self, lines: &str) -> Ran {
        run(self.shell(lines), b"").await
    }

    /// Starts a command that keeps running.
    pub(crate) async fn start(&self, lines: &str) -> Running {
        let (stderr, path) = tempfile::NamedTempFile::new().unwrap().into_parts();
        let mut child = self.shell(lines).stderr(stderr).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Running {
            child,
            stdout,
            path,
        }
    }
}

/// A command that runs until it is stopped.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    path: tempfile::TempPath,
}

impl Running {
    /// Waits for the next line of its stdout and returns it.
    pub(crate) async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.stdout.next_line()).await;
        let line = line.expect("it goes on").unwrap();
        line.unwrap_or_else(|| panic!("it has ended: {}", self.stderr()))
    }

    /// Returns what it has written to its stderr.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    /// Presses Ctrl-C and waits until it has ended, without an error.
    pub(crate) async fn ends_by_ctrl_c(mut self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let ended = ended.expect("it ends").unwrap();
        assert!(ended.success(), "{ended}: {}", self.stderr());
    }
}
