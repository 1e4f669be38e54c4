//! The configuration of a node: defaults, overridden by a file, by the environment, by flags.
//!
//! Always true: an unknown key is refused, in whatever source it stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    env::VarError,
    path::{Path, PathBuf},
};

use axum::http::HeaderValue;
use conclave_core::{ClusterVersion, VersionRange};
use conclave_replica::{Member, VOTERS_MAX};
use conclave_wire::address;
use serde::Deserialize;

use crate::{
    Limits, LogFormat, Registration,
    config::{
        backup::{BackupConfig, BackupSchedule},
        demo::Demo,
        recover::{FailStop, RecoverConfig},
        sources::{ConfigError, Overrides, from_environment, from_flags},
        trace::TraceConfig,
    },
    connections::proxies::TrustedProxies,
    protocol::origin::Origin,
};

/// Default time for which a node that is cut off answers stale reads and keeps streams: five
/// minutes. During them a node of a cluster without a quorum is still of use; after them a node
/// that was cut off alone sends nothing more to sessions that were logged out elsewhere.
const STALE_SECONDS: u64 = 300;
/// Default time for which a node that leaves still serves calls, in milliseconds: clients of the
/// library go to the leader after their next call.
const DRAIN_MS: u64 = 500;
/// Default longest time to stop, in seconds: five less than Kubernetes waits.
const STOP_SECONDS: u64 = 25;

/// The admin address of a node without an admin listener.
pub(crate) const ADMIN_OFF: &str = "off";

/// The configuration of one node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// Data directory; made if it does not exist.
    pub data: PathBuf,
    /// Number of the node, if the operator chooses it and the cluster does not assign it. 1 for a
    /// node that makes a cluster alone.
    pub node: Option<u64>,
    /// Address (host:port) on which the node serves clients.
    pub client_address: String,
    /// Address (host:port) on which the node serves peers.
    pub peer_address: String,
    /// Address (host:port) on which the node answers probes and serves its metrics, over plain
    /// HTTP; `off`: nowhere. If none is given, loopback, two ports after that for clients.
    pub admin_address: Option<String>,
    /// `number=peer address/client address` for every member; empty: this node alone.
    pub members: Vec<String>,
    /// Addresses (host:port) of peers of the cluster that the node joins if its directory is new;
    /// empty: it makes the cluster of its `members`.
    pub join: Vec<String>,
    /// Token from `conclave token create`, with which the node joins if its directory is new.
    pub join_token: Option<String>,
    /// File of the cluster's secret, for nodes that are to find each other.
    pub secret_file: Option<PathBuf>,
    /// Number of nodes of `join`, from the first on, that make the cluster together; 0: none do.
    pub bootstrap_expect: u32,
    /// Number of the member whose place the node takes when it joins.
    pub replaces: Option<u64>,
    /// Whether the node joins as a witness, which votes and keeps the log, and has no messages.
    pub witness: bool,
    /// Host under which other machines reach the node, if it differs from the one that it listens
    /// on.
    pub advertise: Option<String>,
    /// Base URLs (`https://chat.example`) at which browsers reach the cluster, if these are not the
    /// client addresses of its nodes.
    pub public_addresses: Vec<String>,
    /// Addresses and networks (`10.0.0.7`, `10.0.1.0/24`) of proxies in front of the node. A node
    /// believes them, and no other caller, which client a request comes from.
    pub trusted_proxies: Vec<String>,
    /// Chain of certificates for the public name of the cluster, in PEM; with `tls_key`.
    pub tls_certificate: Option<PathBuf>,
    /// Private key of `tls_certificate`, in PEM.
    pub tls_key: Option<PathBuf>,
    /// Whether the node serves clients in plain text: only on loopback.
    pub plain: bool,
    /// Whether the node does not sync its log: for throw-away test nodes only.
    pub unsafe_no_sync: bool,
    /// Filter of the log, as `level` or `target=level,…`.
    pub log: String,
    /// Form of the lines of the log.
    pub log_format: LogFormat,
    /// Registration policy: who may create an account. If none is given,
    /// [`Registration::default_at`].
    pub registration: Option<Registration>,
    /// How long a node whose data is damaged asks the other nodes to admit it again, in seconds.
    pub repair_wait_seconds: u64,
    /// How long a node that is cut off from every leader answers stale reads and keeps streams, in
    /// seconds: a session or membership that is revoked meanwhile still works there.
    pub stale_seconds: u64,
    /// Offset of the clock in milliseconds, for tests. Read again at SIGHUP.
    pub clock_offset_ms: i64,
    /// Newest cluster version that the node applies, as an earlier build has it: for tests.
    pub newest_version: Option<u32>,
    /// Number of log entries kept behind the database, for tests.
    pub log_keep_entries: Option<u64>,
    /// Maximum number of bytes of snapshots that the node sends in a second, to all receivers
    /// together; 0: no limit. If not given, a rate that other callers hardly notice.
    pub snapshot_bytes_per_second: Option<u64>,
    /// Limits of what callers may use of both ports.
    pub limits: Limits,
    /// What `conclave demo` sets on its nodes.
    pub demo: Demo,
    /// Time for which a node that is drained or asked to stop still serves calls, after its
    /// leadership and its streams went to other nodes, in milliseconds: long enough for load
    /// balancers to notice. When it stops, at most about half of `stop_seconds`.
    pub drain_ms: u64,
    /// Longest time that the node takes to stop after it was asked to, in seconds: less than what
    /// service managers wait before they kill it (Kubernetes: 30 seconds, systemd: 90 seconds).
    pub stop_seconds: u64,
    /// Number of free bytes on the node's disk below which the cluster refuses commands that store
    /// more; 0: never. If not given, 512 MiB or a tenth of the disk, whichever is less.
    pub min_free_bytes: Option<u64>,
    /// Backups that the node makes by itself.
    pub backup: BackupConfig,
    /// Recovery that the node carries out by itself.
    pub recover: RecoverConfig,
    /// Where the steps of some calls are sent.
    pub trace: TraceConfig,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./conclave-data"),
            node: None,
            client_address: "127.0.0.1:7400".to_owned(),
            peer_address: "127.0.0.1:7401".to_owned(),
            admin_address: None,
            members: Vec::new(),
            join: Vec::new(),
            join_token: None,
            secret_file: None,
            bootstrap_expect: 0,
            replaces: None,
            witness: false,
            advertise: None,
            public_addresses: Vec::new(),
            trusted_proxies: Vec::new(),
            tls_certificate: None,
            tls_key: None,
            plain: false,
            unsafe_no_sync: false,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            registration: None,
            repair_wait_seconds: 600,
            stale_seconds: STALE_SECONDS,
            clock_offset_ms: 0,
            newest_version: None,
            log_keep_entries: None,
            snapshot_bytes_per_second: None,
            limits: Limits::default(),
            demo: Demo::default(),
            drain_ms: DRAIN_MS,
            stop_seconds: STOP_SECONDS,
            min_free_bytes: None,
            backup: BackupConfig::default(),
            recover: RecoverConfig::default(),
            trace: TraceConfig::default(),
        }
    }
}

impl NodeConfig {
    /// Reads `file` (if given), then the environment (`CONCLAVE_DATA`, `CONCLAVE_NODE`,
    /// `CONCLAVE_CLIENT_ADDRESS`, `CONCLAVE_PEER_ADDRESS`, `CONCLAVE_ADMIN_ADDRESS`,
    /// `CONCLAVE_MEMBERS` and
    /// `CONCLAVE_JOIN` (commas between), `CONCLAVE_JOIN_TOKEN`, `CONCLAVE_SECRET_FILE`,
    /// `CONCLAVE_BOOTSTRAP_EXPECT`, `CONCLAVE_REPLACES`, `CONCLAVE_ADVERTISE`,
    /// `CONCLAVE_PUBLIC_ADDRESSES` and `CONCLAVE_TRUSTED_PROXIES` (commas between),
    /// `CONCLAVE_TLS_CERTIFICATE`, `CONCLAVE_TLS_KEY`, `CONCLAVE_PLAIN` (`true` or `false`),
    /// `CONCLAVE_REPAIR_WAIT_SECONDS`, `CONCLAVE_STALE_SECONDS`, `CONCLAVE_DRAIN_MS`,
    /// `CONCLAVE_STOP_SECONDS`, `CONCLAVE_LOG`, `CONCLAVE_LOG_FORMAT` (`text` or `json`),
    /// `CONCLAVE_REGISTRATION`, `CONCLAVE_SNAPSHOT_BYTES_PER_SECOND`, `CONCLAVE_BACKUP_DIRECTORY`,
    /// `CONCLAVE_BACKUP_EVERY`, `CONCLAVE_BACKUP_KEEP`, `CONCLAVE_RECOVER_FENCE_COMMAND`,
    /// `CONCLAVE_RECOVER_FENCE_SECONDS`, `CONCLAVE_RECOVER_ASSUME_FAIL_STOP`,
    /// `CONCLAVE_RECOVER_AFTER_SECONDS`, `CONCLAVE_TRACE_OTLP`, `CONCLAVE_TRACE_SAMPLE`; an empty
    /// one says nothing), then `flags`; what comes later wins.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`], with the file or the key that is the cause.
    pub fn load(file: Option<&Path>, flags: &Overrides) -> Result<Self, ConfigError> {
        let variable = |key: &str| match std::env::var(key) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => {
                let sentence = format!("{key} is not text in UTF-8");
                Err(ConfigError::Unreadable(sentence))
            }
        };
        Self::load_with(file, variable, flags)
    }

    fn load_with(
        file: Option<&Path>,
        variable: impl Fn(&str) -> Result<Option<String>, ConfigError>,
        flags: &Overrides,
    ) -> Result<Self, ConfigError> {
        let unreadable = |error: config::ConfigError| ConfigError::Unreadable(error.to_string());
        let mut sources = config::Config::builder();
        if let Some(file) = file {
            let file = config::File::from(file).format(config::FileFormat::Toml);
            sources = sources.add_source(file);
        }
        for (key, value) in from_environment(variable)?
            .into_iter()
            .chain(from_flags(flags))
        {
            // A later value replaces an earlier one.
            sources = sources.set_override(key, value).map_err(unreadable)?;
        }
        let loaded = sources.build().map_err(unreadable)?;
        let mut config: Self = loaded.try_deserialize().map_err(unreadable)?;
        // A path is bytes and need not be text: a conversion to text might name another path.
        if let Some(data) = &flags.data {
            config.data.clone_from(data);
        }
        for (given, kept) in [
            (&flags.secret_file, &mut config.secret_file),
            (&flags.tls_certificate, &mut config.tls_certificate),
            (&flags.tls_key, &mut config.tls_key),
        ] {
            if given.is_some() {
                kept.clone_from(given);
            }
        }
        Ok(config)
    }

    /// Returns the members by number; empty if none are configured.
    ///
    /// # Errors
    /// [`ConfigError::Member`] and [`ConfigError::Members`].
    pub fn members(&self) -> Result<BTreeMap<u64, Member>, ConfigError> {
        let mut members = BTreeMap::new();
        let mut addresses = BTreeSet::new();
        for text in &self.members {
            let (node, member) = parse_member(text)?;
            for address in [&member.peer_address, &member.client_address] {
                if !addresses.insert(address.clone()) {
                    let sentence = format!("two members have the address {address}");
                    return Err(ConfigError::Members(sentence));
                }
            }
            if members.insert(node, member).is_some() {
                return Err(ConfigError::Members(format!("node {node} is named twice")));
            }
        }
        if self.node == Some(0) {
            return Err(ConfigError::Members("nodes are numbered from 1".to_owned()));
        }
        if members.len() > VOTERS_MAX {
            let sentence = format!("a cluster has at most {VOTERS_MAX} voters");
            return Err(ConfigError::Members(sentence));
        }
        for address in &self.join {
            if let Err(why) = address::check(address) {
                return Err(ConfigError::Members(format!("`{address}` to join: {why}")));
            }
        }
        for (what, address) in [
            ("client_address", &self.client_address),
            ("peer_address", &self.peer_address),
        ] {
            if let Err(why) = address::check_listen(address) {
                return Err(ConfigError::Members(format!("{what} `{address}`: {why}")));
            }
        }
        if let Some(address) = self.admin_address.as_deref().filter(|at| *at != ADMIN_OFF)
            && let Err(why) = address::check_listen(address)
        {
            let sentence = format!("admin_address `{address}`: {why}");
            return Err(ConfigError::Members(sentence));
        }
        if let Some(host) = &self.advertise
            && let Err(why) = address::check_host(host)
        {
            return Err(ConfigError::Members(format!("advertise `{host}`: {why}")));
        }
        if !self.join.is_empty() && !members.is_empty() {
            let sentence = "a node either joins a cluster or makes one with its members";
            return Err(ConfigError::Members(sentence.to_owned()));
        }
        let node = self.node.unwrap_or(1);
        if !members.is_empty() && !members.contains_key(&node) {
            let sentence = format!("node {node} is not among the members");
            return Err(ConfigError::Members(sentence));
        }
        Ok(members)
    }

    /// Returns the cluster versions that the node applies.
    pub(crate) fn versions(&self) -> VersionRange {
        match self.newest_version {
            Some(newest) => VersionRange::BUILD.up_to(ClusterVersion(newest)),
            None => VersionRange::BUILD,
        }
    }

    /// Returns the origins of the pages that browsers load from [`Self::public_addresses`].
    ///
    /// # Errors
    /// [`ConfigError::Public`].
    pub(crate) fn public_origins(&self) -> Result<Vec<Origin>, ConfigError> {
        let origins = self.public_addresses.iter().map(|text| {
            let header = HeaderValue::from_str(text.trim_end_matches('/')).ok();
            let origin = header.and_then(|header| Origin::parse(&header));
            origin.ok_or_else(|| ConfigError::Public(text.clone()))
        });
        origins.collect()
    }

    /// Returns the proxies that may name the caller of a request.
    ///
    /// # Errors
    /// [`ConfigError::Proxy`].
    pub(crate) fn trusted_proxies(&self) -> Result<TrustedProxies, ConfigError> {
        TrustedProxies::parse(&self.trusted_proxies).map_err(ConfigError::Proxy)
    }

    /// Returns the panel of the demonstration that the node takes part in.
    ///
    /// # Errors
    /// [`ConfigError::Demo`].
    pub(crate) fn demo_panel(&self) -> Result<Option<String>, ConfigError> {
        self.demo.panel(self.plain).map_err(ConfigError::Demo)
    }

    /// Returns when and where the node makes backups by itself.
    ///
    /// # Errors
    /// [`ConfigError::Backup`].
    pub(crate) fn backup_schedule(&self) -> Result<Option<BackupSchedule>, ConfigError> {
        self.backup.schedule().map_err(ConfigError::Backup)
    }

    /// Returns how the node recovers the cluster by itself.
    ///
    /// # Errors
    /// [`ConfigError::Recover`].
    pub(crate) fn fail_stop(&self) -> Result<Option<FailStop>, ConfigError> {
        self.recover.fail_stop().map_err(ConfigError::Recover)
    }

    /// Checks that the settings for joining a cluster fit together. They have no effect on a
    /// directory that belongs to a node already: leftovers of its first start are harmless.
    ///
    /// # Errors
    /// [`ConfigError::Members`].
    pub(crate) fn check_joining(&self) -> Result<(), ConfigError> {
        let initial_members = self.bootstrap_expect as usize;
        let contradiction = if self.join_token.is_some() && self.join.is_empty() {
            "a token (--token or CONCLAVE_JOIN_TOKEN) needs the addresses of nodes to --join"
        } else if self.witness && self.join.is_empty() {
            "a witness joins a cluster that is there: it needs addresses to --join"
        } else if self.witness && initial_members > 0 {
            "a witness joins a cluster that is there, and makes none"
        } else if self.witness && self.join_token.is_none() {
            "a witness joins with a token (--token or CONCLAVE_JOIN_TOKEN)"
        } else if self.join_token.is_some() && initial_members > 0 {
            "a node either joins with a token or makes a cluster with others"
        } else if initial_members > self.join.len() {
            "more nodes are expected than there are addresses to join"
        } else if initial_members > VOTERS_MAX {
            "more nodes are expected than a cluster has voters"
        } else {
            return Ok(());
        };
        Err(ConfigError::Members(contradiction.to_owned()))
    }
}

/// Greatest number of a node that is configured before there is a cluster. Every later number is
/// above it, and a cluster assigns a million in all.
const NODE_FIRST_MAX: u64 = 10_000;

fn parse_member(text: &str) -> Result<(u64, Member), ConfigError> {
    let wrong = |why| ConfigError::Member {
        text: text.to_owned(),
        why,
    };
    let (node, addresses) = text
        .split_once('=')
        .ok_or_else(|| wrong("it must read NUMBER=PEER/CLIENT"))?;
    let node = node
        .trim()
        .parse()
        .map_err(|_| wrong("the number is invalid"))?;
    if node == 0 {
        return Err(wrong("numbers begin with 1"));
    }
    if node > NODE_FIRST_MAX {
        return Err(wrong(
            "the number is above 10000: later nodes get higher ones",
        ));
    }
    let (peer, client) = addresses
        .split_once('/')
        .ok_or_else(|| wrong("it must have two addresses"))?;
    for address in [peer, client] {
        address::check(address.trim()).map_err(wrong)?;
    }
    let (peer_address, client_address) = (peer.trim().to_owned(), client.trim().to_owned());
    Ok((
        node,
        Member {
            peer_address,
            client_address,
            witness: false,
            set_aside: false,
        },
    ))
}

#[cfg(test)]
#[path = "node_config_tests.rs"]
mod tests;
