//! Decides how a node secures its connections.
//!
//! Always true: peers use TLS; only clients on loopback may use plain text, and only with a node
//! that is configured for it.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    identity::secret::ClusterSecret,
    tls::{
        CertificateSubject, IssueError, Issued, LIFETIME, OwnCertificateError, OwnFiles, Security,
        Tls,
    },
};

/// The security of connections cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// Others could listen on a plain text connection.
    #[error("plain text is for loopback only, and {address} is not")]
    PlainOffLoopback {
        /// Address on which the node was to listen.
        address: SocketAddr,
    },
    /// Several nodes have no common secret by which to know each other.
    #[error("the nodes of a cluster need the same secret to know each other")]
    SecretMissing,
    /// A certificate is given without its key, or a key without its certificate.
    #[error("tls_certificate and tls_key are given together or not at all")]
    OwnHalf,
    /// In plain text no client would ever see the certificate.
    #[error("a node that speaks in plain text shows no certificate")]
    OwnInPlain,
    /// The operator's own certificate cannot be used.
    #[error("the certificate for clients cannot be used")]
    Own(#[from] OwnCertificateError),
    /// No certificate can be made.
    #[error("the node's certificates cannot be made: {0}")]
    Certificates(String),
}

impl From<IssueError> for SecurityError {
    fn from(error: IssueError) -> Self {
        Self::Certificates(error.to_string())
    }
}

/// Refuses plain text with clients on an address where others can listen.
pub(crate) fn check(plain: bool, address: SocketAddr) -> Result<(), SecurityError> {
    match plain && !address.ip().is_loopback() {
        true => Err(SecurityError::PlainOffLoopback { address }),
        false => Ok(()),
    }
}

/// Returns the files of the operator's own certificate, if there is one.
pub(crate) fn own_files(
    plain: bool,
    certificate: Option<&PathBuf>,
    key: Option<&PathBuf>,
) -> Result<Option<OwnFiles>, SecurityError> {
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) if plain => Err(SecurityError::OwnInPlain),
        (Some(certificate), Some(key)) => Ok(Some(OwnFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        })),
        (Some(_), None) | (None, Some(_)) => Err(SecurityError::OwnHalf),
    }
}

/// Proof of a node that it belongs to the cluster.
#[derive(Clone)]
pub(crate) enum Credentials {
    /// The node knows the secret, and signs its certificates itself.
    Secret(ClusterSecret),
    /// A voter has signed the node's certificates.
    Issued(Issued),
}

impl Credentials {
    /// Returns the credentials of a node. The secret takes precedence: a node that has it signs for
    /// itself. A secret from before a rotation is ignored.
    pub(crate) fn of(secret: Option<ClusterSecret>, issued: Option<Issued>) -> Option<Self> {
        let generation = issued.as_ref().map_or(0, |issued| issued.generation);
        match secret.filter(|secret| secret.generation() >= generation) {
            Some(secret) => Some(Self::Secret(secret)),
            None => issued.map(Self::Issued),
        }
    }

    /// Reads the credentials from the directory of a node; returns `None` if it has none.
    pub(crate) fn load(directory: &Path) -> io::Result<Option<Self>> {
        let secret = ClusterSecret::load(directory)?;
        Ok(Self::of(secret, Issued::load(directory)?))
    }

    /// Returns the name of the cluster.
    pub(crate) fn cluster_id(&self) -> String {
        match self {
            Self::Secret(secret) => secret.cluster_id(),
            Self::Issued(issued) => issued.cluster_id.clone(),
        }
    }

    /// Stores the credentials in the directory of the node.
    pub(crate) fn store(&self, directory: &Path) -> io::Result<()> {
        match self {
            Self::Secret(secret) => secret.store(directory),
            Self::Issued(issued) => issued.store(directory),
        }
    }
}

/// Returns the security of a node; `plain`: it serves clients in plain text.
pub(crate) fn of(
    plain: bool,
    credentials: Option<&Credentials>,
    subject: CertificateSubject,
) -> Result<Security, SecurityError> {
    let tls = match credentials.ok_or(SecurityError::SecretMissing)? {
        Credentials::Secret(secret) => Tls::new(secret, subject, LIFETIME)?,
        Credentials::Issued(issued) => Tls::of_member(issued, subject)?,
    };
    Ok(Security {
        tls: Arc::new(tls),
        plain_clients: plain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_for_clients_is_allowed_only_on_loopback() {
        let check = |plain, client: &str| check(plain, client.parse().unwrap());
        for client in ["127.0.0.1:1", "127.9.9.9:2", "[::1]:1"] {
            assert!(check(true, client).is_ok());
        }
        for client in ["0.0.0.0:1", "10.0.0.1:2", "[::]:1"] {
            assert!(check(false, client).is_ok());
            let refused = check(true, client);
            assert!(
                matches!(refused, Err(SecurityError::PlainOffLoopback { .. })),
                "{client}"
            );
        }
    }

    #[test]
    fn peers_need_the_secret_even_with_plain_text_for_clients() {
        for plain in [false, true] {
            let refused = of(plain, None, CertificateSubject::at(None, &[]));
            assert!(matches!(refused, Err(SecurityError::SecretMissing)));
            let secret = Credentials::Secret(ClusterSecret::generate().unwrap());
            let security = of(plain, Some(&secret), CertificateSubject::at(None, &[])).unwrap();
            assert_eq!(security.for_clients().is_none(), plain);
        }
    }
}
