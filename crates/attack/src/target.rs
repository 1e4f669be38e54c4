//! The cluster under attack: its addresses, and raw connections to them.
//!
//! Always true: every address is on loopback.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use conclave_client::{Authority, Builder, Client, FetchError, fetch_authority};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Maximum number of connections or requests of one attack.
pub const COUNT_MAX: usize = 20_000;
/// Maximum duration of one attack.
pub const DURATION_MAX: Duration = Duration::from_secs(120);
/// How long one TCP connect or one TLS handshake may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A bidirectional byte stream.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A raw connection to a node, after its TLS handshake if the cluster is encrypted.
pub type Wire = Box<dyn Duplex>;

/// The two ports of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The port for clients.
    Client,
    /// The port for peers.
    Peer,
}

/// Size and duration of an attack.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Number of connections, or of requests, as the attack defines it.
    pub count: usize,
    /// How long the attack goes on.
    pub duration: Duration,
}

impl Bounds {
    /// Returns these bounds, cut to [`COUNT_MAX`] and [`DURATION_MAX`].
    #[must_use]
    pub fn new(count: usize, duration: Duration) -> Self {
        Self {
            count: count.min(COUNT_MAX),
            duration: duration.min(DURATION_MAX),
        }
    }
}

/// The cluster cannot be attacked.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// An address is reachable by others.
    #[error("{0} is not on loopback")]
    NotLoopback(SocketAddr),
    /// No node was named.
    #[error("no client address was given")]
    NoNode,
    /// The cluster did not show its authority.
    #[error("the cluster's authority is unknown")]
    Authority(#[from] FetchError),
}

/// A cluster on this machine.
pub struct Target {
    clients: Vec<SocketAddr>,
    peers: Vec<SocketAddr>,
    /// `None`: the nodes speak plain text.
    authority: Option<Authority>,
    tls: Arc<ClientConfig>,
}

impl Target {
    /// Finds the cluster with these addresses.
    ///
    /// # Errors
    /// [`TargetError`].
    pub async fn find(
        clients: Vec<SocketAddr>,
        peers: Vec<SocketAddr>,
        plain: bool,
    ) -> Result<Self, TargetError> {
        if let Some(address) = clients
            .iter()
            .chain(&peers)
            .find(|address| !address.ip().is_loopback())
        {
            return Err(TargetError::NotLoopback(*address));
        }
        let first = clients.first().ok_or(TargetError::NoNode)?;
        let authority = match plain {
            true => None,
            false => Some(fetch_authority(&first.to_string(), CONNECT_LIMIT).await?),
        };
        Ok(Self {
            clients,
            peers,
            authority,
            tls: Arc::new(believing_everything()),
        })
    }

    /// Returns the addresses of one kind of port, one for each node.
    #[must_use]
    pub fn addresses(&self, port: Port) -> &[SocketAddr] {
        match port {
            Port::Client => &self.clients,
            Port::Peer => &self.peers,
        }
    }

    /// Returns all addresses, client ports first.
    #[must_use]
    pub fn everywhere(&self) -> Vec<SocketAddr> {
        [self.clients.clone(), self.peers.clone()].concat()
    }

    /// Returns a builder for well-behaved clients of this cluster.
    #[must_use]
    pub fn client(&self) -> Builder {
        let endpoints = self.clients.iter().map(SocketAddr::to_string);
        let builder = Client::builder().endpoints(endpoints);
        match &self.authority {
            Some(authority) => builder.pinned(authority),
            None => builder,
        }
    }

    /// Opens a TCP connection and sends nothing.
    ///
    /// # Errors
    /// As the system says it.
    pub async fn silent(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let stream = timeout(CONNECT_LIMIT, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Opens a connection and completes the TLS handshake, if the cluster is encrypted.
    ///
    /// # Errors
    /// As the system or TLS says it.
    pub async fn open(&self, address: SocketAddr) -> std::io::Result<Wire> {
        let stream = self.silent(address).await?;
        if self.authority.is_none() {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from("node.conclave").expect("it is a name");
        let connector = TlsConnector::from(self.tls.clone());
        let stream = timeout(CONNECT_LIMIT, connector.connect(name, stream)).await??;
        Ok(Box::new(stream))
    }
}

fn believing_everything() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(any_certificate())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Returns a verifier that accepts every certificate: an attacker does not care which server it
/// reaches.
#[must_use]
pub fn any_certificate() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Anything(Arc::new(ring::default_provider())))
}

#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_is_attacked() {
        let others = ["10.0.0.1:7400", "0.0.0.0:7400", "[2001:db8::1]:7400"];
        for other in others {
            let at = vec![other.parse().unwrap()];
            let here = vec!["127.0.0.1:1".parse().unwrap()];
            for (clients, peers) in [(at.clone(), here.clone()), (here, at)] {
                let found = Target::find(clients, peers, true).await;
                assert!(matches!(found, Err(TargetError::NotLoopback(_))), "{other}");
            }
        }
        let nowhere = Target::find(Vec::new(), Vec::new(), true).await;
        assert!(matches!(nowhere, Err(TargetError::NoNode)));
    }

    #[test]
    fn every_attack_is_bounded() {
        let bounds = Bounds::new(usize::MAX, Duration::MAX);
        assert_eq!((bounds.count, bounds.duration), (COUNT_MAX, DURATION_MAX));
    }
}
