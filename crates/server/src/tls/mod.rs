//! Encryption: what a node shows to peers and clients, and what it believes of them.
//!
//! All of it follows from the secret of the cluster. Always true: whoever does not know the secret
//! is no peer, and cannot pass for a node before a client that has pinned the authority.

mod accept;
mod authority;
mod certificates;
mod clients;
mod dial;
mod names;
mod own;
mod peers;
mod strangers;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use conclave_wire::trust::Fingerprint;
use rustls::{ClientConfig, ServerConfig, sign::CertifiedKey};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

pub use self::own::OwnCertificateError;
pub(crate) use self::{
    accept::{Caller, Handshakes, Shown},
    authority::IssueError,
    certificates::{Holder, LIFETIME},
    dial::Dial,
    own::{Files as OwnFiles, Watch as OwnWatch},
};
use self::{
    authority::Authority,
    certificates::{Certificates, WallClock},
    clients::Own,
};
use crate::secret::ClusterSecret;

/// What is spoken inside, in the words of ALPN.
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
/// The pause after certificates could not be made anew.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

/// Whether what a node sends and hears is encrypted.
#[derive(Clone)]
pub(crate) enum Security {
    /// It is not: only on loopback, and only if that was asked for.
    Plain,
    /// It is.
    Tls(Arc<Tls>),
}

impl Security {
    /// How to reach a node.
    pub(crate) fn dial(&self, node: u64) -> Dial {
        match self {
            Self::Plain => Dial::Plain,
            Self::Tls(tls) => tls.dial(node),
        }
    }

    /// How to reach whichever node of the cluster is at an address.
    pub(crate) fn dial_anybody(&self) -> Dial {
        match self {
            Self::Plain => Dial::Plain,
            Self::Tls(tls) => Dial::tls(tls.asks.clone(), names::ANY_PEER.to_owned()),
        }
    }

    /// How the port for peers answers; `None`: in plain text.
    pub(crate) fn for_peers(&self) -> Option<Accept> {
        match self {
            Self::Plain => None,
            Self::Tls(tls) => Some(tls.accept_peers()),
        }
    }

    /// How the port for clients answers; `None`: in plain text.
    pub(crate) fn for_clients(&self) -> Option<Accept> {
        match self {
            Self::Plain => None,
            Self::Tls(tls) => Some(tls.accept_clients()),
        }
    }
}

/// How a listener answers.
#[derive(Clone)]
pub(crate) struct Accept {
    config: Arc<ServerConfig>,
    cluster_id: Arc<str>,
}

/// The certificates of one node, and what is made of them.
pub(crate) struct Tls {
    authority: Authority,
    certificates: Arc<Certificates>,
    own: Own,
    /// Whether the files of the own certificate are to be looked at now.
    look_now: Notify,
    asks: Arc<ClientConfig>,
    answers_peers: Arc<ServerConfig>,
    answers_clients: Arc<ServerConfig>,
}

impl Tls {
    /// Those of `holder` in the cluster with this secret, each valid for `lifetime`.
    pub(crate) fn new(
        secret: &ClusterSecret,
        holder: Holder,
        lifetime: Duration,
    ) -> Result<Self, IssueError> {
        Self::with_clock(secret, holder, lifetime, Arc::new(wall_clock))
    }

    fn with_clock(
        secret: &ClusterSecret,
        holder: Holder,
        lifetime: Duration,
        now: WallClock,
    ) -> Result<Self, IssueError> {
        let authority = Authority::of(secret);
        let certificates = Certificates::new(&authority, holder, lifetime, now)?;
        let certificates = Arc::new(certificates);
        let own = Own::default();
        let root = authority.certificate();
        Ok(Self {
            asks: Arc::new(peers::asks(root, certificates.clone())),
            answers_peers: Arc::new(peers::answers(root, certificates.clone())),
            answers_clients: Arc::new(clients::answers(certificates.clone(), own.clone())),
            authority,
            certificates,
            own,
            look_now: Notify::new(),
        })
    }

    /// By which people know the cluster: the SHA-256 of its authority's certificate.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        authority::fingerprint_of(self.authority.certificate())
    }

    fn dial(&self, node: u64) -> Dial {
        let name = names::peer(node, self.authority.cluster_id());
        Dial::tls(self.asks.clone(), name)
    }

    fn accept_peers(&self) -> Accept {
        self.accept(&self.answers_peers)
    }

    fn accept_clients(&self) -> Accept {
        self.accept(&self.answers_clients)
    }

    fn accept(&self, config: &Arc<ServerConfig>) -> Accept {
        Accept {
            config: config.clone(),
            cluster_id: self.authority.cluster_id().into(),
        }
    }

    /// From now on those who ask for another name than the cluster's own are shown this one.
    pub(crate) fn serve_own(&self, pair: Arc<CertifiedKey>) {
        let names = own::names_in(&pair);
        tracing::info!(names, "clients are shown the operator's own certificate");
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = Some(pair);
    }

    /// Has the files of the operator's own certificate looked at now.
    pub(crate) fn look_at_own_now(&self) {
        self.look_now.notify_one();
    }

    /// Takes the operator's own certificate anew whenever its files change; never ends.
    pub(crate) async fn keep_own(self: Arc<Self>, mut watch: OwnWatch) {
        loop {
            // Either will do.
            let _ = timeout(own::LOOK_EVERY, self.look_now.notified()).await;
            let looked = tokio::task::spawn_blocking(move || (watch.look(), watch));
            let Ok((looked, again)) = looked.await else {
                // The node is stopping.
                return;
            };
            watch = again;
            match looked {
                Ok(Some(pair)) => self.serve_own(pair),
                Ok(None) => {}
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "the own certificate stays the old one");
                }
            }
        }
    }

    /// Makes the node's certificates anew whenever it is time; never ends.
    pub(crate) async fn keep_valid(self: Arc<Self>) {
        loop {
            sleep(self.certificates.look_again_after()).await;
            match self.certificates.renew_if_due(&self.authority) {
                Ok(true) => tracing::info!("the node's certificates were renewed"),
                Ok(false) => {}
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "the node's certificates are not renewed");
                    sleep(RENEW_AGAIN).await;
                }
            }
        }
    }
}

fn wall_clock() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates expire by the calendar"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}
