//! Decides which nodes a client trusts to be of its cluster.
//!
//! Always true: a client that knows the authority of its cluster sends nothing to a peer whose
//! certificate is not of that authority; a client with roots sends nothing to a peer that does not
//! prove by them to be the requested host; any other client talks on loopback alone.

use std::{fmt, io, net::IpAddr, sync::Arc, time::Duration};

use conclave_tls::{
    Fingerprint, ShownAuthority, dial, for_grpc, nodes_name, signed_by, tls_error, tls13,
};
use hyper_util::rt::TokioIo;
use rustls::{
    CertificateError, ClientConfig, Error as TlsError, RootCertStore,
    client::WebPkiServerVerifier,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::trusted_hosts::{TrustedHosts, name_of_host};

/// The certificate authority of a cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority(CertificateDer<'static>);

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Authority({})", self.fingerprint())
    }
}

/// The bytes are not the certificate of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not an authority's certificate in DER")]
pub struct NoAuthority;

/// The authority of a cluster could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No program answers at the address.
    #[error("cannot connect")]
    Unreachable(#[source] io::Error),
    /// A program answers, in plain text.
    #[error("the server there does not speak TLS")]
    NotTls(#[source] io::Error),
    /// The program that answers is no node of Conclave, or its certificate is not valid now.
    #[error("the server there has no certificate of a cluster")]
    NotTrusted(#[source] io::Error),
    /// The answer took too long. Ask again.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
}

impl Authority {
    /// Makes the authority with this certificate.
    ///
    /// # Errors
    /// [`NoAuthority`] if the bytes are not the certificate of an authority.
    pub fn from_der(der: impl Into<Vec<u8>>) -> Result<Self, NoAuthority> {
        let certificate = CertificateDer::from(der.into());
        signed_by(certificate.clone()).map_err(|_| NoAuthority)?;
        Ok(Self(certificate))
    }

    /// Returns the certificate in DER, to be kept.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// Returns the fingerprint by which people know the authority.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }

    /// Returns the verifier that accepts only certificates signed by this authority.
    fn verifier(&self) -> Arc<WebPkiServerVerifier> {
        signed_by(self.0.clone()).expect("it was looked at when it was made")
    }
}

/// Certificate authorities that vouch for host names: those of the web, or an organisation's own.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

/// The text holds no certificate of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has no certificate of an authority in PEM")]
pub struct NoRoots;

impl Roots {
    /// Reads all certificates in this text. Those that are not of an authority are left out.
    ///
    /// # Errors
    /// [`NoRoots`] if none is left.
    pub fn from_pem(pem: &[u8]) -> Result<Self, NoRoots> {
        let mut roots = RootCertStore::empty();
        // Some editors begin a file with a byte order mark.
        let pem = pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem);
        let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
        roots.add_parsable_certificates(certificates);
        match roots.is_empty() {
            true => Err(NoRoots),
            false => Ok(Self(Arc::new(roots))),
        }
    }
}

/// Fetches the authority of the cluster whose node answers at this `host:port`. Nothing is sent but
/// the handshake. A person must confirm that the authority is the right one: the nodes print its
/// fingerprint when they are ready.
///
/// # Errors
/// [`FetchError`].
pub async fn fetch_authority(address: &str, limit: Duration) -> Result<Authority, FetchError> {
    let shown = ShownAuthority::any();
    let config = tls13()
        .dangerous()
        .with_custom_certificate_verifier(shown.clone())
        .with_no_client_auth();
    let asked = async {
        let stream = reach_at(address).await;
        let stream = stream.map_err(FetchError::Unreachable)?;
        let connector = TlsConnector::from(Arc::new(config));
        let shaken = connector.connect(nodes_name(), stream).await;
        shaken.map_err(|error| match tls_error(&error) {
            Some(TlsError::InvalidMessage(_)) => FetchError::NotTls(error),
            Some(_) => FetchError::NotTrusted(error),
            // The peer has closed the connection, because it could not read the handshake.
            None => FetchError::NotTls(error),
        })
    };
    timeout(limit, asked)
        .await
        .map_err(|_| FetchError::Silent(limit))??;
    let authority = shown.certificate();
    let authority = authority.expect("a handshake that succeeds has been looked at");
    Ok(Authority(authority.clone()))
}

/// Source of the address of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// The application, or the person who uses it.
    Application,
    /// Another node.
    Node,
}

/// The rule by which a client trusts nodes.
#[derive(Clone, Default)]
pub(crate) enum Trust {
    /// Any node on loopback, in plain text.
    #[default]
    Loopback,
    /// Nodes with a certificate of one authority.
    Pinned(TlsConnector),
    /// Nodes that prove to be the requested host; and the certificates of the nodes that the
    /// application has named.
    Named(TlsConnector, Arc<TrustedHosts>),
}

impl fmt::Debug for Trust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Loopback => "Loopback",
            Self::Pinned(_) => "Pinned",
            Self::Named(..) => "Named",
        })
    }
}

impl Trust {
    pub(crate) fn pinned(authority: &Authority) -> Self {
        let config = tls13().with_webpki_verifier(authority.verifier());
        Self::Pinned(connector(config.with_no_client_auth()))
    }

    pub(crate) fn named(roots: &Roots) -> Self {
        let config = tls13().with_root_certificates(Arc::clone(&roots.0));
        Self::Named(connector(config.with_no_client_auth()), Arc::default())
    }

    /// Returns whether the client talks encrypted, and never otherwise.
    pub(crate) fn is_encrypted(&self) -> bool {
        match self {
            Self::Loopback => false,
            Self::Pinned(_) | Self::Named(..) => true,
        }
    }

    /// Makes a rule for tests that connect to no node: it accepts no certificate, and every
    /// address.
    #[cfg(test)]
    pub(crate) fn no_node() -> Self {
        let config = tls13()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        Self::Pinned(TlsConnector::from(Arc::new(config)))
    }

    /// Returns whether the client may connect to this `host:port`.
    pub(crate) fn allows(&self, address: &str) -> bool {
        match self {
            Self::Loopback => is_loopback(address),
            Self::Pinned(_) | Self::Named(..) => true,
        }
    }

    /// Returns a channel that connects when it is first used. The endpoint's time limit for
    /// connecting includes the handshake.
    pub(crate) fn channel(&self, endpoint: &Endpoint, named_by: NamedBy) -> Channel {
        let (connector, name, trusted_hosts) = match self {
            Self::Loopback => {
                return endpoint.connect_with_connector_lazy(tower::service_fn(
                    |uri: Uri| async move { Ok::<_, io::Error>(TokioIo::new(reach(&uri).await?)) },
                ));
            }
            Self::Pinned(connector) => (connector.clone(), Some(nodes_name()), None),
            Self::Named(connector, trusted_hosts) => {
                let is_named = named_by == NamedBy::Application;
                let trusted_hosts = is_named.then(|| Arc::clone(trusted_hosts));
                (connector.clone(), None, trusted_hosts)
            }
        };
        endpoint.connect_with_connector_lazy(tower::service_fn(move |uri| {
            connect(connector.clone(), name.clone(), trusted_hosts.clone(), uri)
        }))
    }

    /// Records that the application has named this `host:port`.
    pub(crate) fn name(&self, address: &str) {
        match self {
            Self::Loopback | Self::Pinned(_) => {}
            Self::Named(_, trusted_hosts) => trusted_hosts.name(address),
        }
    }

    /// Returns whether the client may ask this `host:port` because a node has named it. On
    /// loopback, and where the cluster's own authority is known, the connection itself proves
    /// enough.
    pub(crate) fn follows(&self, address: &str) -> bool {
        match self {
            Self::Loopback | Self::Pinned(_) => self.allows(address),
            Self::Named(_, trusted_hosts) => trusted_hosts.covers(address),
        }
    }
}

fn connector(config: ClientConfig) -> TlsConnector {
    TlsConnector::from(Arc::new(for_grpc(config)))
}

/// Returns whether this `host:port` is on this machine, so that no other machine can listen.
#[must_use]
pub fn is_loopback(address: &str) -> bool {
    let Some((host, _)) = address.rsplit_once(':') else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
    host.eq_ignore_ascii_case("localhost") || is_address
}

/// Connects to a node with a certificate for `name`, or else for the requested host.
async fn connect(
    connector: TlsConnector,
    name: Option<ServerName<'static>>,
    trusted_hosts: Option<Arc<TrustedHosts>>,
    uri: Uri,
) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let stream = reach(&uri).await?;
    let (name, foreign) = match name {
        Some(name) => (name, Distrust::AnotherAuthority),
        None => {
            let host = uri.host().and_then(name_of_host);
            let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
            (host.ok_or_else(invalid)?, Distrust::NotProven)
        }
    };
    let shaken = connector.connect(name, stream).await;
    let stream = shaken.map_err(|error| in_words(error, foreign))?;
    if let Some(trusted_hosts) = trusted_hosts {
        trusted_hosts.note(stream.get_ref().1.peer_certificates());
    }
    Ok(TokioIo::new(stream))
}

/// Connects to the host and the port of an address.
async fn reach(uri: &Uri) -> io::Result<TcpStream> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let host = uri.host().ok_or_else(invalid)?;
    dial::connect(host, uri.port_u16().ok_or_else(invalid)?).await
}

async fn reach_at(address: &str) -> io::Result<TcpStream> {
    let uri = Uri::try_from(format!("http://{address}")).map_err(io::Error::other)?;
    reach(&uri).await
}

/// Puts a failed handshake into words; `foreign` is the reason for a peer that is not of the
/// cluster.
fn in_words(error: io::Error, foreign: Distrust) -> io::Error {
    let distrust = match tls_error(&error) {
        Some(TlsError::InvalidCertificate(
            CertificateError::UnknownIssuer
            | CertificateError::BadSignature
            | CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. },
        )) => foreign,
        Some(TlsError::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        )) => Distrust::NotValidNow,
        Some(TlsError::InvalidMessage(_)) => {
            let sentence = "the node does not speak TLS any more";
            return io::Error::new(io::ErrorKind::InvalidData, sentence);
        }
        Some(_) | None => return error,
    };
    io::Error::new(io::ErrorKind::InvalidData, distrust)
}

/// The reason why the certificate of a node is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Another authority than that of the known cluster has signed it.
    #[error("the cluster presents another certificate authority than the one that is known")]
    AnotherAuthority,
    /// It has expired, or is not valid yet.
    #[error("the certificate of the node is not valid now, if the clock of this machine is right")]
    NotValidNow,
    /// None of the given authorities has signed it for the name of the node.
    #[error("the node has no certificate for its name by one of the given authorities")]
    NotProven,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_ips_and_localhost_count_as_loopback() {
        for address in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "localhost:1",
            "LOCALHOST:1",
        ] {
            assert!(is_loopback(address), "{address}");
        }
        for address in [
            "10.0.0.1:1",
            "example.org:1",
            "127.0.0.1.example.org:1",
            "[::]:1",
            "",
        ] {
            assert!(!is_loopback(address), "{address}");
        }
    }

    #[test]
    fn malformed_certificates_are_not_accepted_as_authorities() {
        assert_eq!(Authority::from_der([1, 2, 3]), Err(NoAuthority));
        let none = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        for text in ["", "rubbish", none] {
            assert_eq!(Roots::from_pem(text.as_bytes()).err(), Some(NoRoots));
        }
    }

    #[tokio::test]
    async fn plain_text_and_unreachable_servers_are_distinguished() {
        use tokio::{io::AsyncWriteExt as _, net::TcpListener};
        let limit = Duration::from_secs(10);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers = tokio::spawn(async move {
            for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(answer).await.unwrap();
            }
        });
        for _ in 0..2 {
            let plain = fetch_authority(&address, limit).await;
            assert!(matches!(plain, Err(FetchError::NotTls(_))), "{plain:?}");
        }
        answers.await.unwrap();
        let gone = fetch_authority(&address, limit).await;
        assert!(matches!(gone, Err(FetchError::Unreachable(_))), "{gone:?}");
    }
}
