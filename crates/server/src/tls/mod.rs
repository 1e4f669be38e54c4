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
mod expiry;
mod issued;
mod names;
mod own;
mod peers;
mod rotation;
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
    accept::{Caller, Handshakes, Presented},
    authority::{IssueError, PublicKey},
    certificates::{CertificateSubject, LIFETIME, Signed},
    dial::Dial,
    issued::{Issued, NodeKey},
    names::PeerNames,
    own::{Files as OwnFiles, Watch as OwnWatch},
    rotation::Next,
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
    pub(crate) fn dial_any_node(&self) -> Dial {
        Dial::tls(self.tls.client_config(), names::ANY_PEER.to_owned())
    }

    /// Returns how to reach whatever node with the key of the authority is at an address.
    pub(crate) fn dial_any_key_holder(&self) -> Dial {
        Dial::tls(self.tls.client_config(), names::ANY_KEY_HOLDER.to_owned())
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
    answers: Arc<RwLock<Arc<AcceptConfig>>>,
    cluster_id: Arc<str>,
}

/// How a listener accepts connections now.
struct AcceptConfig {
    config: Arc<ServerConfig>,
    /// Authorities whose certificates the listener trusts.
    roots: Vec<Root>,
}

/// A trusted authority.
#[derive(Clone)]
struct Root {
    /// Number of rotations of the secret before it.
    generation: u64,
    id: AuthorityId,
    certificate: CertificateDer<'static>,
}

impl Root {
    fn new(generation: u64, certificate: CertificateDer<'static>) -> Self {
        Self {
            generation,
            id: authority::id_of(&certificate),
            certificate,
        }
    }
}

/// The secret of the cluster, and the authority that follows from it.
struct KeyHolder {
    secret: ClusterSecret,
    authority: Authority,
}

/// What a node trusts of peers, and what it can prove to them.
#[derive(Clone)]
struct TrustState {
    root: Root,
    /// Present on nodes that have the key of the authority: voters alone.
    key_holder: Option<Arc<KeyHolder>>,
    /// What replaces both when the rotation ends.
    next: Option<(Root, Option<Arc<KeyHolder>>)>,
}

impl TrustState {
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
    trust_state: RwLock<TrustState>,
    certificates: Arc<Certificates>,
    /// Counts how often what this node proves to its peers has changed.
    generation: AtomicU64,
    own: Own,
    /// Wakes the task that looks at the files of the own certificate.
    look_now: Notify,
    client_config: RwLock<Arc<ClientConfig>>,
    accept_peers: Arc<RwLock<Arc<AcceptConfig>>>,
    accept_clients: Arc<RwLock<Arc<AcceptConfig>>>,
}

impl Tls {
    /// Creates the certificates of `subject` in the cluster with this secret, each valid for
    /// `lifetime`.
    pub(crate) fn new(
        secret: &ClusterSecret,
        subject: CertificateSubject,
        lifetime: Duration,
    ) -> Result<Self, IssueError> {
        Self::with_clock(secret, subject, lifetime, Arc::new(wall_clock))
    }

    fn with_clock(
        secret: &ClusterSecret,
        subject: CertificateSubject,
        lifetime: Duration,
        now: WallClock,
    ) -> Result<Self, IssueError> {
        let key_holder = KeyHolder::of(secret.clone());
        let root_for_clients = key_holder.authority.certificate_for_clients().clone();
        let certificates = Certificates::new(&key_holder.authority, subject, lifetime, now)?;
        let trust_state = TrustState {
            root: key_holder.root(),
            key_holder: Some(Arc::new(key_holder)),
            next: None,
        };
        let cluster_id = secret.cluster_id();
        Ok(Self::with(
            cluster_id,
            root_for_clients,
            trust_state,
            certificates,
        ))
    }

    /// Takes the certificates that the cluster has issued to a member without the key of the
    /// authority.
    pub(crate) fn of_member(
        member: &Issued,
        subject: CertificateSubject,
    ) -> Result<Self, IssueError> {
        let current = member.certificates()?;
        let now = Arc::new(wall_clock);
        let certificates = Certificates::of_member(current, subject, LIFETIME, now);
        let trust_state = TrustState {
            root: member.root(),
            key_holder: None,
            next: None,
        };
        let (cluster_id, clients) = (member.cluster_id.clone(), member.clients_authority());
        Ok(Self::with(cluster_id, clients, trust_state, certificates))
    }

    fn with(
        cluster_id: String,
        root_for_clients: CertificateDer<'static>,
        trust_state: TrustState,
        certificates: Certificates,
    ) -> Self {
        let (certificates, own) = (Arc::new(certificates), Own::default());
        let roots = trust_state.roots();
        let for_clients = AcceptConfig {
            config: Arc::new(clients::server_config(certificates.clone(), own.clone())),
            roots: Vec::new(),
        };
        Self {
            client_config: RwLock::new(client_config(&roots, &certificates)),
            accept_peers: Arc::new(RwLock::new(accept_config(roots, &certificates))),
            accept_clients: Arc::new(RwLock::new(Arc::new(for_clients))),
            trust_state: RwLock::new(trust_state),
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
        self.trust_state().root.id
    }

    /// Returns the cluster's secret, if this node has it.
    pub(crate) fn secret(&self) -> Option<ClusterSecret> {
        self.key_holder()
            .map(|key_holder| key_holder.secret.clone())
    }

    /// Returns whether this node has the key of the authority.
    pub(crate) fn is_key_holder(&self) -> bool {
        self.key_holder().is_some()
    }

    fn key_holder(&self) -> Option<Arc<KeyHolder>> {
        let trust_state = self
            .trust_state
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        trust_state.key_holder.clone()
    }

    fn trust_state(&self) -> TrustState {
        // The value is replaced at once.
        let trust_state = self
            .trust_state
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        trust_state.clone()
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
    pub(crate) fn become_key_holder(&self, secret: ClusterSecret) -> Result<(), IssueError> {
        let key_holder = KeyHolder::of(secret);
        self.certificates.make(&key_holder.authority)?;
        self.change(|trust_state| trust_state.key_holder = Some(Arc::new(key_holder)));
        Ok(())
    }

    /// Makes this node a node without the key of the authority.
    pub(crate) fn become_member(&self, issued: &Issued) -> Result<(), IssueError> {
        self.take(issued)?;
        self.change(|trust_state| trust_state.key_holder = None);
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
        Some(self.sign_by(&*self.key_holder()?, key, of, client_address))
    }

    fn sign_by(
        &self,
        key_holder: &KeyHolder,
        key: &PublicKey,
        of: PeerNames,
        client_address: &str,
    ) -> Result<Signed, IssueError> {
        let hosts = CertificateSubject::at(None, &[client_address]).hosts;
        let (authority, certificates) = (&key_holder.authority, &self.certificates);
        certificates.sign_for(authority, key, of, hosts)
    }

    /// Returns the name of the cluster in certificates.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Returns the certificate of the authority that peers trust.
    #[cfg(test)]
    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.trust_state().root.certificate
    }

    /// Returns whether it is time for new certificates, which this node cannot make itself.
    pub(crate) fn needs_others(&self) -> bool {
        !self.is_key_holder() && self.certificates.are_due()
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

    fn client_config(&self) -> Arc<ClientConfig> {
        let config = self
            .client_config
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        config.clone()
    }

    fn dial(&self, node: u64) -> Dial {
        let name = names::peer(node, &self.cluster_id);
        Dial::tls(self.client_config(), name)
    }

    fn accept_peers(&self) -> Accept {
        self.accept(&self.accept_peers)
    }

    fn accept_clients(&self) -> Accept {
        self.accept(&self.accept_clients)
    }

    fn accept(&self, answers: &Arc<RwLock<Arc<AcceptConfig>>>) -> Accept {
        Accept {
            answers: answers.clone(),
            cluster_id: self.cluster_id.as_str().into(),
        }
    }

    /// Presents this certificate from now on to clients that ask for another name than the
    /// cluster's own.
    pub(crate) fn serve_own(&self, pair: Arc<CertifiedKey>) {
        let names = own::names_in(&pair);
        tracing::info!(
            names,
            "presenting the operator's own certificate to clients"
        );
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
                    tracing::warn!(%error, cause, "failed to load the operator's own certificate");
                }
            }
        }
    }

    /// Makes the node's certificates again whenever it is time; never ends.
    pub(crate) async fn keep_valid(self: Arc<Self>) {
        loop {
            sleep(self.certificates.look_again_after()).await;
            let Some(key_holder) = self.key_holder() else {
                // Other nodes sign them (`crate::keys`).
                sleep(RENEW_AGAIN).await;
                continue;
            };
            match self.certificates.renew_if_due(&key_holder.authority) {
                Ok(true) => tracing::info!("the node's certificates were renewed"),
                Ok(false) => {}
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "failed to renew the node's certificates");
                    sleep(RENEW_AGAIN).await;
                }
            }
        }
    }
}

impl KeyHolder {
    fn of(secret: ClusterSecret) -> Self {
        let authority = Authority::of(&secret);
        Self { secret, authority }
    }

    fn root(&self) -> Root {
        let certificate = self.authority.certificate().clone();
        Root::new(self.secret.generation(), certificate)
    }
}

fn certificates_of(roots: &[Root]) -> Vec<CertificateDer<'static>> {
    let certificates = roots.iter().map(|root| root.certificate.clone());
    certificates.collect()
}

fn client_config(roots: &[Root], certificates: &Arc<Certificates>) -> Arc<ClientConfig> {
    let trusted = certificates_of(roots);
    Arc::new(peers::client_config(&trusted, certificates.clone()))
}

fn accept_config(roots: Vec<Root>, certificates: &Arc<Certificates>) -> Arc<AcceptConfig> {
    let trusted = certificates_of(&roots);
    let config = Arc::new(peers::server_config(&trusted, certificates.clone()));
    Arc::new(AcceptConfig { config, roots })
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
