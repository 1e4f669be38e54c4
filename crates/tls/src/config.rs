//! The parts of a TLS configuration that are the same for all who connect to a node.
//!
//! Always true: TLS 1.3 alone, with one provider of cryptography, and no session is resumed: every
//! connection verifies the certificates again.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, ConfigBuilder, Error, RootCertStore, WantsVerifier,
    client::{Resumption, WebPkiServerVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::CertificateDer,
    version::TLS13,
};

/// Protocol inside the encryption, in the words of ALPN: that of gRPC.
pub const HTTP2: &[u8] = b"h2";

/// Returns the one provider of cryptography.
#[must_use]
pub fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// Begins the configuration of a client that speaks TLS 1.3 alone.
#[must_use]
pub fn tls13() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider speaks TLS 1.3")
}

/// Completes the configuration of a client that speaks gRPC.
#[must_use]
pub fn for_grpc(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config
}

/// Returns the verifier that accepts only servers whose certificate this authority has signed.
///
/// # Errors
/// If the certificate is not that of an authority.
pub fn signed_by(authority: CertificateDer<'static>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    let provider = Arc::new(provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    Ok(verifier.build().expect("there is a root"))
}

/// Returns what TLS says of a failed handshake; `None` if the connection itself failed.
#[must_use]
pub fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|cause| cause.downcast_ref())
}
