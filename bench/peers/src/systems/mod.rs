//! The systems that are measured: what each promises, how its cluster starts, what one message is.
//!
//! One file for each system. Conclave's cluster and callers are those of `conclave bench`.

pub(crate) mod conclave;
mod ejabberd;
mod etcd;
#[cfg(feature = "hiqlite")]
pub(crate) mod hiqlite;
mod nats;

use std::path::Path;

use anyhow::bail;
use clap::ValueEnum;
use conclave_figures::results::System;

use crate::servers::{Servers, find, output};

/// Callers that share one connection, as in `conclave bench`.
const CALLERS_PER_CONNECTION: u64 = 64;

/// A system that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Conclave,
    Etcd,
    Nats,
    Hiqlite,
    Ejabberd,
    EjabberdArchive,
}

/// How a cluster is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) nodes: usize,
    pub(crate) callers: u64,
    pub(crate) payload: u64,
    /// Directory in which the cluster makes one of its own.
    pub(crate) directory: &'a Path,
    /// Whether an election begins after 500 ms without a heartbeat, of which there is one every
    /// 50 ms. Only for etcd.
    pub(crate) quick_timers: bool,
}

/// A cluster under measurement. It ends when it is dropped.
pub(crate) struct Cluster {
    pub(crate) caller: Caller,
    pub(crate) servers: Servers,
    /// Ids of the servers whose costs count.
    pub(crate) ids: Vec<u32>,
    /// Number of the server that leads, in the order in which they were started.
    pub(crate) leader: usize,
}

/// What sends one message to a cluster, and knows when it is acknowledged.
#[derive(Clone)]
pub(crate) enum Caller {
    Etcd(etcd::Caller),
    Nats(nats::Caller),
    #[cfg(feature = "hiqlite")]
    Hiqlite(hiqlite::Caller),
    Ejabberd(ejabberd::Caller),
}

impl Caller {
    /// Sends a message and waits for its acknowledgement.
    pub(crate) async fn send(&self, caller: u64, message: u64) -> anyhow::Result<()> {
        match self {
            Self::Etcd(it) => it.send(caller, message).await,
            Self::Nats(it) => it.send(message).await,
            #[cfg(feature = "hiqlite")]
            Self::Hiqlite(it) => it.send(message).await,
            Self::Ejabberd(it) => it.send(caller, message).await,
        }
    }

    /// Returns how many messages the cluster holds, if it can be asked.
    pub(crate) async fn stored(&self) -> anyhow::Result<Option<u64>> {
        match self {
            Self::Etcd(it) => Ok(Some(it.stored().await?)),
            Self::Nats(it) => Ok(Some(it.stored().await?)),
            #[cfg(feature = "hiqlite")]
            Self::Hiqlite(it) => Ok(Some(it.stored().await?)),
            Self::Ejabberd(_) => Ok(None),
        }
    }

    /// Returns callers that each talk to one server only, in the order of the servers.
    pub(crate) fn one_for_each_server(&self) -> anyhow::Result<Vec<etcd::Caller>> {
        match self {
            Self::Etcd(it) => Ok(it.one_for_each_server()),
            _ => bail!("leaders are killed in etcd and Conclave only"),
        }
    }
}

impl Kind {
    /// Returns the name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conclave => "Conclave",
            Self::Etcd => "etcd",
            Self::Nats => "NATS JetStream",
            Self::Hiqlite => "hiqlite",
            Self::Ejabberd => "ejabberd",
            Self::EjabberdArchive => "ejabberd, archive",
        }
    }

    /// Returns the program and the Debian package that has it.
    fn package(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Conclave | Self::Hiqlite => None,
            Self::Etcd => Some(("etcd", "etcd-server")),
            Self::Nats => Some(("nats-server", "nats-server")),
            Self::Ejabberd | Self::EjabberdArchive => Some(("ejabberdctl", "ejabberd")),
        }
    }

    /// Installs the system if it is missing.
    ///
    /// # Errors
    /// If it is missing and may not or cannot be installed.
    pub(crate) fn install(self, may_install: bool) -> anyhow::Result<()> {
        if self == Self::Hiqlite && cfg!(not(feature = "hiqlite")) {
            bail!("this build has no hiqlite: build it with `--features hiqlite`");
        }
        let Some((program, package)) = self.package() else {
            return Ok(());
        };
        if find(program).is_some() {
            return Ok(());
        }
        if !may_install {
            bail!("there is no `{program}`: install the package {package}, or add --install");
        }
        eprintln!("installing {package}");
        output(
            "apt-get",
            &["install", "-y", "--no-install-recommends", package],
        )?;
        Ok(())
    }

    /// Describes the system and its promises.
    pub(crate) fn describe(self, conclave: &Path) -> anyhow::Result<System> {
        let [version, settings, synced, replicated, retries] = match self {
            Self::Conclave => conclave::promises(conclave)?,
            Self::Etcd => etcd::promises()?,
            Self::Nats => nats::promises()?,
            Self::Hiqlite => hiqlite_promises(),
            Self::Ejabberd => ejabberd::promises(false)?,
            Self::EjabberdArchive => ejabberd::promises(true)?,
        };
        let name = self.name().to_owned();
        Ok(System {
            name,
            version,
            settings,
            synced,
            replicated,
            retries,
        })
    }

    /// Starts a cluster and waits until it serves.
    pub(crate) async fn start(self, shape: Shape<'_>) -> anyhow::Result<Cluster> {
        match self {
            Self::Conclave => bail!("Conclave's cluster is started by `conclave bench`"),
            Self::Etcd => etcd::start(shape).await,
            Self::Nats => nats::start(shape).await,
            #[cfg(feature = "hiqlite")]
            Self::Hiqlite => hiqlite::start(shape).await,
            #[cfg(not(feature = "hiqlite"))]
            Self::Hiqlite => bail!("this build has no hiqlite"),
            Self::Ejabberd => ejabberd::start(shape, false).await,
            Self::EjabberdArchive => ejabberd::start(shape, true).await,
        }
    }
}

#[cfg(feature = "hiqlite")]
fn hiqlite_promises() -> [String; 5] {
    hiqlite::promises()
}

#[cfg(not(feature = "hiqlite"))]
fn hiqlite_promises() -> [String; 5] {
    Default::default()
}
