//! A maker of certificates, valid and forged ones, that connects with them.
//!
//! How a cluster's authority follows from its secret is written here a second time, so that it does
//! not change by accident: nodes of two versions must derive the same authority.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_server::ClusterSecret;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519,
};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName},
    version::TLS13,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

use crate::support::PATIENCE;

const KEY_CONTEXT: &str = "conclave 2026-11 the certificate authority of a cluster";
const MARK_CONTEXT: &str = "conclave 2026-11 the mark of an authority";
const PKCS8_BEFORE_SEED: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// Name that every node has for peers, and name that every node has for clients.
pub(crate) const ANY_PEER: &str = "peers.conclave.internal";
pub(crate) const ANY_NODE: &str = "nodes.conclave.internal";
const DAY: i64 = 24 * 3600;

/// Purposes for which a certificate may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Server authentication only.
    Answer,
    /// Server and client authentication.
    Peer,
}

/// A certificate with its chain, and its key.
pub(crate) struct Pair {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) chain_pem: String,
    pub(crate) key: KeyPair,
}

/// A certificate authority with its key.
pub(crate) struct Forger {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Forger {
    /// Returns the authority of the cluster itself, as derived from this secret.
    pub(crate) fn knowing(secret: &ClusterSecret) -> Self {
        let (text, mut name) = (
            secret.to_text(),
            format!("conclave cluster {}", secret.cluster_id()),
        );
        let parts: Vec<&str> = text.split('.').collect();
        let bytes = URL_SAFE_NO_PAD.decode(parts[parts.len() - 1]).unwrap();
        if let [_, rotations, _] = parts[..] {
            let mark = blake3::derive_key(MARK_CONTEXT, &bytes);
            let mark = blake3::Hash::from_bytes(mark).to_hex();
            name = format!("{name} rotation {rotations} {}", &mark[..16]);
        }
        Self::with_seed(&blake3::derive_key(KEY_CONTEXT, &bytes), &name)
    }

    /// Returns another authority with the same name and another key.
    pub(crate) fn stranger(name: &str) -> Self {
        Self::with_seed(
            &blake3::derive_key("another cluster", name.as_bytes()),
            name,
        )
    }

    fn with_seed(seed: &[u8; 32], name: &str) -> Self {
        let pkcs8 = PrivatePkcs8KeyDer::from([&PKCS8_BEFORE_SEED[..], seed].concat());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ED25519).unwrap();
        let mut wanted = CertificateParams::default();
        // Clients find authorities by their names: there is nothing else in the certificate.
        wanted.distinguished_name = DistinguishedName::new();
        wanted.distinguished_name.push(DnType::CommonName, name);
        wanted.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = wanted.self_signed(&key).unwrap();
        Self {
            issuer: Issuer::new(wanted, key),
            certificate,
        }
    }

    /// Returns the authority's own certificate, for the programs that trust it.
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Issues a certificate for these names that is valid now.
    pub(crate) fn issue(&self, names: &[&str], usage: Use) -> Pair {
        self.issue_for(names, usage, [-1, 1])
    }

    /// Issues one that is valid from one day to another, counted from today.
    pub(crate) fn issue_for(&self, names: &[&str], usage: Use, days: [i64; 2]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let wanted = wanted(names, usage, days);
        let certificate = wanted.signed_by(&key, &self.issuer).unwrap();
        Pair {
            chain: vec![certificate.der().clone(), self.certificate.der().clone()],
            chain_pem: certificate.pem() + &self.certificate.pem(),
            key,
        }
    }
}

/// Returns a self-signed certificate.
pub(crate) fn self_made(names: &[&str]) -> Pair {
    let key = KeyPair::generate().unwrap();
    let wanted = wanted(names, Use::Peer, [-1, 1]);
    let certificate = wanted.self_signed(&key).unwrap();
    Pair {
        chain: vec![certificate.der().clone()],
        chain_pem: certificate.pem(),
        key,
    }
}

fn wanted(names: &[&str], usage: Use, days: [i64; 2]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut wanted = CertificateParams::new(names).unwrap();
    #[expect(clippy::disallowed_methods, reason = "certificates are for today")]
    let now = std::time::SystemTime::now();
    let day = |days: i64| match days < 0 {
        true => now - Duration::from_secs((-days * DAY).unsigned_abs()),
        false => now + Duration::from_secs((days * DAY).unsigned_abs()),
    };
    wanted.not_before = day(days[0]).into();
    wanted.not_after = day(days[1]).into();
    wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if usage == Use::Peer {
        let asks = ExtendedKeyUsagePurpose::ClientAuth;
        wanted.extended_key_usages.push(asks);
    }
    wanted
}

/// Returns a configuration that trusts the authority of this cluster and shows `pair`, if there is
/// one.
pub(crate) fn config(secret: &ClusterSecret, pair: Option<&Pair>) -> Arc<ClientConfig> {
    match pair {
        Some(pair) => config_with(secret, pair.chain.clone(), pair.key.serialize_der()),
        None => Arc::new(trusting(secret).with_no_client_auth()),
    }
}

/// Returns the same with a pair from elsewhere: certificates, and a key in PKCS #8.
pub(crate) fn config_with(
    secret: &ClusterSecret,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
) -> Arc<ClientConfig> {
    let key = PrivatePkcs8KeyDer::from(key);
    let config = trusting(secret).with_client_auth_cert(chain, key.into());
    Arc::new(config.unwrap())
}

fn trusting(secret: &ClusterSecret) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(secret.authority().into()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
}

/// Connects to the server with this name at this address.
pub(crate) async fn connect(
    config: &Arc<ClientConfig>,
    address: &str,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).unwrap();
    let connecting = TlsConnector::from(config.clone()).connect(name, stream);
    timeout(PATIENCE, connecting).await.expect("it answers")
}

/// Returns a connection for calls, with the same configuration.
pub(crate) fn channel(config: &Arc<ClientConfig>, address: &str, name: &'static str) -> Channel {
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (config, address) = (Arc::new(config), address.to_owned());
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let endpoint = endpoint.timeout(PATIENCE);
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
        let (config, address) = (config.clone(), address.clone());
        async move { connect(&config, &address, name).await.map(TokioIo::new) }
    }))
}
