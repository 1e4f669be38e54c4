//! Dials another machine: encrypted, and under a name that the machine must prove.

use std::{io, sync::Arc};

use conclave_tls::{Fingerprint, ShownAuthority, dial, for_grpc, tls_error, tls13};
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::tls::names;

/// How to reach one machine.
#[derive(Clone)]
pub(crate) struct Dial {
    connector: TlsConnector,
    /// Name for which the machine must have a certificate.
    name: ServerName<'static>,
}

impl Dial {
    pub(super) fn tls(config: Arc<ClientConfig>, name: String) -> Self {
        let name = ServerName::try_from(name).expect("names are made of letters and digits");
        Self {
            connector: TlsConnector::from(config),
            name,
        }
    }

    /// Dials any node that has the key of the authority with this fingerprint, for a machine that
    /// has presented nothing yet: what it sends next is a secret.
    pub(crate) fn by_fingerprint(fingerprint: Fingerprint) -> Self {
        let config = tls13()
            .dangerous()
            .with_custom_certificate_verifier(ShownAuthority::with_fingerprint(fingerprint))
            .with_no_client_auth();
        Self::tls(Arc::new(for_grpc(config)), names::ANY_KEY_HOLDER.to_owned())
    }

    /// Returns a connection that is made when it is first used. The time that the endpoint allows
    /// for connecting includes the handshake.
    pub(crate) fn channel(&self, endpoint: &Endpoint) -> Channel {
        let (connector, name) = (self.connector.clone(), self.name.clone());
        endpoint.connect_with_connector_lazy(tower::service_fn(move |uri| {
            connect(connector.clone(), name.clone(), uri)
        }))
    }
}

async fn connect(
    connector: TlsConnector,
    name: ServerName<'static>,
    uri: Uri,
) -> io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let stream = reach(&uri).await?;
    let shaken = connector.connect(name, stream).await;
    Ok(TokioIo::new(shaken.map_err(in_words)?))
}

/// Explains a failed handshake where the system's words would not.
fn in_words(error: io::Error) -> io::Error {
    match tls_error(&error) {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => io::Error::new(io::ErrorKind::InvalidData, NOT_A_PEER_PORT),
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => io::Error::new(io::ErrorKind::InvalidData, OTHER_AUTHORITY),
        _ => error,
    }
}

/// Message when another server answers, most often the same node for its clients.
const NOT_A_PEER_PORT: &str = "the server there is not this peer: is it the port for clients? \
                               nodes speak with each other on the peer port";

/// Message when the other side is of another cluster, or this node has missed a rotation.
const OTHER_AUTHORITY: &str = "the server there is known by another authority: it is of another \
                               cluster, or the cluster's secret was rotated without this \
                               machine; then let it join with an empty directory and a new token \
                               (conclave token create)";

/// Connects to the host and the port of an address.
async fn reach(uri: &Uri) -> io::Result<TcpStream> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let host = uri.host().ok_or_else(invalid)?;
    dial::connect(host, uri.port_u16().ok_or_else(invalid)?).await
}
