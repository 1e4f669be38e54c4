//! Encryption for clients: the cluster's certificate for clients that have pinned its authority,
//! the operator's own for clients that know the cluster by its public name.

use std::sync::{Arc, PoisonError, RwLock};

use conclave_tls::{HTTP2, provider};
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};

use crate::tls::{HTTP1, certificates::Certificates, names, peers::forget_sessions};

/// The operator's own certificate, if there is one.
pub(crate) type Own = Arc<RwLock<Option<Arc<CertifiedKey>>>>;

/// Chooses the certificate by the name that the client asks for.
#[derive(Debug)]
struct ByName {
    certificates: Arc<Certificates>,
    own: Own,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        if name.is_some_and(|name| name.ends_with(names::INTERNAL)) {
            return Some(self.certificates.clients());
        }
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        Some(own.clone().unwrap_or_else(|| self.certificates.clients()))
    }
}

/// Returns the server configuration of the client port.
pub(super) fn server_config(certificates: Arc<Certificates>, own: Own) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider speaks TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName { certificates, own }));
    forget_sessions(&mut config);
    // HTTP/1.1 is for webhooks: gRPC itself is HTTP/2.
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    config
}
