//! Verifies a node of a cluster whose authority the machine does not have: nodes send the
//! certificate of their authority behind their own, and it is the root for this handshake.
//!
//! Always true: with a fingerprint, only a node of that cluster can read what the machine sends.
//! Without one, any authority is trusted; then the caller sends nothing, and asks a person.

use std::sync::{Arc, OnceLock};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{
    config::{provider, signed_by},
    fingerprint::Fingerprint,
};

/// A verifier that takes the authority from the node itself.
#[derive(Debug)]
pub struct ShownAuthority {
    expected: Option<Fingerprint>,
    shown: OnceLock<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ShownAuthority {
    /// Trusts only the authority with this fingerprint.
    #[must_use]
    pub fn with_fingerprint(expected: Fingerprint) -> Arc<Self> {
        Self::new(Some(expected))
    }

    /// Trusts any authority.
    #[must_use]
    pub fn any() -> Arc<Self> {
        Self::new(None)
    }

    fn new(expected: Option<Fingerprint>) -> Arc<Self> {
        Arc::new(Self {
            expected,
            shown: OnceLock::new(),
            algorithms: provider().signature_verification_algorithms,
        })
    }

    /// Returns the certificate of the authority that the first verified node has shown.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.shown.get()
    }
}

impl ServerCertVerifier for ShownAuthority {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let authority = others.last().ok_or_else(unknown)?.clone().into_owned();
        let is_other = |expected| Fingerprint::of(&authority) != expected;
        if self.expected.is_some_and(is_other) {
            return Err(unknown());
        }
        let verifier = signed_by(authority.clone()).map_err(|_| unknown())?;
        let verified = verifier.verify_server_cert(certificate, &[], name, ocsp, now)?;
        self.shown.get_or_init(|| authority);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;
    use crate::fingerprint::{NODES_NAME, nodes_name};

    /// An authority, and a certificate of a node that it has signed.
    fn cluster() -> (CertificateDer<'static>, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut wanted = CertificateParams::default();
        wanted.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority = wanted.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(wanted, key);
        let own = KeyPair::generate().unwrap();
        let names = CertificateParams::new([NODES_NAME.to_owned()]).unwrap();
        let node = names.signed_by(&own, &issuer).unwrap().der().clone();
        (authority, node)
    }

    fn accepts(
        verifier: &ShownAuthority,
        node: &CertificateDer<'static>,
        authority: Option<&CertificateDer<'static>>,
    ) -> bool {
        let others: Vec<_> = authority.cloned().into_iter().collect();
        let (name, now) = (nodes_name(), UnixTime::now());
        let verified = verifier.verify_server_cert(node, &others, &name, &[], now);
        verified.is_ok()
    }

    #[test]
    fn only_the_authority_with_the_fingerprint_is_trusted() {
        let ((authority, node), (other, node_of_other)) = (cluster(), cluster());
        let verifier = ShownAuthority::with_fingerprint(Fingerprint::of(&authority));
        assert!(!accepts(&verifier, &node_of_other, Some(&other)));
        assert!(!accepts(&verifier, &node_of_other, Some(&authority)));
        assert!(!accepts(&verifier, &node, None));
        assert_eq!(verifier.certificate(), None);
        assert!(accepts(&verifier, &node, Some(&authority)));
        assert_eq!(verifier.certificate(), Some(&authority));
    }

    #[test]
    fn without_a_fingerprint_the_shown_authority_is_remembered() {
        let ((authority, node), (_, node_of_other)) = (cluster(), cluster());
        let verifier = ShownAuthority::any();
        assert!(!accepts(&verifier, &node_of_other, Some(&authority)));
        assert!(
            !accepts(&verifier, &node, Some(&node_of_other)),
            "no authority"
        );
        assert!(accepts(&verifier, &node, Some(&authority)));
        assert_eq!(verifier.certificate(), Some(&authority));
    }
}
