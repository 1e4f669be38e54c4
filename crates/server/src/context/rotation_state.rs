//! What a node keeps of a rotation of the secret (`rotation.rs`): what it was prepared with, on
//! disk, and the locks that serialize its steps.
//!
//! Always true: after an interruption at any point, the next start finds what the node was prepared
//! with, or the newer of the old and the new credentials.

use std::{io, path::Path};

use tokio::sync::Mutex;

use crate::{
    base::log_once::LogOnce,
    files::{
        checksummed::{self, ChecksumError},
        durable,
    },
    identity::secret::ClusterSecret,
    tls::{Issued, Next, Tls},
};

/// File that holds the secret until the rotation ends.
const SECRET_FILE: &str = "secret.next";
/// File that holds the certificates, on a node without a vote.
const CERTIFICATES_FILE: &str = "certificates.next.json";

/// Locks that serialize the steps of a rotation.
#[derive(Default)]
pub(crate) struct Rotation {
    /// Serializes changes of what this node proves and trusts.
    pub(crate) settling: Mutex<()>,
    /// Serializes adding a member with the end of a rotation, because a member that is added must
    /// be prepared.
    pub(crate) adding: Mutex<()>,
    /// Reasons for waiting that the log already shows.
    pub(crate) logged: LogOnce<String>,
}

/// Resumes, after a start, with what this node was prepared with before.
pub(crate) fn resume(directory: &Path, tls: &Tls) -> io::Result<()> {
    let Some(next) = load(directory)? else {
        return Ok(());
    };
    // The node installed it right before it ended.
    if next.generation() != tls.rotations() + 1 {
        return forget(directory);
    }
    tls.prepare(&next).map_err(io::Error::other)
}

fn load(directory: &Path) -> io::Result<Option<Next>> {
    match checksummed::read::<String>(&directory.join(SECRET_FILE)) {
        Ok(Some(text)) => {
            let secret = ClusterSecret::from_text(&text).map_err(io::Error::other)?;
            return Ok(Some(Next::Secret(secret)));
        }
        Ok(None) => {}
        Err(ChecksumError::Io(error)) => return Err(error),
        Err(error) => tracing::warn!(%error, file = SECRET_FILE, "ignoring an unreadable file"),
    }
    let issued = Issued::load_from(directory, CERTIFICATES_FILE)?;
    Ok(issued.map(Next::Issued))
}

/// Stores what this node is prepared with, beside its present credentials.
pub(crate) fn store(directory: &Path, next: &Next) -> io::Result<()> {
    forget(directory)?;
    match next {
        Next::Secret(secret) => checksummed::write(&directory.join(SECRET_FILE), &secret.to_text()),
        Next::Issued(issued) => checksummed::write(&directory.join(CERTIFICATES_FILE), issued),
    }
}

/// Removes what this node was prepared with.
pub(crate) fn forget(directory: &Path) -> io::Result<()> {
    durable::remove(&directory.join(SECRET_FILE))?;
    durable::remove(&directory.join(CERTIFICATES_FILE))
}

/// Replaces the node's credentials by what it is prepared with. After an interruption a start finds
/// the newer of the two.
pub(crate) fn install(directory: &Path) -> io::Result<()> {
    match load(directory)? {
        Some(Next::Secret(secret)) => secret.store(directory)?,
        Some(Next::Issued(issued)) => {
            issued.store(directory)?;
            ClusterSecret::forget(directory)?;
        }
        None => {
            return Err(io::Error::other(
                "the prepared secret or certificates are lost",
            ));
        }
    }
    forget(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{CertificateSubject, LIFETIME, NodeKey, PeerNames, PublicKey};

    fn tls(secret: &ClusterSecret) -> Tls {
        Tls::new(secret, CertificateSubject::at(Some(1), &[]), LIFETIME).unwrap()
    }

    fn issued_by(key_holder: &Tls, directory: &Path) -> Issued {
        let key = NodeKey::load_or_make(directory).unwrap();
        let public = PublicKey::from_bytes(&key.public()).unwrap();
        let of = PeerNames {
            node: 4,
            ..PeerNames::default()
        };
        let signed = key_holder.sign_for(&public, of, "h:1").unwrap().unwrap();
        Issued::new(&key, &signed.to_wire()).unwrap()
    }

    #[test]
    fn a_prepared_rotation_survives_a_crash_at_any_point() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let first = ClusterSecret::generate().unwrap();
        let second = first.rotate().unwrap();
        first.store(directory).unwrap();
        let next = Next::Secret(second.clone());
        store(directory, &next).unwrap();
        let started = tls(&first);
        resume(directory, &started).unwrap();
        assert_eq!(started.prepared(), Some(second.authority_id()));
        let trusts = |tls: &Tls, secret: &ClusterSecret| tls.trusts(Some(secret.authority_id()));
        assert!(trusts(&started, &first) && trusts(&started, &second));
        assert!(!started.trusts(None) && !trusts(&started, &first.rotate().unwrap()));
        // The node ends before it removes the obsolete file.
        second.store(directory).unwrap();
        let started = tls(&ClusterSecret::load(directory).unwrap().unwrap());
        resume(directory, &started).unwrap();
        assert_eq!((started.prepared(), started.rotations()), (None, 1));
        assert!(!trusts(&started, &first) && load(directory).unwrap().is_none());

        store(directory, &Next::Secret(second.rotate().unwrap())).unwrap();
        install(directory).unwrap();
        let third = ClusterSecret::load(directory).unwrap().unwrap();
        assert_eq!((third.generation(), load(directory).unwrap()), (2, None));
        assert!(install(directory).is_err(), "there is nothing");
    }

    #[test]
    fn a_non_voter_stores_certificates_instead_of_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let first = ClusterSecret::generate().unwrap();
        first.store(directory).unwrap();
        let key_holder = tls(&first.rotate().unwrap());
        let issued = issued_by(&key_holder, directory);
        assert_eq!(
            (issued.generation, &issued.cluster_id),
            (1, &first.cluster_id())
        );
        let node = tls(&first);
        store(directory, &Next::Issued(issued.clone())).unwrap();
        resume(directory, &node).unwrap();
        assert!(node.is_key_holder() && node.next_secret().is_none());
        install(directory).unwrap();
        node.go_on_with_next();
        assert!(!node.is_key_holder() && node.rotations() == 1 && node.prepared().is_none());
        assert_eq!(node.authority_id(), key_holder.authority_id());
        assert_eq!(node.fingerprint(), tls(&first).fingerprint());
        assert_eq!(ClusterSecret::load(directory).unwrap(), None);
        assert_eq!(Issued::load(directory).unwrap(), Some(issued));
    }
}
