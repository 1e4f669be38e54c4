//! The secret of a cluster: every node has it, nobody else may.
//!
//! What the nodes must have in common without asking each other follows from it: the name of the
//! cluster, its certificate authority, the key that lets a machine in. Always true: it is never
//! shown, neither in a log nor in an error.

use std::{fmt, fs, io, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    durable,
    sealed::{self, SealError},
};

/// Its length in bytes.
pub(crate) const SECRET_BYTES: usize = 32;
/// Where it stands in the directory of a node.
const FILE: &str = "secret";
/// Where it stands once more, with a checksum: who cannot show it cannot come back.
const COPY: &str = "secret.copy";
const NAME_CONTEXT: &str = "conclave 2026-11 the name of a cluster";
const JOIN_CONTEXT: &str = "conclave 2026-11 the key that lets a machine into a cluster";

/// 32 random bytes, or what an operator gave to all nodes.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret([u8; SECRET_BYTES]);

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClusterSecret(…)")
    }
}

/// A text is not the secret of a cluster. It does not say what the text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cluster's secret is 32 bytes as 43 letters of base64url")]
pub struct NoSecret;

impl ClusterSecret {
    /// A new one.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(bytes))
    }

    /// These bytes, as a member has sent them.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, NoSecret> {
        bytes.try_into().map(Self).map_err(|_| NoSecret)
    }

    /// For a new member, and for nobody else.
    pub(crate) fn as_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// What [`ClusterSecret::to_text`] gave.
    ///
    /// # Errors
    /// [`NoSecret`] if it is anything else.
    pub fn from_text(text: &str) -> Result<Self, NoSecret> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| NoSecret)?;
        Self::from_bytes(&bytes)
    }

    /// 43 letters, for a file that only its owner can read.
    #[must_use]
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The name of the cluster: the same on every node, and it tells nothing of the secret.
    #[must_use]
    pub fn cluster_id(&self) -> String {
        let name = self.derive(NAME_CONTEXT);
        blake3::Hash::from_bytes(name).to_hex()[..16].to_owned()
    }

    /// Who shows this knows the secret, and may join without a token.
    pub(crate) fn join_key(&self) -> [u8; SECRET_BYTES] {
        self.derive(JOIN_CONTEXT)
    }

    /// 32 bytes for one purpose, from which neither the secret nor another purpose's follow.
    pub(crate) fn derive(&self, context: &str) -> [u8; SECRET_BYTES] {
        blake3::derive_key(context, &self.0)
    }

    /// The secret that a node keeps in its directory, if it has one. It is there twice, and one
    /// that is damaged is mended.
    pub(crate) fn load(directory: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(directory.join(FILE)) {
            Ok(text) => Some(String::from_utf8(text).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let broken = || io::Error::new(io::ErrorKind::InvalidData, NoSecret);
        let copy = match sealed::read::<String>(&directory.join(COPY)) {
            Ok(copy) => copy,
            Err(SealError::Io(error)) => return Err(error),
            Err(SealError::Damaged(_) | SealError::Foreign(_)) => None,
        };
        // Only the copy has a checksum.
        let Some(kept) = copy.as_ref().or(text.as_ref()) else {
            return Ok(None);
        };
        let secret = Self::from_text(kept).map_err(|_| broken())?;
        if copy.is_none() || text.as_ref() != copy.as_ref() {
            tracing::warn!("the cluster's secret was damaged here, or is new: it is written again");
            secret.store(directory)?;
        }
        Ok(Some(secret))
    }

    /// Removes it from the directory of a node.
    pub(crate) fn forget(directory: &Path) -> io::Result<()> {
        durable::remove(&directory.join(FILE))?;
        durable::remove(&directory.join(COPY))
    }

    /// Keeps it in the directory of a node, whole or not at all.
    pub(crate) fn store(&self, directory: &Path) -> io::Result<()> {
        sealed::write(&directory.join(COPY), &self.to_text())?;
        durable::replace(&directory.join(FILE), self.to_text().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_gives_back_what_was_kept_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(ClusterSecret::load(directory.path()).unwrap(), None);
        let secret = ClusterSecret::generate().unwrap();
        secret.store(directory.path()).unwrap();
        assert_eq!(ClusterSecret::load(directory.path()).unwrap(), Some(secret));
        let mode = fs::metadata(directory.path().join(FILE)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_secret_that_is_damaged_in_one_place_is_mended_from_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let secret = ClusterSecret::generate().unwrap();
        secret.store(directory).unwrap();
        let other = ClusterSecret::generate().unwrap().to_text();
        for (file, text) in [
            (FILE, "short"),
            (FILE, &*other),
            (COPY, "short"),
            (COPY, ""),
        ] {
            fs::write(directory.join(file), text).unwrap();
            let loaded = ClusterSecret::load(directory).unwrap();
            assert_eq!(loaded.as_ref(), Some(&secret), "{file}");
            let written = fs::read_to_string(directory.join(FILE)).unwrap();
            assert_eq!(written, secret.to_text());
        }
        for file in [FILE, COPY] {
            fs::write(directory.join(file), "short").unwrap();
        }
        assert!(ClusterSecret::load(directory).is_err());
    }

    #[test]
    fn what_follows_from_it_is_the_same_everywhere_and_is_not_shown() {
        let secret = ClusterSecret::from_bytes(&[7; SECRET_BYTES]).unwrap();
        let again = ClusterSecret::from_text(&secret.to_text()).unwrap();
        assert_eq!(again.cluster_id(), secret.cluster_id());
        assert_ne!(secret.join_key(), secret.derive(NAME_CONTEXT));
        assert!(!format!("{secret:?}").contains(&secret.to_text()));
        let refused = ClusterSecret::from_text("CANARY").unwrap_err().to_string();
        assert!(!refused.contains("CANARY"), "{refused}");
    }
}
