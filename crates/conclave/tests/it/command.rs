//! The program as people run it: commands of people with home directories of their own, and nodes
//! that are started by hand.
//!
//! Always true: no variable of the tests' environment reaches the program, and a node ends with its
//! handle.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use conclave_client::{Client, OperatorCredential};
use conclave_local_cluster::Ports;
use conclave_server::OPERATOR_FILE;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::SemaphorePermit,
    time::timeout,
};

use crate::{
    support::{PATIENCE, turn, until},
    witness::{PASSWORD, stranger_at},
};

/// 32 bytes as 43 letters: the secret of clusters that are started by hand.
const SECRET_OF_TESTS: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// A port that the system chooses.
pub(crate) const ANY_PORT: &str = "127.0.0.1:0";

/// Returns the program with these arguments and an environment without any of our variables.
pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
    prepared(&mut command).args(args);
    command
}

fn prepared(command: &mut Command) -> &mut Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
}

/// A command's exit code and output.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Checks that the command succeeded and returns its stdout.
    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Checks that the command succeeded and returns its stdout as JSON, one value for each line.
    #[track_caller]
    pub(crate) fn json(self) -> Vec<Value> {
        let stdout = self.succeeded();
        let lines = stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Checks that the command failed with this code, and that it printed what happened and what to
    /// do.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, part: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let mut lines = self.stderr.lines();
        let told = lines.any(|line| line.starts_with("error: ") && line.contains(part));
        assert!(told, "no error says `{part}`: {self:?}");
        assert!(self.stderr.contains("hint: "), "{self:?}");
    }
}

/// Runs a command to its end.
pub(crate) async fn run(mut command: Command, input: &[u8]) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A command that reads nothing may have ended already.
    let feed = tokio::spawn(async move { stdin.write_all(&input).await.ok() });
    let ended = timeout(PATIENCE, child.wait_with_output()).await;
    let ended = ended.expect("the command ends").unwrap();
    feed.await.unwrap();
    Ran {
        code: ended.status.code(),
        stdout: String::from_utf8(ended.stdout).unwrap(),
        stderr: String::from_utf8(ended.stderr).unwrap(),
    }
}

/// A person at a terminal.
pub(crate) struct Person {
    home: TempDir,
    endpoints: String,
}

impl Person {
    /// Returns a person without a login.
    pub(crate) fn new(endpoints: &[String]) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            endpoints: endpoints.join(","),
        }
    }

    /// Returns a person who has created this account and logged in.
    pub(crate) async fn named(endpoints: &[String], name: &str) -> Self {
        let person = Self::new(endpoints);
        person.run(&["account", "create", name]).await.succeeded();
        person.run(&["login", name]).await.succeeded();
        person
    }

    /// Returns the command, ready to be run in this person's home.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.at_home(program(args))
    }

    /// Returns a shell script that runs in this person's home, in which `$CONCLAVE` is the program.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        prepared(&mut command)
            .args(["-c", script])
            .env("CONCLAVE", env!("CARGO_BIN_EXE_conclave"));
        self.at_home(command)
    }

    fn at_home(&self, mut command: Command) -> Command {
        command
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path())
            .env("CONCLAVE_ENDPOINTS", &self.endpoints)
            .env("CONCLAVE_PASSWORD", PASSWORD);
        command
    }

    /// Runs a command.
    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, b"").await
    }

    /// Runs a command with this input on its stdin.
    pub(crate) async fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        run(self.command(args), input).await
    }

    /// Returns the path of the file that the login left.
    pub(crate) fn credentials(&self) -> PathBuf {
        self.home.path().join("conclave").join("credentials.json")
    }
}

/// The directory of one test, and the permit with which it may load the machine.
pub(crate) struct Home {
    directory: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Home {
    pub(crate) async fn new() -> Self {
        let turn = turn().await;
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("secret"), SECRET_OF_TESTS).unwrap();
        Self {
            directory,
            _turn: turn,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the credential of the first operator of the cluster here.
    pub(crate) async fn operator(&self) -> OperatorCredential {
        until("a node has written it", async || {
            let found = fs::read_dir(self.directory.path()).unwrap();
            let mut files = found.map(|entry| entry.unwrap().path().join(OPERATOR_FILE));
            files.find_map(|file| OperatorCredential::from_text(&fs::read_to_string(file).ok()?))
        })
        .await
    }

    /// Starts node 1 of a cluster of one, with its data in `data`.
    pub(crate) async fn alone(&self, data: &str) -> Served {
        let served = self.try_alone(data, &[], &[]).await;
        served.unwrap_or_else(|ran| panic!("it does not start: {ran:?}"))
    }

    /// Starts the same with more arguments and an environment; returns how it ended if it did not
    /// start.
    pub(crate) async fn try_alone(
        &self,
        data: &str,
        more: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Served, Ran> {
        let data = self.path(data);
        let addresses = ["--client-address", ANY_PORT, "--peer-address", ANY_PORT];
        let data_is = ["--data", data.to_str().unwrap()];
        let args = [&data_is[..], &addresses, more].concat();
        Served::start(&data.with_extension("log"), &args, environment).await
    }

    /// Starts node `node` of a cluster of three on these ports, with its data in `data`.
    pub(crate) async fn one_of_three(
        &self,
        ports: Ports,
        node: u64,
        data: &Path,
    ) -> Result<Served, Ran> {
        let members = (1..=3).map(|n| format!("{n}={}/{}", ports.peer(n), ports.client(n)));
        let members: Vec<String> = members.collect();
        let (client, peer) = (ports.client(node), ports.peer(node));
        let secret = self.secret_file();
        let args = [
            "--data",
            data.to_str().unwrap(),
            "--secret-file",
            secret.to_str().unwrap(),
            "--node",
            &node.to_string(),
            "--members",
            &members.join(","),
            "--client-address",
            &client,
            "--peer-address",
            &peer,
        ];
        Served::start(&self.path(&format!("node-{node}.log")), &args, &[]).await
    }

    /// Returns the path of the secret that the nodes of a cluster in this directory share.
    pub(crate) fn secret_file(&self) -> PathBuf {
        self.path("secret")
    }

    /// Starts a cluster of three and returns its ports, too.
    pub(crate) async fn three(&self) -> (Ports, [Served; 3]) {
        let ports = Ports::free(3).expect("there are free ports");
        let data = |node: u64| self.path(&format!("node-{node}"));
        let [one, two, three] = [data(1), data(2), data(3)];
        let started = tokio::join!(
            self.one_of_three(ports, 1, &one),
            self.one_of_three(ports, 2, &two),
            self.one_of_three(ports, 3, &three),
        );
        let nodes = [started.0, started.1, started.2];
        (ports, nodes.map(|node| node.expect("it starts")))
    }
}

/// A node that was started by hand.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    /// Address at which clients reach it.
    pub(crate) client_address: String,
    /// Address at which peers reach it.
    pub(crate) peer_address: String,
    /// Address at which it answers probes and serves its metrics.
    pub(crate) admin_address: String,
    /// Line with which the node says that it listens.
    pub(crate) line: String,
    log: PathBuf,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Served {
    /// Runs `serve` until it listens, or returns how it ended. Its log is appended to `log`.
    pub(crate) async fn start(
        log: &Path,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self, Ran> {
        Self::start_as(&["serve", "--plain"], log, args, environment).await
    }

    /// Starts the same without the flag for plain text.
    pub(crate) async fn start_encrypted(log: &Path, args: &[&str]) -> Result<Self, Ran> {
        Self::start_as(&["serve"], log, args, &[]).await
    }

    async fn start_as(
        serve: &[&str],
        log: &Path,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self, Ran> {
        let said_before = fs::metadata(log).map_or(0, |log| log.len());
        let file: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let mut command = program(serve);
        let mut child = command
            .args(args)
            .args(["--die-with-parent", &std::process::id().to_string()])
            .envs(environment.iter().copied())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, stdout.next_line()).await;
        let line = line.expect("it listens or ends").unwrap();
        let Some(line) = line else {
            let ended = timeout(PATIENCE, child.wait()).await;
            let said = fs::read(log).unwrap();
            let said = &said[usize::try_from(said_before).unwrap()..];
            return Err(Ran {
                code: ended.expect("it ends").unwrap().code(),
                stdout: String::new(),
                stderr: String::from_utf8_lossy(said).into_owned(),
            });
        };
        let part = |key: &str| {
            let mut words = line.split(' ');
            let value = words.find_map(|word| word.strip_prefix(key));
            value.expect("the line has all parts").to_owned()
        };
        Ok(Self {
            client_address: part("client="),
            peer_address: part("peer="),
            admin_address: part("admin="),
            line: line.clone(),
            child,
            log: log.to_owned(),
            stdout,
        })
    }

    /// Waits for the next line of its stdout that begins with this word and returns what follows
    /// it.
    pub(crate) async fn says(&mut self, word: &str) -> String {
        loop {
            let line = timeout(PATIENCE, self.stdout.next_line()).await;
            let line = line.expect("it says more").unwrap().expect("it runs");
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Returns a client that knows only this node.
    pub(crate) fn client(&self) -> Client {
        stranger_at(&self.client_address)
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Returns what the node has written to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the node ends by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends by itself").unwrap()
    }

    /// Returns how the node has ended, or `None` if it still runs.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Asks the node to stop, and waits until it has done so without an error.
    pub(crate) async fn stop(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let ended = self.ended().await;
        assert!(ended.success(), "{ended}: {}", self.log());
    }

    /// Kills the node as `kill -9` does.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Returns an argument that is not valid UTF-8.
pub(crate) fn not_utf8() -> &'static OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfe")
}
