//! Decides how a node speaks with others: encrypted, or in plain text where nobody else can listen.
//!
//! Always true: plain text is spoken on loopback alone, and only by a node that was told to.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use crate::{
    config::NodeConfig,
    secret::{ClusterSecret, NoSecret},
    tls::{Holder, IssueError, LIFETIME, Security, Tls},
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
    /// The secret is not the one of the data directory.
    #[error("the secret that was given is not the one that {directory} was made with")]
    OtherSecret {
        /// The directory.
        directory: PathBuf,
    },
    /// What is in the file is none. It is not told.
    #[error("{file} does not hold the secret of a cluster")]
    NoSecret {
        /// The file.
        file: PathBuf,
        /// What one looks like.
        #[source]
        source: NoSecret,
    },
    /// A file cannot be read or written.
    #[error("the secret in {path} cannot be used")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No certificate can be made.
    #[error("the node's certificates cannot be made: {0}")]
    Certificates(String),
}

impl From<IssueError> for SecurityError {
    fn from(error: IssueError) -> Self {
        Self::Certificates(error.to_string())
    }
}

/// Plain text or not, for a node that listens on these addresses.
pub(crate) fn decide(
    plain: bool,
    bound: [SocketAddr; 2],
    secret: Option<&ClusterSecret>,
    holder: Holder,
) -> Result<Security, SecurityError> {
    if plain {
        let exposed = bound
            .into_iter()
            .find(|address| !address.ip().is_loopback());
        return match exposed {
            Some(address) => Err(SecurityError::PlainOffLoopback { address }),
            None => Ok(Security::Plain),
        };
    }
    let secret = secret.ok_or(SecurityError::SecretMissing)?;
    Ok(Security::Tls(Arc::new(Tls::new(secret, holder, LIFETIME)?)))
}

/// The secret that the directory has or the file; a new one for a node that makes a cluster alone.
pub(crate) fn secret_of(
    config: &NodeConfig,
    alone: bool,
) -> Result<Option<ClusterSecret>, SecurityError> {
    let io = |path: &PathBuf, source| SecurityError::Io {
        path: path.clone(),
        source,
    };
    let kept = ClusterSecret::load(&config.data).map_err(|source| io(&config.data, source))?;
    let given = match &config.secret_file {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|source| io(file, source))?;
            let wrong = |source| SecurityError::NoSecret {
                file: file.clone(),
                source,
            };
            Some(ClusterSecret::from_text(&text).map_err(wrong)?)
        }
        None => None,
    };
    match (kept, given) {
        (Some(kept), Some(given)) if kept != given => Err(SecurityError::OtherSecret {
            directory: config.data.clone(),
        }),
        (None, None) if alone => {
            let made = ClusterSecret::generate().map_err(|source| io(&config.data, source))?;
            Ok(Some(made))
        }
        (kept, given) => Ok(kept.or(given)),
    }
}

/// Keeps it where the node finds it again.
pub(crate) fn keep_secret(
    config: &NodeConfig,
    secret: Option<&ClusterSecret>,
) -> Result<(), SecurityError> {
    let Some(secret) = secret else {
        return Ok(());
    };
    secret
        .store(&config.data)
        .map_err(|source| SecurityError::Io {
            path: config.data.clone(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_spoken_only_where_nobody_else_can_listen() {
        let decide = |plain, client: &str, peer: &str| {
            let bound = [client.parse().unwrap(), peer.parse().unwrap()];
            decide(plain, bound, None, Holder::at(None, &[]))
        };
        for (client, peer) in [("127.0.0.1:1", "127.9.9.9:2"), ("[::1]:1", "[::1]:2")] {
            assert!(matches!(decide(true, client, peer), Ok(Security::Plain)));
        }
        for (client, peer) in [
            ("0.0.0.0:1", "127.0.0.1:2"),
            ("127.0.0.1:1", "10.0.0.1:2"),
            ("[::]:1", "[::1]:2"),
        ] {
            let refused = decide(true, client, peer);
            assert!(
                matches!(refused, Err(SecurityError::PlainOffLoopback { .. })),
                "{client} {peer}"
            );
        }
        let refused = decide(false, "127.0.0.1:1", "127.0.0.1:2");
        assert!(matches!(refused, Err(SecurityError::SecretMissing)));
    }
}
