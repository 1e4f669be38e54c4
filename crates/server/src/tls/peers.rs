//! Encryption between the nodes: both sides of a connection present a certificate of the cluster.
//!
//! Always true: a node is called under the name that only it has, and over TLS 1.3. A caller
//! without a certificate gets through the handshake, because a machine that wants to join has none
//! yet; which calls it may make is decided for each call.

use std::sync::Arc;

use conclave_tls::{HTTP2, for_grpc, provider, tls13};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::TLS13,
};

use crate::tls::certificates::Certificates;

/// Presents the node's certificate as a peer.
#[derive(Debug)]
struct AsPeer(Arc<Certificates>);

impl ResolvesServerCert for AsPeer {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let trusted = hello.certificate_authorities().unwrap_or_default();
        Some(self.0.peer_for(trusted.iter().map(AsRef::as_ref)))
    }
}

impl ResolvesClientCert for AsPeer {
    fn resolve(&self, trusted: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.peer_for(trusted.iter().copied()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Returns the server configuration of the peer port.
pub(super) fn server_config(
    authorities: &[CertificateDer<'static>],
    certificates: Arc<Certificates>,
) -> ServerConfig {
    let provider = Arc::new(provider());
    let roots = Arc::new(roots(authorities));
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .allow_unauthenticated()
        .build()
        .expect("there is a root");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider speaks TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AsPeer(certificates)));
    forget_sessions(&mut config);
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config
}

/// Returns the client configuration with which a node calls another one.
pub(super) fn client_config(
    authorities: &[CertificateDer<'static>],
    certificates: Arc<Certificates>,
) -> ClientConfig {
    let roots = Arc::new(roots(authorities));
    let hints = roots.subjects();
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::new(provider()));
    let verifier = verifier.build().expect("there is a root");
    let config = tls13()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(HintingVerifier { verifier, hints }))
        .with_client_cert_resolver(Arc::new(AsPeer(certificates)));
    for_grpc(config)
}

/// Disables resumption: every connection presents its certificates again.
pub(super) fn forget_sessions(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
}

fn roots(authorities: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let added = roots.add(authority.clone());
        added.expect("the authority is a certificate that was looked at before");
    }
    roots
}

/// Refuses a certificate that may not sign others.
pub(super) fn is_authority(certificate: &CertificateDer<'static>) -> Result<(), Error> {
    RootCertStore::empty().add(certificate.clone())
}

/// Verifies as usual, and tells the other side which authorities it trusts, so that a node that has
/// certificates of two presents the right one.
#[derive(Debug)]
struct HintingVerifier {
    verifier: Arc<WebPkiServerVerifier>,
    hints: Vec<DistinguishedName>,
}

impl ServerCertVerifier for HintingVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verifier
            .verify_server_cert(certificate, others, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        Some(&self.hints)
    }
}
