//! The key of a node without the key of the authority, and the certificates that a voter has signed
//! for it, as files in the node's directory.
//!
//! Always true: the key is made on the node and never leaves it; both files are written whole, and
//! only their owner reads them.

use std::{fmt, io, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::AuthorityId;
use conclave_wire::peer;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::{
    files::checksummed::{self, ChecksumError},
    tls::{
        Signed, Tls,
        authority::{IssueError, certified, id_of},
        certificates::{Current, LIFETIME},
        peers,
    },
};

/// File of the key in the directory of a node.
const KEY_FILE: &str = "node.key";
/// File of its certificates.
const FILE: &str = "certificates.json";

/// The key pair of a node.
pub(crate) struct NodeKey {
    pair: KeyPair,
}

impl NodeKey {
    /// Returns the key of this directory; makes one if there is no usable key.
    pub(crate) fn load_or_make(directory: &Path) -> io::Result<Self> {
        if let Some(kept) = Self::load(directory)? {
            return Ok(kept);
        }
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
        let text = URL_SAFE_NO_PAD.encode(pair.serialize_der());
        checksummed::write(&directory.join(KEY_FILE), &text)?;
        Ok(Self { pair })
    }

    /// Returns the key of this directory, if there is a usable one.
    pub(crate) fn load(directory: &Path) -> io::Result<Option<Self>> {
        let text = match checksummed::read::<String>(&directory.join(KEY_FILE)) {
            Ok(text) => text,
            Err(ChecksumError::Io(error)) => return Err(error),
            Err(error @ (ChecksumError::Damaged(_) | ChecksumError::Foreign(_))) => {
                tracing::warn!(%error, file = KEY_FILE, "ignoring an unreadable file");
                None
            }
        };
        let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let pair = bytes.and_then(|bytes| KeyPair::try_from(bytes).ok());
        Ok(pair.map(|pair| Self { pair }))
    }

    /// Returns the public key.
    pub(crate) fn public(&self) -> Vec<u8> {
        self.pair.public_key_raw().to_vec()
    }

    fn secret_der(&self) -> Vec<u8> {
        self.pair.serialize_der()
    }
}

/// Certificates that a voter has signed for a node, with the node's key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Issued {
    pub(crate) cluster_id: String,
    authority: String,
    /// Authority that clients have pinned.
    clients_authority: String,
    /// Number of rotations of the secret before they were signed.
    pub(crate) generation: u64,
    peer: String,
    clients: String,
    /// Time at which they were signed, in seconds since 1970.
    made_at_s: u64,
    #[serde(skip)]
    key: Vec<u8>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Issued({})", self.cluster_id)
    }
}

impl Issued {
    /// Takes the certificates that a voter has sent.
    ///
    /// # Errors
    /// If they are not for this key.
    pub(crate) fn new(key: &NodeKey, sent: &peer::Certificates) -> Result<Self, IssueError> {
        let issued = Self {
            cluster_id: sent.cluster_id.clone(),
            authority: URL_SAFE_NO_PAD.encode(&sent.authority),
            clients_authority: URL_SAFE_NO_PAD.encode(&sent.clients_authority),
            generation: sent.generation,
            peer: URL_SAFE_NO_PAD.encode(&sent.peer),
            clients: URL_SAFE_NO_PAD.encode(&sent.clients),
            made_at_s: Tls::now().as_secs(),
            key: key.secret_der(),
        };
        issued.certificates()?;
        Ok(issued)
    }

    /// Returns the certificates of this directory, if there are usable ones.
    pub(crate) fn load(directory: &Path) -> io::Result<Option<Self>> {
        Self::load_from(directory, FILE)
    }

    /// Returns the certificates from a file of another name.
    pub(crate) fn load_from(directory: &Path, file: &str) -> io::Result<Option<Self>> {
        let found = match checksummed::read::<Self>(&directory.join(file)) {
            Ok(found) => found,
            Err(ChecksumError::Io(error)) => return Err(error),
            Err(error @ (ChecksumError::Damaged(_) | ChecksumError::Foreign(_))) => {
                tracing::warn!(%error, file, "ignoring an unreadable file");
                None
            }
        };
        let (Some(mut found), Some(key)) = (found, NodeKey::load(directory)?) else {
            return Ok(None);
        };
        found.key = key.secret_der();
        Ok(found.certificates().is_ok().then_some(found))
    }

    /// Stores them in the directory of the node, beside its key.
    pub(crate) fn store(&self, directory: &Path) -> io::Result<()> {
        checksummed::write(&directory.join(FILE), self)
    }

    /// Returns the certificate of the authority that peers trust.
    pub(super) fn authority(&self) -> CertificateDer<'static> {
        der(&self.authority)
    }

    /// Returns the certificate of the authority that clients have pinned.
    pub(super) fn clients_authority(&self) -> CertificateDer<'static> {
        der(&self.clients_authority)
    }

    /// Returns the identity of the authority that peers trust.
    pub(crate) fn authority_id(&self) -> AuthorityId {
        id_of(&self.authority())
    }

    pub(super) fn certificates(&self) -> Result<Current, IssueError> {
        let with_key = |leaf: &str, authority| {
            let pair = certified(vec![der(leaf), authority], self.key.clone())?;
            pair.keys_match()?;
            Ok::<_, IssueError>(pair)
        };
        // Only the certificate of an authority can be trusted.
        peers::is_authority(&self.authority())?;
        let peer = with_key(&self.peer, self.authority())?;
        let clients = with_key(&self.clients, self.clients_authority())?;
        let made_at = Duration::from_secs(self.made_at_s);
        Current::new(peer, clients, made_at, LIFETIME)
    }
}

impl Signed {
    /// Returns both in the form in which they are sent, with the authorities.
    pub(crate) fn to_wire(&self) -> peer::Certificates {
        let bytes = |certificate: &CertificateDer<'_>| certificate.to_vec().into();
        peer::Certificates {
            authority: bytes(&self.authority),
            clients_authority: bytes(&self.clients_authority),
            generation: self.generation,
            peer: bytes(&self.peer),
            clients: bytes(&self.clients),
            cluster_id: self.cluster_id.clone(),
        }
    }
}

fn der(text: &str) -> CertificateDer<'static> {
    // An invalid certificate is refused where it is used.
    URL_SAFE_NO_PAD.decode(text).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::{
        identity::secret::ClusterSecret,
        tls::{CertificateSubject, PeerNames, PublicKey},
    };

    fn issued_for(key: &NodeKey, secret: &ClusterSecret) -> Result<Issued, IssueError> {
        let key_holder = Tls::new(secret, CertificateSubject::at(Some(1), &[]), LIFETIME).unwrap();
        let public = PublicKey::from_bytes(&key.public()).unwrap();
        let of = PeerNames {
            node: 4,
            ..PeerNames::default()
        };
        let signed = key_holder.sign_for(&public, of, "h:1").unwrap().unwrap();
        Issued::new(key, &signed.to_wire())
    }

    #[test]
    fn a_node_key_and_certificate_persist_and_the_key_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let secret = ClusterSecret::generate().unwrap();
        assert!(Issued::load(directory).unwrap().is_none());
        let key = NodeKey::load_or_make(directory).unwrap();
        let mode = fs::metadata(directory.join(KEY_FILE))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        issued_for(&key, &secret).unwrap().store(directory).unwrap();
        let again = NodeKey::load_or_make(directory).unwrap();
        assert_eq!(again.public(), key.public());
        let member = Issued::load(directory).unwrap().unwrap();
        let tls = Tls::of_member(&member, CertificateSubject::at(Some(4), &[])).unwrap();
        assert!(!tls.is_key_holder() && tls.secret().is_none());
        let of_secret = Tls::new(&secret, CertificateSubject::at(Some(1), &[]), LIFETIME).unwrap();
        assert_eq!(tls.fingerprint(), of_secret.fingerprint());
        let text = fs::read_to_string(directory.join(FILE)).unwrap();
        let private = URL_SAFE_NO_PAD.encode(key.secret_der());
        assert!(!text.contains(&private) && !text.contains(&secret.to_text()));
    }

    #[test]
    fn a_certificate_for_another_key_is_ignored() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let secret = ClusterSecret::generate().unwrap();
        let [one, other] = [0, 1].map(|n: usize| {
            let directory = directories[n].path();
            (directory, NodeKey::load_or_make(directory).unwrap())
        });
        issued_for(&one.1, &secret).unwrap().store(one.0).unwrap();
        fs::copy(one.0.join(FILE), other.0.join(FILE)).unwrap();
        assert!(Issued::load(other.0).unwrap().is_none());
        assert!(Issued::load(one.0).unwrap().is_some());
    }
}
