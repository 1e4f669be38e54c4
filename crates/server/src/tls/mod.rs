//! Encryption: what a node presents to peers and clients, and what it trusts of them.
//!
//! The authority follows from the secret of the cluster, which voters alone have; any other node
//! has a key of its own and certificates that a voter has signed for it. It knows neither calls nor
//! the replica. Every floor above may use it.
//!
//! Always true: a machine without such a certificate is no peer, and cannot pass for a node before
//! a client that has pinned the authority.

mod accept;
mod authority;
mod certificates;
mod clients;
mod dial;
mod exchange;
mod issued;
mod names;
mod own;
mod peers;
pub(crate) mod security;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_core::AuthorityId;
use conclave_tls::Fingerprint;
use rustls::{ClientConfig, ServerConfig, pki_types::CertificateDer, sign::CertifiedKey};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

pub use self::own::OwnCertificateError;
pub(crate) use self::{
    accept::{Caller, Handshakes, Shown},
    authority::{IssueError, PublicKey},
    certificates::{Holder, LIFETIME, Signed},
    dial::Dial,
    exchange::Next,
    issued::{Issued, NodeKey},
    names::PeerNames,
    own::{Files as OwnFiles, Watch as OwnWatch},
};
use self::{
    authority::Authority,
    certificates::{Certificates, WallClock},
    clients::Own,
};
use crate::identity::secret::ClusterSecret;

/// Inner protocol of webhooks, in the words of ALPN.
const HTTP1: &[u8] = b"http/1.1";
/// Pause after certificates could not be made.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

/// How a node connects to peers and serves clients. Peers always use TLS: a peer port that trusts
/// every caller would give the cluster to every user of the machine.
#[derive(Clone)]
pub(crate) struct Security {
    /// The node's certificates.
    pub(crate) tls: Arc<Tls>,
    /// Whether the client port serves plain text: on loopback alone.
    pub(crate) plain_clients: bool,
}

impl Security {
    /// Returns how to reach a node.
    pub(crate) fn dial(&self, node: u64) -> Dial {
        self.tls.dial(node)
    }

    /// Returns how to reach whatever node of the cluster is at an address.
    pub(crate) fn dial_anybody(&self) -> Dial {
        Dial::tls(self.tls.asks(), names::ANY_PEER.to_owned())
    }

    /// Returns how to reach whatever node with the key of the authority is at an address.
    pub(crate) fn dial_any_keeper(&self) -> Dial {
        Dial::tls(self.tls.asks(), names::ANY_KEEPER.to_owned())
    }

    /// Returns how the peer port accepts connections.
    pub(crate) fn for_peers(&self) -> Accept {
        self.tls.accept_peers()
    }

    /// Returns how the client port accepts connections; `None` for plain text.
    pub(crate) fn for_clients(&self) -> Option<Accept> {
        (!self.plain_clients).then(|| self.tls.accept_clients())
    }
}

/// How a listener accepts connections.
#[derive(Clone)]
pub(crate) struct Accept {
    /// Replaced after the trusted authorities have changed.
    answers: Arc<RwLock<Arc<Answers>>>,
    cluster_id: Arc<str>,
}

/// How a listener accepts connections now.
struct Answers {
    config: Arc<ServerConfig>,
    /// Authorities whose certificates the listener trusts.
    roots: Vec<Root>,
}

/// A trusted authority.
#[derive(Clone)]
struct Root {
    /// Number of exchanges of the secret before it.
    generation: u64,
    certificate: CertificateDer<'static>,
}

/// The secret of the cluster, and the authority that follows from it.
struct Keeper {
    secret: ClusterSecret,
    authority: Authority,
}

/// What a node trusts of peers, and what it can prove to them.
#[derive(Clone)]
struct Belief {
    root: Root,
    /// Present on nodes that have the key of the authority: voters alone.
    keeper: Option<Arc<Keeper>>,
    /// What replaces both when the exchange ends.
    next: Option<(Root, Option<Arc<Keeper>>)>,
}

impl Belief {
    fn roots(&self) -> Vec<Root> {
        let next = self.next.iter().map(|(root, _)| root.clone());
        [self.root.clone()].into_iter().chain(next).collect()
    }
}

/// The certificates of one node, and the configurations that follow from them.
pub(crate) struct Tls {
    cluster_id: String,
    /// Authority that clients have pinned.
    root_for_clients: CertificateDer<'static>,
    belief: RwLock<Belief>,
    certificates: Arc<Certificates>,
    /// Counts how often what this node proves to its peers has changed.
    generation: AtomicU64,
    own: Own,
    /// Wakes the task that looks at the files of the own certificate.
    look_now: Notify,
    asks: RwLock<Arc<ClientConfig>>,
    answers_peers: Arc<RwLock<Arc<Answers>>>,
    answers_clients: Arc<RwLock<Arc<Answers>>>,
}

impl Tls {
    /// Creates the certificates of `holder` in the cluster with this secret, each valid for
    /// `lifetime`.
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
        let keeper = Keeper::of(secret.clone());
        let root_for_clients = keeper.authority.certificate_for_clients().clone();
        let certificates = Certificates::new(&keeper.authority, holder, lifetime, now)?;
        let belief = Belief {
            root: keeper.root(),
            keeper: Some(Arc::new(keeper)),
            next: None,
        };
        let cluster_id = secret.cluster_id();
        Ok(Self::with(
            cluster_id,
            root_for_clients,
            belief,
            certificates,
        ))
    }

    /// Takes the certificates that the cluster has issued to a member without the key of the
    /// authority.
    pub(crate) fn of_member(member: &Issued, holder: Holder) -> Result<Self, IssueError> {
        let current = member.certificates()?;
        let now = Arc::new(wall_clock);
        let certificates = Certificates::of_member(current, holder, LIFETIME, now);
        let belief = Belief {
            root: member.root(),
            keeper: None,
            next: None,
        };
        let (cluster_id, clients) = (member.cluster_id.clone(), member.clients_authority());
        Ok(Self::with(cluster_id, clients, belief, certificates))
    }

    fn with(
        cluster_id: String,
        root_for_clients: CertificateDer<'static>,
        belief: Belief,
        certificates: Certificates,
    ) -> Self {
        let (certificates, own) = (Arc::new(certificates), Own::default());
        let roots = belief.roots();
        let for_clients = Answers {
            config: Arc::new(clients::answers(certificates.clone(), own.clone())),
            roots: Vec::new(),
        };
        Self {
            asks: RwLock::new(asks(&roots, &certificates)),
            answers_peers: Arc::new(RwLock::new(answers(roots, &certificates))),
            answers_clients: Arc::new(RwLock::new(Arc::new(for_clients))),
            belief: RwLock::new(belief),
            generation: AtomicU64::new(0),
            cluster_id,
            root_for_clients,
            certificates,
            own,
            look_now: Notify::new(),
        }
    }

    /// Returns the fingerprint by which people know the cluster: the SHA-256 of the certificate of
    /// the authority that clients pin.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.root_for_clients)
    }

    /// Returns the identity of the authority that peers trust.
    pub(crate) fn authority_id(&self) -> AuthorityId {
        authority::id_of(&self.root())
    }

    /// Returns the cluster's secret, if this node has it.
    pub(crate) fn secret(&self) -> Option<ClusterSecret> {
        self.keeper().map(|keeper| keeper.secret.clone())
    }

    /// Returns whether this node has the key of the authority.
    pub(crate) fn is_keeper(&self) -> bool {
        self.keeper().is_some()
    }

    fn keeper(&self) -> Option<Arc<Keeper>> {
        let belief = self.belief.read().unwrap_or_else(PoisonError::into_inner);
        belief.keeper.clone()
    }

    fn belief(&self) -> Belief {
        // The value is replaced at once.
        let belief = self.belief.read().unwrap_or_else(PoisonError::into_inner);
        belief.clone()
    }

    /// Returns how often what this node proves to its peers has changed: an older connection proves
    /// less.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes this node a node with the key of the authority.
    ///
    /// # Errors
    /// If the certificates cannot be made.
    pub(crate) fn become_keeper(&self, secret: ClusterSecret) -> Result<(), IssueError> {
        let keeper = Keeper::of(secret);
        self.certificates.make(&keeper.authority)?;
        self.change(|belief| belief.keeper = Some(Arc::new(keeper)));
        Ok(())
    }

    /// Makes this node a node without the key of the authority.
    pub(crate) fn become_member(&self, issued: &Issued) -> Result<(), IssueError> {
        self.take(issued)?;
        self.change(|belief| belief.keeper = None);
        Ok(())
    }

    /// Signs certificates for the key of another machine; `None` if this node does not have the key
    /// of the authority.
    pub(crate) fn sign_for(
        &self,
        key: &PublicKey,
        of: PeerNames,
        client_address: &str,
    ) -> Option<Result<Signed, IssueError>> {
        Some(self.sign_by(&*self.keeper()?, key, of, client_address))
    }

    fn sign_by(
        &self,
        keeper: &Keeper,
        key: &PublicKey,
        of: PeerNames,
        client_address: &str,
    ) -> Result<Signed, IssueError> {
        let hosts = Holder::at(None, &[client_address]).hosts;
        let (authority, certificates) = (&keeper.authority, &self.certificates);
        certificates.sign_for(authority, key, of, hosts)
    }

    /// Returns the name of the cluster in certificates.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Returns the certificate of the authority that peers trust.
    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.belief().root.certificate
    }

    /// Returns whether it is time for new certificates, which this node cannot make itself.
    pub(crate) fn needs_others(&self) -> bool {
        !self.is_keeper() && self.certificates.are_due()
    }

    /// Takes new certificates that a member has signed.
    pub(crate) fn take(&self, issued: &Issued) -> Result<(), IssueError> {
        self.certificates.replace(issued.certificates()?);
        Ok(())
    }

    /// Returns the time since 1970 by this machine's clock.
    fn now() -> Duration {
        wall_clock()
    }

    fn asks(&self) -> Arc<ClientConfig> {
        let asks = self.asks.read().unwrap_or_else(PoisonError::into_inner);
        asks.clone()
    }

    fn dial(&self, node: u64) -> Dial {
        let name = names::peer(node, &self.cluster_id);
        Dial::tls(self.asks(), name)
    }

    fn accept_peers(&self) -> Accept {
        self.accept(&self.answers_peers)
    }

    fn accept_clients(&self) -> Accept {
        self.accept(&self.answers_clients)
    }

    fn accept(&self, answers: &Arc<RwLock<Arc<Answers>>>) -> Accept {
        Accept {
            answers: answers.clone(),
            cluster_id: self.cluster_id.as_str().into(),
        }
    }

    /// Presents this certificate from now on to clients that ask for another name than the
    /// cluster's own.
    pub(crate) fn serve_own(&self, pair: Arc<CertifiedKey>) {
        let names = own::names_in(&pair);
        tracing::info!(names, "clients are shown the operator's own certificate");
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = Some(pair);
    }

    /// Has the files of the operator's own certificate read again now.
    pub(crate) fn look_at_own_now(&self) {
        self.look_now.notify_one();
    }

    /// Reads the operator's own certificate again whenever its files change; never ends.
    pub(crate) async fn keep_own(self: Arc<Self>, mut watch: OwnWatch) {
        loop {
            // Either event will do.
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

    /// Makes the node's certificates again whenever it is time; never ends.
    pub(crate) async fn keep_valid(self: Arc<Self>) {
        loop {
            sleep(self.certificates.look_again_after()).await;
            let Some(keeper) = self.keeper() else {
                // Other nodes sign them (`crate::keys`).
                sleep(RENEW_AGAIN).await;
                continue;
            };
            match self.certificates.renew_if_due(&keeper.authority) {
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

impl Keeper {
    fn of(secret: ClusterSecret) -> Self {
        let authority = Authority::of(&secret);
        Self { secret, authority }
    }

    fn root(&self) -> Root {
        Root {
            generation: self.secret.generation(),
            certificate: self.authority.certificate().clone(),
        }
    }
}

fn certificates_of(roots: &[Root]) -> Vec<CertificateDer<'static>> {
    let certificates = roots.iter().map(|root| root.certificate.clone());
    certificates.collect()
}

fn asks(roots: &[Root], certificates: &Arc<Certificates>) -> Arc<ClientConfig> {
    let believed = certificates_of(roots);
    Arc::new(peers::asks(&believed, certificates.clone()))
}

fn answers(roots: Vec<Root>, certificates: &Arc<Certificates>) -> Arc<Answers> {
    let believed = certificates_of(&roots);
    let config = Arc::new(peers::answers(&believed, certificates.clone()));
    Arc::new(Answers { config, roots })
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
