//! `conclave serve`: runs one node.
//!
//! A setting comes from the command line, or else from the environment, or else from the file, or
//! else from the defaults. An unknown key is refused, so that a typing error does not become a
//! default.

mod alone;
mod catching_up;
mod disk;
mod log;
mod notify;
mod start_failure;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use conclave_server::{ConfigError, LogFormat, Node, NodeConfig, Overrides, Registration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use catching_up::Screen;
use log::Log;
use notify::Notify;
use start_failure::{no_start, wrong_config};

use crate::{
    errors::{CommandError, EXIT_DAMAGED, EXIT_FAILED, EXIT_INTERRUPTED, note},
    output,
};

/// Maximum number of worker threads. More have nothing to do: the leader's core is one task.
const WORKER_THREADS_MAX: usize = 8;

/// Maximum of `stop_seconds`, in seconds: an hour.
const STOP_SECONDS_MAX: u64 = 3600;
/// Time after the limit to stop in which a node may still write its state.
const STOP_EXTRA: Duration = Duration::from_secs(2);

/// Time for which a node that found damage still answers, without voting, before it restarts.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Read settings from this file (TOML)
    #[arg(long, env = "CONCLAVE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory of the node [default: ./conclave-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Number of this node, if the operator chooses it and not the cluster
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    node: Option<u64>,
    /// Address at which clients reach the node [default: 127.0.0.1:7400]
    #[arg(long, value_name = "HOST:PORT")]
    client_address: Option<String>,
    /// Address at which peers reach the node [default: 127.0.0.1:7401]
    #[arg(long, value_name = "HOST:PORT")]
    peer_address: Option<String>,
    /// Address for probes and metrics, over plain HTTP; `off`: none [default: 127.0.0.1, two ports
    /// after that for clients]
    #[arg(long, value_name = "HOST:PORT")]
    admin_address: Option<String>,
    /// All nodes, as 1=PEERHOST:PORT/CLIENTHOST:PORT,2=… [default: this node alone]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    members: Option<Vec<String>>,
    /// Peers of the cluster to join, if the directory is new: with --token; with
    /// --bootstrap-expect; or after an operator has added the node with
    /// `conclave cluster add`
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "HOST:PORT,…",
        conflicts_with = "members"
    )]
    join: Option<Vec<String>>,
    /// Join token from `conclave token create` [also: CONCLAVE_JOIN_TOKEN]
    #[arg(long, conflicts_with_all = ["members", "node", "bootstrap_expect"])]
    token: Option<String>,
    /// Number of nodes of --join, from the first on, that bootstrap the cluster together: start all
    /// with the same flags, in any order
    #[arg(long, value_name = "N", conflicts_with_all = ["members", "node"])]
    bootstrap_expect: Option<u32>,
    /// File with the cluster's secret: the same on every node that is started with
    /// --bootstrap-expect or --members. `conclave token secret` makes one
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Member that the node replaces when it joins
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
    replaces: Option<u64>,
    /// Join as a witness: it votes and keeps the log, and has no messages to serve
    #[arg(long)]
    witness: bool,
    /// Host under which others reach the node, if it listens on every address of its machine
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Chain of certificates of your own for the cluster's public name (PEM), with --tls-key
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// Private key of --tls-certificate (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Talk to clients in plain text: only on loopback
    #[arg(long)]
    plain: bool,
    /// Acknowledge before data is on disk: for throw-away nodes only
    #[arg(long)]
    unsafe_no_sync: bool,
    /// Registration policy: open to all, by invite of an administrator, or closed [default: open if
    /// clients reach the node on loopback only, else closed]
    #[arg(long, value_name = "WHO", value_parser = registration())]
    registration: Option<Registration>,
    /// Log filter, as in RUST_LOG [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Form of the lines of the log: for people, or an object of JSON each [default: text]
    #[arg(long, value_name = "FORMAT", value_parser = log_format())]
    log_format: Option<LogFormat>,
    /// End when the process with this number ends, which must have started this one
    #[arg(long, hide = true, value_name = "PID")]
    die_with_parent: Option<i32>,
}

/// Parses the registration policy.
fn registration() -> impl TypedValueParser<Value = Registration> {
    let words = Registration::ALL.map(Registration::as_str);
    PossibleValuesParser::new(words).try_map(|word| word.parse::<Registration>())
}

/// Parses the form of the log.
fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(LogFormat::ALL.map(LogFormat::as_str)).map(|word| {
        let mut all = LogFormat::ALL.into_iter();
        all.find(|format| format.as_str() == word)
            .unwrap_or_default()
    })
}

/// Returns the number of threads for a node's tasks: half of the cores, because log and database
/// have threads of their own, and no more than a leader can use. `CONCLAVE_WORKER_THREADS`
/// overrides it for measuring.
pub(crate) fn worker_threads() -> usize {
    let asked = std::env::var("CONCLAVE_WORKER_THREADS")
        .ok()
        .and_then(|text| text.parse().ok());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    asked.unwrap_or(cores / 2).clamp(1, WORKER_THREADS_MAX)
}

/// Runs one node until a signal stops it or a promise is broken.
///
/// # Errors
/// If the node cannot start, or had to stop because it cannot keep its promises.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(token) = &args.token {
        return Err(without_token_in_sight(token));
    }
    if let Some(parent) = args.die_with_parent {
        die_with_parent(parent)?;
    }
    let (file, flags) = (args.config.clone(), from_flags(args));
    let settings = Settings { file, flags };
    let config = settings.load().map_err(wrong_config)?;
    let data = config.data.clone();
    let stop_limit = Duration::from_secs(config.stop_seconds.clamp(1, STOP_SECONDS_MAX));
    let screen = Screen::new();
    let log = Log::start(&screen, &config)?;
    // The files of a node hold messages and password hashes: other users may not read them,
    // whatever process made the directory or a file in it.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    // Signals that come while the node is starting must not be lost.
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    let mut others = OtherSignals::new()?;
    let notify = Notify::start();
    let starting = notify.starts();
    if let Some(decided) = alone::decided() {
        alone::carry_out(&data, &decided)?;
    }
    let node = tokio::select! {
        node = Box::pin(Node::start(config)) => node.map_err(|error| no_start(&data, error))?,
        // A node may wait for a long time to join.
        () = signals.next() => return Ok(ExitCode::SUCCESS),
        // The node does not run yet, so there is nothing to read again.
        never = others.heed(|| {}) => match never {},
    };
    drop(starting);
    node.set_log_control(Arc::new(log.clone()));
    let ended = tokio::select! {
        ended = serve(&node, &notify, &mut signals) => ended,
        never = catching_up::tell(&node, &screen) => match never {},
        never = notify.keep_alive(&node) => match never {},
        never = others.heed(|| read_again(&settings, &log, &node)) => match never {},
    };
    screen.clear();
    ended?;
    notify.stops();
    stop(&node, &notify, &mut signals, stop_limit).await
}

/// Stops the node. A second signal ends the process at once: what was acknowledged is on disk.
async fn stop(
    node: &Node,
    notify: &Notify,
    signals: &mut Signals,
    limit: Duration,
) -> anyhow::Result<ExitCode> {
    tokio::select! {
        () = node.stop(limit) => Ok(ExitCode::SUCCESS),
        never = notify.keep_alive(node) => match never {},
        () = signals.next() => {
            note("stopping at once: clients may have to ask again");
            Ok(ExitCode::from(EXIT_INTERRUPTED))
        }
        () = tokio::time::sleep(limit + STOP_EXTRA) => {
            let sentence = format!("the node has not stopped within {} s", limit.as_secs());
            let hint = "its disk may not answer (dmesg); nothing acknowledged is lost";
            Err(CommandError::new(EXIT_FAILED, sentence, hint).into())
        }
    }
}

/// Signals that stop a node.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Signals that do not stop a node.
struct OtherSignals {
    hangup: Signal,
    user: [Signal; 2],
}

impl OtherSignals {
    /// Installs the handlers: from now on none of these signals ends the process.
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user: [
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            ],
        })
    }

    /// Calls `changed` whenever a terminal or a service manager signals that files have changed.
    async fn heed(&mut self, changed: impl Fn()) -> std::convert::Infallible {
        let [one, two] = &mut self.user;
        loop {
            tokio::select! {
                _ = self.hangup.recv() => changed(),
                _ = one.recv() => {}
                _ = two.recv() => {}
            }
        }
    }
}

/// Sources of the settings.
struct Settings {
    file: Option<PathBuf>,
    flags: Overrides,
}

impl Settings {
    fn load(&self) -> Result<NodeConfig, ConfigError> {
        NodeConfig::load(self.file.as_deref(), &self.flags)
    }
}

/// Reads again what may change while a node runs: its certificate, its log filter, and the faults
/// that tests and demonstrations make. Everything else is read at its next start.
fn read_again(settings: &Settings, log: &Log, node: &Node) {
    node.read_certificate_again();
    let read = settings.load().map_err(wrong_config);
    let read = read.and_then(|config| log.change(&config.log).map(|()| config));
    match read {
        Ok(config) => {
            node.set_faults(&config);
            tracing::info!(log = config.log, "the settings were reloaded");
        }
        Err(error) => tracing::warn!(%error, "failed to reload the settings"),
    }
}

/// Prints the node's lines until a signal stops it.
async fn serve(node: &Node, notify: &Notify, signals: &mut Signals) -> anyhow::Result<()> {
    let admin = node.admin_address();
    output::line(&format!(
        "listening client={} peer={} admin={} node={}",
        node.client_address(),
        node.peer_address(),
        admin.map_or_else(|| "off".to_owned(), |address| address.to_string()),
        node.node(),
    ))?;
    let mut told = false;
    let mut setup_tokens = node.setup_tokens();
    loop {
        tokio::select! {
            // The `ready` line comes first: the readers of these lines wait for it.
            token = next_token(&mut setup_tokens), if told => {
                // A node does not end because its stdout has no reader any more.
                let _ = output::line(&format!("setup-token {token}"));
            }
            leader = node.ready(), if !told => {
                output::line(&format!("ready node={} leader={leader}", node.node()))?;
                if let Some(fingerprint) = node.fingerprint() {
                    output::line(&format!("fingerprint {fingerprint}"))?;
                }
                notify.serves(node.node(), leader);
                told = true;
            }
            () = signals.next() => return Ok(()),
            decided = node.goes_alone() => return Err(alone::restart(&decided)),
            reason = node.failed() => {
                if node.is_damaged() {
                    // The node answers a little longer, so that the caller of the check gets its
                    // result.
                    tokio::time::sleep(LAST_WORDS).await;
                    return Err(repair(&reason));
                }
                if let Some(failure) = node.disk_failure() {
                    return Err(disk::failed(node.data(), &failure).into());
                }
                let sentence = format!("node {} has stopped: {reason}", node.node());
                let hint = node.hint().unwrap_or(
                    "docs/operations.md says what each reason means; nothing acknowledged is \
                     lost while a majority of the nodes is well",
                );
                return Err(CommandError::new(EXIT_FAILED, sentence, hint).into());
            }
        }
    }
}

/// Returns the next setup token that can be used. It goes to stdout alone: many people read a log.
async fn next_token(tokens: &mut watch::Receiver<Option<String>>) -> String {
    while tokens.changed().await.is_ok() {
        if let Some(token) = tokens.borrow_and_update().clone() {
            return token;
        }
    }
    // No further token will come: the node is stopping.
    std::future::pending().await
}

/// Restarts the program: a start repairs the damage that was found. Nothing of this process is
/// left, so nothing votes with damaged data any more. Returns if that fails.
fn repair(reason: &str) -> anyhow::Error {
    use std::os::unix::process::CommandExt as _;
    note(&format!(
        "the data of this node is damaged ({reason}): it restarts, to repair itself"
    ));
    let why = match std::env::current_exe() {
        Ok(program) => {
            let arguments = std::env::args_os().skip(1);
            let mut again = std::process::Command::new(program);
            again.args(arguments).env_remove(alone::VARIABLE).exec()
        }
        Err(error) => error,
    };
    let sentence = format!("the data of this node is damaged ({reason}): it has stopped ({why})");
    let hint = "start it again: it quarantines the damaged data and repairs itself";
    CommandError::new(EXIT_DAMAGED, sentence, hint).into()
}

/// Restarts the program with the token in the environment: all users of the machine see the
/// arguments of a process, and only its owner sees the environment. Returns if that fails.
fn without_token_in_sight(token: &str) -> anyhow::Error {
    use std::os::unix::process::CommandExt as _;
    let mut is_token = false;
    let arguments = std::env::args_os().skip(1).filter(|argument| {
        let text = argument.to_string_lossy();
        let was_flag = std::mem::replace(&mut is_token, text == "--token");
        !was_flag && !is_token && !text.starts_with("--token=")
    });
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    let mut again = std::process::Command::new(program);
    again
        .args(arguments)
        .env("CONCLAVE_JOIN_TOKEN", token)
        .exec()
        .into()
}

/// Makes the system end this process with its parent.
fn die_with_parent(parent: i32) -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)?;
    // The parent may have died before the system was asked.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) == Some(parent) {
        return Ok(());
    }
    let sentence = format!("the parent process {parent} has ended");
    Err(CommandError::new(EXIT_FAILED, sentence, "leave --die-with-parent out").into())
}

fn from_flags(args: Args) -> Overrides {
    Overrides {
        data: args.data,
        node: args.node,
        client_address: args.client_address,
        peer_address: args.peer_address,
        admin_address: args.admin_address,
        members: args.members,
        join: args.join,
        join_token: args.token,
        bootstrap_expect: args.bootstrap_expect,
        secret_file: args.secret_file,
        replaces: args.replaces,
        witness: args.witness.then_some(true),
        advertise: args.advertise,
        tls_certificate: args.tls_certificate,
        tls_key: args.tls_key,
        plain: args.plain.then_some(true),
        unsafe_no_sync: args.unsafe_no_sync.then_some(true),
        log: args.log,
        log_format: args.log_format,
        registration: args.registration,
    }
}
