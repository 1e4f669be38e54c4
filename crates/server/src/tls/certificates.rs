//! The two certificates of a node: one as a peer, one for serving clients.
//!
//! A node that has the key of the authority makes both when it starts, and keeps them in memory
//! alone; any other node gets them from one that has it. Both are replaced long before they expire;
//! open connections go on. Always true: no peer trusts the certificate for clients.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{DistinguishedName, pki_types::CertificateDer, sign::CertifiedKey};
use webpki::EndEntityCert;

use crate::tls::{
    authority::{Authority, IssueError, PublicKey, Use, Validity},
    names::{self, PeerNames},
};

/// Lifetime of a certificate. A node that runs makes another after two thirds of it.
pub(crate) const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
/// How far before now a certificate begins: 30 days, so that other nodes trust a node whose clock
/// is ahead. It costs nothing: the key was made now, and proves nothing of before.
const BACKDATED: Duration = Duration::from_secs(30 * 24 * 3600);
/// How far the clock may go back before the certificates are made again: a correction of a clock
/// that was ahead, by more than the few milliseconds of an ordinary correction.
const WENT_BACK: Duration = Duration::from_secs(60);
/// Maximum time between two looks at the clock, so that a machine that slept, or whose clock was
/// corrected, is noticed within seconds.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Minimum time, so that a clock that jumps does not keep the node busy.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(50);

/// Clock that returns the time since 1970 on this machine.
pub(crate) type WallClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Node that the certificates are for.
#[derive(Clone, Debug)]
pub(crate) struct CertificateSubject {
    /// Number of the node, once it has one.
    pub(crate) node: Option<u64>,
    /// Hosts under which clients reach the node.
    pub(crate) hosts: Vec<String>,
}

/// Both certificates of a node, signed for a key that only it has.
pub(crate) struct Signed {
    pub(super) peer: CertificateDer<'static>,
    pub(super) clients: CertificateDer<'static>,
    /// Authorities that have signed them.
    pub(super) authority: CertificateDer<'static>,
    pub(super) clients_authority: CertificateDer<'static>,
    pub(super) generation: u64,
    pub(super) cluster_id: String,
}

impl CertificateSubject {
    /// Returns the subject at these addresses: `host:port`, or what a socket is bound to.
    pub(crate) fn at(node: Option<u64>, addresses: &[&str]) -> Self {
        let mut hosts = vec!["localhost".to_owned()];
        for address in addresses {
            let host = match address.parse::<SocketAddr>() {
                Ok(address) => is_somewhere(address.ip()).then(|| address.ip().to_string()),
                Err(_) => address.rsplit_once(':').map(|(host, _)| host.to_owned()),
            };
            hosts.extend(host.filter(|host| !hosts.contains(host)));
        }
        Self { node, hosts }
    }
}

fn is_somewhere(address: IpAddr) -> bool {
    !address.is_unspecified()
}

/// Both certificates as they are now.
pub(crate) struct Certificates {
    subject: CertificateSubject,
    lifetime: Duration,
    now: WallClock,
    current: RwLock<Current>,
    /// Certificates by the authority that will be trusted next.
    next: RwLock<Option<Current>>,
}

/// Both certificates with their keys.
#[derive(Clone)]
pub(super) struct Current {
    peer: Arc<CertifiedKey>,
    clients: Arc<CertifiedKey>,
    /// Name of the authority that peers have to trust.
    issuer: DistinguishedName,
    made_at: Duration,
    renew_at: Duration,
}

impl Current {
    /// Takes both, made at this time.
    pub(super) fn new(
        peer: CertifiedKey,
        clients: CertifiedKey,
        made_at: Duration,
        lifetime: Duration,
    ) -> Result<Self, IssueError> {
        let issuer = peer.end_entity_cert()?;
        let issuer = EndEntityCert::try_from(issuer).map_err(|_| {
            rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding)
        })?;
        Ok(Self {
            issuer: DistinguishedName::in_sequence(issuer.issuer()),
            peer: Arc::new(peer),
            clients: Arc::new(clients),
            made_at,
            renew_at: made_at + renew_after(lifetime),
        })
    }

    /// Returns whether other machines may doubt the certificates soon, or do already: they are old,
    /// or the clock by which they were made was ahead and has gone back since.
    fn is_due(&self, now: Duration) -> bool {
        now >= self.renew_at || now + WENT_BACK < self.made_at
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Certificates({:?})", self.subject)
    }
}

impl Certificates {
    /// Makes new certificates, valid from now on for `lifetime`.
    pub(crate) fn new(
        authority: &Authority,
        subject: CertificateSubject,
        lifetime: Duration,
        now: WallClock,
    ) -> Result<Self, IssueError> {
        let current = RwLock::new(make(authority, &subject, lifetime, now())?);
        Ok(Self {
            subject,
            lifetime,
            now,
            current,
            next: RwLock::default(),
        })
    }

    /// Takes the certificates that an authority has signed for this node.
    pub(super) fn of_member(
        current: Current,
        subject: CertificateSubject,
        lifetime: Duration,
        now: WallClock,
    ) -> Self {
        Self {
            subject,
            lifetime,
            now,
            current: RwLock::new(current),
            next: RwLock::default(),
        }
    }

    pub(super) fn replace(&self, current: Current) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }

    /// Returns whether it is time to replace the certificates.
    pub(crate) fn are_due(&self) -> bool {
        self.current().is_due((self.now)())
    }

    /// Signs both for another machine, for as long as this node's own are valid.
    pub(super) fn sign_for(
        &self,
        authority: &Authority,
        key: &PublicKey,
        of: PeerNames,
        hosts: Vec<String>,
    ) -> Result<Signed, IssueError> {
        let valid = validity((self.now)(), self.lifetime);
        let cluster_id = authority.cluster_id();
        let of_peer = of.to_names(cluster_id);
        let of_clients = names_for_clients(cluster_id, hosts);
        Ok(Signed {
            peer: authority.sign(key, &of_peer, Use::Peer, valid)?,
            clients: authority.sign(key, &of_clients, Use::Clients, valid)?,
            authority: authority.certificate().clone(),
            clients_authority: authority.certificate_for_clients().clone(),
            generation: authority.generation(),
            cluster_id: cluster_id.to_owned(),
        })
    }

    /// Makes both again with the authority's key, due or not.
    pub(super) fn make(&self, authority: &Authority) -> Result<(), IssueError> {
        let made = make(authority, &self.subject, self.lifetime, (self.now)())?;
        self.replace(made);
        Ok(())
    }

    /// Returns the certificate as a peer for another node that trusts the authorities with these
    /// names: the newest certificate that it trusts.
    pub(crate) fn peer_for<'a>(
        &self,
        mut trusted: impl Iterator<Item = &'a [u8]>,
    ) -> Arc<CertifiedKey> {
        let next = self.next.read().unwrap_or_else(PoisonError::into_inner);
        match &*next {
            Some(next) if trusted.any(|name| name == next.issuer.as_ref()) => next.peer.clone(),
            _ => self.current().peer,
        }
    }

    /// Makes certificates by the authority that will be trusted next.
    pub(super) fn make_next(&self, authority: &Authority) -> Result<(), IssueError> {
        let made = make(authority, &self.subject, self.lifetime, (self.now)())?;
        self.set_next(Some(made));
        Ok(())
    }

    pub(super) fn set_next(&self, next: Option<Current>) {
        *self.next.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// Replaces the certificates by those of the next authority, if there are any.
    pub(super) fn go_on_with_next(&self) {
        let next = self
            .next
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(next) = next {
            self.replace(next);
        }
    }

    #[cfg(test)]
    pub(crate) fn peer(&self) -> Arc<CertifiedKey> {
        self.current().peer
    }

    /// Returns both: as a peer, and for clients.
    pub(super) fn both(&self) -> [Arc<CertifiedKey>; 2] {
        let Current { peer, clients, .. } = self.current();
        [peer, clients]
    }

    pub(crate) fn clients(&self) -> Arc<CertifiedKey> {
        self.current().clients
    }

    /// Makes both again if it is time; returns whether it did.
    pub(crate) fn renew_if_due(&self, authority: &Authority) -> Result<bool, IssueError> {
        if !self.are_due() {
            return Ok(false);
        }
        self.make(authority)?;
        Ok(true)
    }

    /// Returns how long it takes until they may be due.
    pub(crate) fn look_again_after(&self) -> Duration {
        let left = self.current().renew_at.saturating_sub((self.now)());
        left.clamp(LOOK_EVERY_MIN, LOOK_EVERY)
    }

    fn current(&self) -> Current {
        // The value is replaced at once, so it is valid even if another thread has panicked.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

fn make(
    authority: &Authority,
    subject: &CertificateSubject,
    lifetime: Duration,
    now: Duration,
) -> Result<Current, IssueError> {
    let valid = validity(now, lifetime);
    let cluster_id = authority.cluster_id();
    let of_peer = PeerNames {
        node: subject.node.unwrap_or(0),
        key_holder: true,
        ..PeerNames::default()
    };
    let of_peer = of_peer.to_names(cluster_id);
    let of_clients = names_for_clients(cluster_id, subject.hosts.clone());
    let peer = authority.issue(&of_peer, Use::Peer, valid)?;
    let clients = authority.issue(&of_clients, Use::Clients, valid)?;
    Current::new(peer, clients, now, lifetime)
}

fn names_for_clients(cluster_id: &str, hosts: Vec<String>) -> Vec<String> {
    let mut names = vec![names::ANY_NODE.to_owned(), names::nodes_of(cluster_id)];
    names.extend(hosts);
    names
}

fn validity(now: Duration, lifetime: Duration) -> Validity {
    Validity {
        from: now.saturating_sub(BACKDATED),
        until: now + lifetime,
    }
}

/// Returns the age at which certificates of this lifetime are replaced.
fn renew_after(lifetime: Duration) -> Duration {
    lifetime * 2 / 3
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::identity::secret::ClusterSecret;

    #[test]
    fn certificate_hosts_are_the_names_clients_may_use() {
        let subject = CertificateSubject::at(
            Some(1),
            &["127.0.0.1:1", "a.example:2", "0.0.0.0:3", "[::1]:4"],
        );
        assert_eq!(
            subject.hosts,
            ["localhost", "127.0.0.1", "a.example", "::1"]
        );
    }

    #[test]
    fn certificates_are_renewed_after_two_thirds_of_their_lifetime() {
        let time = Arc::new(Mutex::new(Duration::from_secs(1_800_000_000)));
        let clock = time.clone();
        let now: WallClock = Arc::new(move || *clock.lock().unwrap());
        let authority = Authority::of(&ClusterSecret::from_bytes(&[7; 32]).unwrap());
        let subject = CertificateSubject::at(Some(1), &[]);
        let lifetime = Duration::from_secs(90);
        let both = Certificates::new(&authority, subject, lifetime, now).unwrap();
        let (peer, clients) = (both.peer(), both.clients());
        *time.lock().unwrap() += Duration::from_secs(59);
        assert!(!both.renew_if_due(&authority).unwrap());
        assert_eq!(both.look_again_after(), Duration::from_secs(1));
        *time.lock().unwrap() += Duration::from_secs(1);
        assert!(both.renew_if_due(&authority).unwrap());
        assert_ne!(both.peer().cert, peer.cert);
        assert_ne!(both.clients().cert, clients.cert);
        assert!(!both.renew_if_due(&authority).unwrap());
    }

    #[test]
    fn certificates_are_reissued_when_a_fast_clock_is_corrected() {
        let right = Duration::from_secs(1_800_000_000);
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let time = Arc::new(Mutex::new(right + hours(3)));
        let clock = time.clone();
        let now: WallClock = Arc::new(move || *clock.lock().unwrap());
        let authority = Authority::of(&ClusterSecret::from_bytes(&[7; 32]).unwrap());
        let subject = CertificateSubject::at(Some(1), &[]);
        let both = Certificates::new(&authority, subject, LIFETIME, now).unwrap();
        let (peer, clients) = (both.peer(), both.clients());
        assert!(
            both.look_again_after() <= Duration::from_secs(5),
            "soon enough"
        );
        *time.lock().unwrap() = right + hours(3) - WENT_BACK;
        assert!(!both.renew_if_due(&authority).unwrap(), "a clock is slewed");
        *time.lock().unwrap() = right;
        assert!(both.renew_if_due(&authority).unwrap());
        assert_ne!(both.peer().cert, peer.cert);
        assert_ne!(both.clients().cert, clients.cert);
        assert!(!both.renew_if_due(&authority).unwrap(), "once");
    }
}
