//! Decides how a node speaks with others: encrypted, or in plain text where nobody else can listen.
//!
//! Always true: plain text is spoken on loopback alone, and only by a node that was told to.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use crate::{
    secret::ClusterSecret,
    tls::{Holder, IssueError, LIFETIME, OwnCertificateError, OwnFiles, Security, Tls},
};

/// It is not known how to speak with others.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// Others could listen.
    #[error("plain text is for loopback only, and {address} is not")]
    PlainOffLoopback {
        /// On which it was told to listen.
        address: SocketAddr,
    },
    /// Several nodes have nothing in common by which to know each other.
    #[error("the nodes of a cluster need the same secret to know each other")]
    SecretMissing,
    /// A certificate without its key, or the other way round.
    #[error("tls_certificate and tls_key are given together or not at all")]
    OwnHalf,
    /// Nobody would ever see it.
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

/// Refuses plain text on addresses where others can listen.
pub(crate) fn check(plain: bool, bound: [SocketAddr; 2]) -> Result<(), SecurityError> {
    let exposed = bound.into_iter().find(|at| !at.ip().is_loopback());
    match exposed.filter(|_| plain) {
        Some(address) => Err(SecurityError::PlainOffLoopback { address }),
        None => Ok(()),
    }
}

/// Where the operator's own certificate is, if there is one.
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

/// What a node speaks that was or was not told to speak in plain text.
pub(crate) fn of(
    plain: bool,
    secret: Option<&ClusterSecret>,
    holder: Holder,
) -> Result<Security, SecurityError> {
    if plain {
        return Ok(Security::Plain);
    }
    let secret = secret.ok_or(SecurityError::SecretMissing)?;
    Ok(Security::Tls(Arc::new(Tls::new(secret, holder, LIFETIME)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_spoken_only_where_nobody_else_can_listen() {
        let check = |plain, client: &str, peer: &str| {
            check(plain, [client.parse().unwrap(), peer.parse().unwrap()])
        };
        for (client, peer) in [("127.0.0.1:1", "127.9.9.9:2"), ("[::1]:1", "[::1]:2")] {
            assert!(check(true, client, peer).is_ok());
        }
        for (client, peer) in [
            ("0.0.0.0:1", "127.0.0.1:2"),
            ("127.0.0.1:1", "10.0.0.1:2"),
            ("[::]:1", "[::1]:2"),
        ] {
            assert!(check(false, client, peer).is_ok());
            let refused = check(true, client, peer);
            assert!(
                matches!(refused, Err(SecurityError::PlainOffLoopback { .. })),
                "{client} {peer}"
            );
        }
        let refused = of(false, None, Holder::at(None, &[]));
        assert!(matches!(refused, Err(SecurityError::SecretMissing)));
    }
}
