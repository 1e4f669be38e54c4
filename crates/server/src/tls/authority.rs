//! The certificate authority of a cluster, which every voter derives from the cluster's secret.
//!
//! There are two of them, the same until the secret is rotated: the authority that clients have
//! pinned follows from the secret that the cluster had at the start, the authority that peers trust
//! follows from the part of the last rotation. Always true: all voters of a cluster make the same
//! certificates, bit for bit, at every start; so a client that has pinned one goes on trusting the
//! cluster.

use std::time::Duration;

use conclave_core::AuthorityId;
use conclave_tls::{Fingerprint, provider};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData,
    SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

use crate::identity::secret::ClusterSecret;

const KEY_CONTEXT: &str = "conclave 2026-11 the certificate authority of a cluster";
const MARK_CONTEXT: &str = "conclave 2026-11 the mark of an authority";
/// Number of hexadecimal digits of its mark in the name of an authority.
const MARK_DIGITS: usize = 16;
/// Prefix of the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const PKCS8_BEFORE_SEED: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// Length of an uncompressed point of P-256, and its first byte.
const POINT_BYTES: usize = 65;
const POINT_UNCOMPRESSED: u8 = 4;
/// First and last year in which the authority is valid: dates that no node has to agree on.
const VALID_FROM_YEAR: i32 = 2026;
const VALID_UNTIL_YEAR: i32 = 2126;

/// Period in which a certificate is valid, as times since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

/// Purpose of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// To be a peer: as the server and as the client of a connection.
    Peer,
    /// To serve clients, and nothing else.
    Clients,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    /// The system gives no random bytes, or a name is invalid.
    #[error("a certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// The provider refuses the key.
    #[error("a key cannot be used")]
    Key(#[from] rustls::Error),
}

impl ClusterSecret {
    /// Returns the identity of the authority that peers trust.
    pub(crate) fn authority_id(&self) -> AuthorityId {
        id_of(Authority::of(self).certificate())
    }

    /// Returns the certificate of the cluster's authority in DER: what clients pin.
    #[must_use]
    pub fn authority(&self) -> Vec<u8> {
        Authority::of(self).certificate_for_clients().to_vec()
    }
}

/// Signs the certificates of nodes.
pub(crate) struct Authority {
    peers: Signer,
    clients: Signer,
    cluster_id: String,
    generation: u64,
}

impl Authority {
    /// Returns the authority of the cluster with this secret.
    pub(crate) fn of(secret: &ClusterSecret) -> Self {
        Self {
            peers: Signer::of(secret),
            clients: Signer::of(&secret.at_the_start()),
            cluster_id: secret.cluster_id(),
            generation: secret.generation(),
        }
    }

    /// Returns how often the secret had been rotated.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the certificate of the authority that peers trust.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.peers.certificate
    }

    /// Returns the certificate of the other authority: what clients pin.
    pub(crate) fn certificate_for_clients(&self) -> &CertificateDer<'static> {
        &self.clients.certificate
    }

    /// Returns the name of the cluster.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Makes a new key and a certificate for it, followed by the authority's own certificate, so
    /// that a machine that connects for the first time sees it.
    pub(crate) fn issue(
        &self,
        names: &[String],
        usage: Use,
        valid: Validity,
    ) -> Result<CertifiedKey, IssueError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf = self.sign(&key, names, usage, valid)?;
        let chain = vec![leaf, self.signer(usage).certificate.clone()];
        Ok(certified(chain, key.serialize_der())?)
    }

    /// Signs a certificate for a key that another machine may have. Names that are not valid in a
    /// certificate are left out.
    pub(crate) fn sign(
        &self,
        key: &impl PublicKeyData,
        names: &[String],
        usage: Use,
        valid: Validity,
    ) -> Result<CertificateDer<'static>, IssueError> {
        let possible = |name: &&String| CertificateParams::new(vec![(*name).clone()]).is_ok();
        let names: Vec<String> = names.iter().filter(possible).cloned().collect();
        let mut wanted = CertificateParams::new(names)?;
        let beginning = date_time_ymd(1970, 1, 1);
        wanted.not_before = beginning + valid.from;
        wanted.not_after = beginning + valid.until;
        wanted.distinguished_name = name_of("conclave node");
        wanted.use_authority_key_identifier_extension = true;
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if usage == Use::Peer {
            let client_auth = ExtendedKeyUsagePurpose::ClientAuth;
            wanted.extended_key_usages.push(client_auth);
        }
        let signed = wanted.signed_by(key, &self.signer(usage).issuer)?;
        Ok(signed.der().clone())
    }

    fn signer(&self, usage: Use) -> &Signer {
        match usage {
            Use::Peer => &self.peers,
            Use::Clients => &self.clients,
        }
    }
}

/// One of the two authorities.
struct Signer {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Signer {
    fn of(secret: &ClusterSecret) -> Self {
        let cluster_id = secret.cluster_id();
        let pkcs8 = [&PKCS8_BEFORE_SEED[..], &secret.derive(KEY_CONTEXT)].concat();
        let key =
            KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &PKCS_ED25519);
        let key = key.expect("every seed is an Ed25519 key");
        let mut wanted = CertificateParams::default();
        wanted.not_before = date_time_ymd(VALID_FROM_YEAR, 1, 1);
        wanted.not_after = date_time_ymd(VALID_UNTIL_YEAR, 1, 1);
        // 63 bits, because a serial number is positive.
        let name = u64::from_str_radix(&cluster_id, 16).expect("its name is 16 hexadecimal digits");
        wanted.serial_number = Some(SerialNumber::from((name >> 1).max(1)));
        // The name distinguishes it from other authorities, where a node may trust two: also from
        // an authority that was made for the same rotation and given up.
        let name = match secret.generation() {
            0 => format!("conclave cluster {cluster_id}"),
            generation => {
                let mark = blake3::Hash::from_bytes(secret.derive(MARK_CONTEXT)).to_hex();
                let mark = &mark[..MARK_DIGITS];
                format!("conclave cluster {cluster_id} rotation {generation} {mark}")
            }
        };
        wanted.distinguished_name = name_of(&name);
        wanted.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = wanted.self_signed(&key);
        let certificate = certificate.expect("all of it is fixed and well formed");
        Self {
            certificate: certificate.der().clone(),
            issuer: Issuer::new(wanted, key),
        }
    }
}

/// The public key of a machine: a point of P-256, uncompressed.
pub(crate) struct PublicKey([u8; POINT_BYTES]);

impl PublicKey {
    /// Takes a key that a machine has sent; `None` if it does not have the form of a key. A key
    /// that is no point of the curve is of no use to the machine that sent it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; POINT_BYTES] = bytes.try_into().ok()?;
        (bytes[0] == POINT_UNCOMPRESSED).then_some(Self(bytes))
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// Returns the fingerprint of an authority with this certificate, in the form of the log.
pub(crate) fn id_of(certificate: &CertificateDer<'_>) -> AuthorityId {
    AuthorityId(Fingerprint::of(certificate).0)
}

pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    pkcs8: Vec<u8>,
) -> Result<CertifiedKey, rustls::Error> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
    let key = provider().key_provider.load_private_key(key)?;
    Ok(CertifiedKey::new(chain, key))
}

fn name_of(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_nodes_of_a_cluster_derive_the_same_authority() {
        let secret = ClusterSecret::from_bytes(&[7; 32]).unwrap();
        let (one, two) = (Authority::of(&secret), Authority::of(&secret));
        assert_eq!(one.certificate(), two.certificate());
        let other = Authority::of(&ClusterSecret::from_bytes(&[8; 32]).unwrap());
        assert_ne!(one.certificate(), other.certificate());
        let digest = blake3::hash(one.certificate());
        assert_eq!(
            digest.to_hex()[..16],
            *"db236d79e7a41163",
            "what clients have pinned must stay the same in all versions"
        );
    }

    #[test]
    fn a_rotation_changes_the_peer_authority_but_not_the_clients() {
        let secret = ClusterSecret::from_bytes(&[7; 32]).unwrap();
        let (second, third) = (secret.rotate().unwrap(), secret.rotate().unwrap());
        let authorities = [&secret, &second, &third].map(Authority::of);
        for authority in &authorities {
            assert_eq!(
                authority.certificate_for_clients(),
                authorities[0].certificate()
            );
        }
        assert_ne!(secret.authority_id(), second.authority_id());
        assert_ne!(second.authority_id(), third.authority_id());
        // Two that were made for the same rotation have different names.
        let names = authorities.each_ref().map(|authority| {
            let anchor = webpki::anchor_from_trusted_cert(authority.certificate()).unwrap();
            anchor.subject.to_vec()
        });
        assert!(names[0] != names[1] && names[1] != names[2]);
    }

    #[test]
    fn a_name_invalid_in_a_certificate_is_left_out() {
        let authority = Authority::of(&ClusterSecret::from_bytes(&[7; 32]).unwrap());
        let valid = Validity {
            from: Duration::ZERO,
            until: Duration::from_secs(60),
        };
        let names = ["nöde".to_owned(), "good.example".to_owned()];
        let issued = authority.issue(&names, Use::Clients, valid).unwrap();
        assert_eq!(issued.cert.len(), 2);
        assert_eq!(&issued.cert[1], authority.certificate());
        let leaf = webpki::EndEntityCert::try_from(&issued.cert[0]).unwrap();
        assert!(leaf.valid_dns_names().eq(["good.example"]));
    }
}
