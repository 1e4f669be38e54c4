//! Encryption between the nodes: who asks and who answers shows a certificate of the cluster.
//!
//! Always true: a node is asked under the name that only it has, and TLS 1.3 is spoken. Who shows
//! no certificate gets through the handshake, because a machine that wants to join has none yet;
//! what it may ask is decided for each call.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    pki_types::CertificateDer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::TLS13,
};

use crate::tls::{HTTP2, authority::provider, certificates::Certificates};

/// Shows the certificate with which the node is a peer.
#[derive(Debug)]
struct AsPeer(Arc<Certificates>);

impl ResolvesServerCert for AsPeer {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.peer())
    }
}

impl ResolvesClientCert for AsPeer {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.peer())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// How the port for peers answers.
pub(super) fn answers(
    authority: &CertificateDer<'static>,
    certificates: Arc<Certificates>,
) -> ServerConfig {
    let provider = Arc::new(provider());
    let roots = Arc::new(roots(authority));
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

/// How a node asks another one.
pub(super) fn asks(
    authority: &CertificateDer<'static>,
    certificates: Arc<Certificates>,
) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider speaks TLS 1.3")
        .with_root_certificates(roots(authority))
        .with_client_cert_resolver(Arc::new(AsPeer(certificates)));
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config
}

/// Every connection shows its certificates: none goes on where another one was.
pub(super) fn forget_sessions(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
}

fn roots(authority: &CertificateDer<'static>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let added = roots.add(authority.clone());
    added.expect("the authority is a certificate that was made here");
    roots
}
