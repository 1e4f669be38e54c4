//! `conclave serve`: runs one node.
//!
//! A setting comes from the command line, or else from the environment, or else from the file, or
//! else from the defaults. An unknown key is refused, so that a typing error does not become a
//! default.

mod catching_up;
mod disk;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use conclave_server::{
    ConfigError, Fault, IdentityError, Node, NodeConfig, Overrides, OwnCertificateError,
    Registration, SecurityError, StartError, Stuck,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::{
    EnvFilter, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use catching_up::Screen;

use crate::{
    errors::{CommandError, EXIT_DAMAGED, EXIT_FAILED, EXIT_USAGE, note},
    output,
};

/// Maximum number of worker threads. More have nothing to do: the leader's core is one task.
const WORKER_THREADS_MAX: usize = 8;

/// Longest time that a node may take to stop after it was asked to; then it ends all the same.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// Time for which a node that found damage still answers, without voting, before it restarts.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Log filter for the libraries below. The engine under the replica warns on every heartbeat that
/// fails, for as long as a peer is away, and logs an error for each request while it stops. The
/// node itself logs what matters of that, once. A filter that names the engine wins.
const ENGINE_LOG: &str = "openraft=off,h2=error,hyper=error";

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
    /// End when the process with this number ends, which must have started this one
    #[arg(long, hide = true, value_name = "PID")]
    die_with_parent: Option<i32>,
}

/// Parses the registration policy.
fn registration() -> impl TypedValueParser<Value = Registration> {
    let words = Registration::ALL.map(Registration::as_str);
    PossibleValuesParser::new(words).try_map(|word| word.parse::<Registration>())
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
    let screen = Screen::new();
    let filter = log_to(&screen, &config.log)?;
    // The files of a node hold messages and password hashes: other users may not read them,
    // whatever process made the directory or a file in it.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    // Signals that come while the node is starting must not be lost.
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    let mut others = OtherSignals::new()?;
    let node = tokio::select! {
        node = Box::pin(Node::start(config)) => node.map_err(|error| no_start(&data, error))?,
        // A node may wait for a long time to join.
        () = signals.next() => return Ok(ExitCode::SUCCESS),
        // The node does not run yet, so there is nothing to read again.
        never = others.heed(|| {}) => match never {},
    };
    let ended = tokio::select! {
        ended = serve(&node, &mut signals) => ended,
        never = catching_up::tell(&node, &screen) => match never {},
        never = others.heed(|| read_again(&settings, &filter, &node)) => match never {},
    };
    screen.clear();
    ended?;
    tokio::select! {
        () = node.stop(STOP_LIMIT) => {}
        () = signals.next() => {}
    }
    Ok(ExitCode::SUCCESS)
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

/// Handle that changes the log filter while the node runs.
type FilterHandle = reload::Handle<EnvFilter, tracing_subscriber::Registry>;

/// Reads again what may change while a node runs: its certificate, its log filter, and the offset
/// by which tests set its clock off. Everything else is read at its next start.
fn read_again(settings: &Settings, filter: &FilterHandle, node: &Node) {
    node.read_certificate_again();
    let read = settings.load().map_err(wrong_config);
    let read = read.and_then(|config| Ok((log_filter(&config.log)?, config)));
    match read {
        Ok((new, config)) => {
            node.set_clock_offset(config.clock_offset_ms);
            // This fails only if the subscriber is gone, and then nothing is logged.
            let _ = filter.reload(new);
            tracing::info!(log = config.log, "the settings were reloaded");
        }
        Err(error) => tracing::warn!(%error, "failed to reload the settings"),
    }
}

/// Prints the node's lines until a signal stops it.
async fn serve(node: &Node, signals: &mut Signals) -> anyhow::Result<()> {
    output::line(&format!(
        "listening client={} peer={} node={}",
        node.client_address(),
        node.peer_address(),
        node.node()
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
                told = true;
            }
            () = signals.next() => return Ok(()),
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

fn log_filter(filter: &str) -> Result<EnvFilter, CommandError> {
    let with_engine = format!("{ENGINE_LOG},{filter}");
    EnvFilter::try_new(with_engine).map_err(|error| {
        let sentence = format!("`{filter}` is not a log filter: {error}");
        CommandError::new(
            EXIT_USAGE,
            sentence,
            "use a level such as info, or target=level",
        )
    })
}

fn log_to(screen: &Screen, filter: &str) -> Result<FilterHandle, CommandError> {
    let (filter, handle) = reload::Layer::new(log_filter(filter)?);
    let colours = screen.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let screen = screen.clone();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || screen.clone())
        .with_ansi(colours)
        .with_target(false)
        .compact();
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    // A subscriber is set already only if one process runs two nodes.
    let _ = subscriber.try_init();
    Ok(handle)
}

fn wrong_config(error: ConfigError) -> CommandError {
    let hint = "`conclave serve --help` lists what can be set; in a file and in the environment \
                the same words are written with underscores";
    CommandError::new(EXIT_USAGE, error.to_string(), hint)
}

/// Puts the reason why the node did not start into words for the operator.
fn no_start(data: &Path, error: StartError) -> anyhow::Error {
    let is_of_lock = matches!(error, StartError::Identity(IdentityError::Lock { .. }));
    let failure = error.disk_failure();
    // The lock file of another user has words of its own.
    let failure = failure.filter(|failure| !(is_of_lock && failure.fault == Fault::Refused));
    if let Some(failure) = failure {
        tracing::error!(error = %failure, "the disk has failed");
        return disk::failed(data, &failure).into();
    }
    let (sentence, hint) = match &error {
        StartError::Config(_) => {
            let hint = "addresses are written as HOST:PORT, members as \
                        1=PEERHOST:PORT/CLIENTHOST:PORT,2=…";
            return CommandError::new(EXIT_USAGE, error.to_string(), hint).into();
        }
        StartError::Listen {
            address,
            callers,
            source,
        } if source.kind() == std::io::ErrorKind::AddrInUse => {
            let sentence = format!("the address {address} for {callers} is in use");
            (
                sentence,
                "stop the other program, or choose another address",
            )
        }
        StartError::Identity(IdentityError::InUse { .. }) => (
            chain(&error),
            "stop the other process; do not remove the lock file",
        ),
        StartError::Identity(IdentityError::Lock { .. }) => (
            chain(&error),
            "run the node as the user that owns its directory, or give that user the files: it \
             was perhaps started as root once",
        ),
        StartError::Identity(IdentityError::OtherNode { .. }) => (
            chain(&error),
            "start it with its own --node, or give this node its own --data",
        ),
        StartError::Security(error) => (chain(error), security_hint(error)),
        StartError::Join(_) => (
            chain(&error),
            "conclave serve --help says what belongs together; --advertise HOST says where \
             others reach a node",
        ),
        StartError::Refused(problem) => {
            let (code, hint) = crate::errors::of_reason(problem.reason());
            return CommandError::new(code, error.to_string(), hint).into();
        }
        StartError::Damaged { stuck, .. } => {
            let hint = damaged_hint(stuck);
            return CommandError::new(EXIT_DAMAGED, error.to_string(), hint).into();
        }
        StartError::Replica(_) => (
            chain(&error),
            "leave the files as they are and see docs/operations.md",
        ),
        StartError::Listen { .. }
        | StartError::Identity(_)
        | StartError::Disk(_)
        | StartError::System(_) => (
            chain(&error),
            "docs/operations.md says how a node is started",
        ),
    };
    CommandError::new(EXIT_FAILED, sentence, hint).into()
}

/// Returns the hint for damaged data that no other node has, or that no other node sends.
fn damaged_hint(stuck: &Stuck) -> &'static str {
    match stuck {
        Stuck::Alone => {
            "nothing was changed: restore a backup of the whole directory, or give --join with \
             the peer addresses of healthy nodes"
        }
        Stuck::NoSecret => {
            "on a healthy node remove this one with `conclave cluster remove`, add it under \
             a new number, and start it with an empty directory"
        }
        Stuck::TooOften { .. } => {
            "check the disk and the memory of this machine; when they are good remove the \
             damaged-N directories, and start it again"
        }
        Stuck::NotAdmitted { .. } => {
            "nothing was changed: start the other nodes, of which a majority must be healthy, and \
             then this one again"
        }
        Stuck::Refused(problem) => crate::errors::of_reason(problem.reason()).1,
    }
}

fn security_hint(error: &SecurityError) -> &'static str {
    match error {
        SecurityError::PlainOffLoopback { .. } => {
            "leave out --plain: then all connections of clients are encrypted"
        }
        SecurityError::SecretMissing => {
            "give every node the same --secret-file: `conclave token secret` makes one"
        }
        SecurityError::OwnHalf => {
            "give --tls-certificate and --tls-key, or neither: without them clients know the \
             cluster by its fingerprint"
        }
        SecurityError::OwnInPlain => "leave out --plain, or --tls-certificate and --tls-key",
        SecurityError::Own(OwnCertificateError::Curve { .. }) => {
            "make a key on P-256 or P-384, of Ed25519, or of RSA, and a certificate for it"
        }
        SecurityError::Own(_) => {
            "both are PEM files that the node can read: the certificate of the name and the chain \
             to its authority, in this order, and the private key without a passphrase"
        }
        SecurityError::Certificates(_) => "the operating system must provide random bytes",
    }
}

/// Formats an error with all its causes as one sentence.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |sentence, cause| {
        format!("{sentence}: {cause}")
    })
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
            std::process::Command::new(program).args(arguments).exec()
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
        members: args.members,
        join: args.join,
        join_token: args.token,
        bootstrap_expect: args.bootstrap_expect,
        secret_file: args.secret_file,
        replaces: args.replaces,
        advertise: args.advertise,
        tls_certificate: args.tls_certificate,
        tls_key: args.tls_key,
        plain: args.plain.then_some(true),
        unsafe_no_sync: args.unsafe_no_sync.then_some(true),
        log: args.log,
        registration: args.registration,
    }
}
