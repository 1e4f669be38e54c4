//! Where settings come from besides the file: variables of the environment and flags, as keys of
//! the configuration with their values; and what is wrong with settings.
//!
//! It checks the type of a value and nothing else.

use std::path::PathBuf;

use config::Value;

use crate::{LogFormat, Registration};

/// Settings from flags: only those that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// See `NodeConfig::data`.
    pub data: Option<PathBuf>,
    /// See `NodeConfig::node`.
    pub node: Option<u64>,
    /// See `NodeConfig::client_address`.
    pub client_address: Option<String>,
    /// See `NodeConfig::peer_address`.
    pub peer_address: Option<String>,
    /// See `NodeConfig::admin_address`.
    pub admin_address: Option<String>,
    /// See `NodeConfig::members`.
    pub members: Option<Vec<String>>,
    /// See `NodeConfig::join`.
    pub join: Option<Vec<String>>,
    /// See `NodeConfig::join_token`.
    pub join_token: Option<String>,
    /// See `NodeConfig::secret_file`.
    pub secret_file: Option<PathBuf>,
    /// See `NodeConfig::bootstrap_expect`.
    pub bootstrap_expect: Option<u32>,
    /// See `NodeConfig::replaces`.
    pub replaces: Option<u64>,
    /// See `NodeConfig::witness`.
    pub witness: Option<bool>,
    /// See `NodeConfig::advertise`.
    pub advertise: Option<String>,
    /// See `NodeConfig::tls_certificate`.
    pub tls_certificate: Option<PathBuf>,
    /// See `NodeConfig::tls_key`.
    pub tls_key: Option<PathBuf>,
    /// See `NodeConfig::plain`.
    pub plain: Option<bool>,
    /// See `NodeConfig::unsafe_no_sync`.
    pub unsafe_no_sync: Option<bool>,
    /// See `NodeConfig::log`.
    pub log: Option<String>,
    /// See `NodeConfig::log_format`.
    pub log_format: Option<LogFormat>,
    /// See `NodeConfig::registration`.
    pub registration: Option<Registration>,
}

/// The configuration is invalid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file, a variable or a flag cannot be read, has an unknown key or a value of another type.
    #[error("the configuration cannot be read: {0}")]
    Unreadable(String),
    /// A member is not written in the required form.
    #[error("`{text}` is not a member: {why}")]
    Member {
        /// Text of the member.
        text: String,
        /// Reason why the text is invalid.
        why: &'static str,
    },
    /// The members contradict each other or the node.
    #[error("{0}")]
    Members(String),
    /// A public address is no base URL.
    #[error("`{0}` is no public address: it must read https://HOST or https://HOST:PORT")]
    Public(String),
    /// A trusted proxy is no address and no network.
    #[error("`{0}` is no trusted proxy: it must read ADDRESS or ADDRESS/BITS, with 1 bit or more")]
    Proxy(String),
    /// The table `backup` is none of a schedule.
    #[error("backup: {0}")]
    Backup(String),
    /// The table `recover` contradicts itself.
    #[error("recover: {0}")]
    Recover(String),
    /// The table `trace` names no collector to which spans can be sent.
    #[error("trace: {0}")]
    Trace(String),
    /// The table `trace` names a collector, and this program was built without what sends spans.
    #[error("`trace.otlp` is set, and this program was built without the feature `otlp`")]
    NoTraces,
    /// The table `demo` is none of a node that `conclave demo` starts.
    #[error("demo: {0}")]
    Demo(&'static str),
}

/// Keys that a variable sets to its text.
const TEXTS: [&str; 16] = [
    "data",
    "client_address",
    "peer_address",
    "admin_address",
    "join_token",
    "secret_file",
    "advertise",
    "tls_certificate",
    "tls_key",
    "log",
    "log_format",
    "backup.directory",
    "backup.every",
    "recover.fence_command",
    "trace.otlp",
    // Made a number where it is read.
    "trace.sample",
];
/// Keys that a variable sets to its number.
const NUMBERS: [&str; 15] = [
    "node",
    "bootstrap_expect",
    "replaces",
    "repair_wait_seconds",
    "stale_seconds",
    "clock_offset_ms",
    "newest_version",
    "log_keep_entries",
    "snapshot_bytes_per_second",
    "min_free_bytes",
    "drain_ms",
    "stop_seconds",
    "backup.keep",
    "recover.after_seconds",
    "recover.fence_seconds",
];

/// Returns the variables that are set.
pub(crate) fn from_environment(
    variable: impl Fn(&str) -> Result<Option<String>, ConfigError>,
) -> Result<Vec<(&'static str, Value)>, ConfigError> {
    let mut given: Vec<(&'static str, Value)> = Vec::new();
    // A key of a table has a point before its own name.
    let name = |key: &str| format!("CONCLAVE_{}", key.to_ascii_uppercase().replace('.', "_"));
    for key in TEXTS {
        given.extend(variable(&name(key))?.map(|text| (key, Value::from(text))));
    }
    for key in NUMBERS {
        if let Some(text) = variable(&name(key))? {
            let number: i64 = text.trim().parse().map_err(|_| {
                ConfigError::Unreadable(format!("{} must be a number, not `{text}`", name(key)))
            })?;
            given.push((key, Value::from(number)));
        }
    }
    for key in ["plain", "witness", "recover.assume_fail_stop"] {
        if let Some(text) = variable(&name(key))? {
            let value: bool = text.trim().parse().map_err(|_| {
                let sentence = format!("{} must be true or false, not `{text}`", name(key));
                ConfigError::Unreadable(sentence)
            })?;
            given.push((key, Value::from(value)));
        }
    }
    if let Some(text) = variable("CONCLAVE_REGISTRATION")? {
        let mode: Registration = text
            .parse()
            .map_err(|why| ConfigError::Unreadable(format!("CONCLAVE_REGISTRATION: {why}")))?;
        given.push(("registration", Value::from(mode.as_str())));
    }
    for key in ["members", "join", "public_addresses", "trusted_proxies"] {
        if let Some(text) = variable(&name(key))? {
            let parts = text.split(',').map(|part| part.trim().to_owned());
            given.push((key, Value::from(parts.collect::<Vec<String>>())));
        }
    }
    Ok(given)
}

/// Returns the flags that were given.
pub(crate) fn from_flags(flags: &Overrides) -> Vec<(&'static str, Value)> {
    let flags = flags.clone();
    let texts = [
        ("client_address", flags.client_address),
        ("peer_address", flags.peer_address),
        ("admin_address", flags.admin_address),
        ("join_token", flags.join_token),
        ("advertise", flags.advertise),
        ("log", flags.log),
        (
            "log_format",
            flags.log_format.map(|format| format.as_str().to_owned()),
        ),
    ];
    let mut given: Vec<(&'static str, Value)> = texts
        .into_iter()
        .filter_map(|(key, text)| Some((key, Value::from(text?))))
        .collect();
    let numbers = [
        ("node", flags.node),
        ("bootstrap_expect", flags.bootstrap_expect.map(u64::from)),
        ("replaces", flags.replaces),
    ];
    given.extend(
        numbers
            .into_iter()
            .filter_map(|(key, number)| Some((key, Value::from(number?)))),
    );
    given.extend(
        flags
            .registration
            .map(|mode| ("registration", Value::from(mode.as_str()))),
    );
    given.extend(
        flags
            .members
            .map(|members| ("members", Value::from(members))),
    );
    given.extend(flags.join.map(|join| ("join", Value::from(join))));
    given.extend(flags.plain.map(|plain| ("plain", Value::from(plain))));
    given.extend(
        flags
            .witness
            .map(|witness| ("witness", Value::from(witness))),
    );
    given.extend(
        flags
            .unsafe_no_sync
            .map(|unsafe_| ("unsafe_no_sync", Value::from(unsafe_))),
    );
    given
}
