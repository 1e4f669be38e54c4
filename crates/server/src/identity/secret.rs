//! The secret of a cluster, which only its nodes may have.
//!
//! Nodes derive from it what they must have in common without asking each other: the name of the
//! cluster, its certificate authority, the key that lets a machine join. Always true: it is never
//! shown, neither in a log nor in an error.
//!
//! It has two parts after a rotation: the part from the start, from which the cluster's name and
//! what clients have pinned follow for good, and the part by which peers know each other and let
//! machines join, which is random each time.

use std::{fmt, fs, io, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::limits::ROTATIONS_MAX;
use conclave_wire::{Problem, Reason};

use crate::files::{
    checksummed::{self, ChecksumError},
    durable,
};

/// Length in bytes.
pub(crate) const SECRET_BYTES: usize = 32;
/// File in the directory of a node.
const FILE: &str = "secret";
/// Second file, with a checksum: a node that has lost the secret cannot come back.
const COPY: &str = "secret.copy";
const NAME_CONTEXT: &str = "conclave 2026-11 the name of a cluster";
const JOIN_CONTEXT: &str = "conclave 2026-11 the key that lets a machine into a cluster";

/// Separator of the two parts, as text.
const SEPARATOR: char = '.';

/// 32 random bytes, or what an operator gave to all nodes; and the part that replaced them in
/// rotations.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret {
    original: [u8; SECRET_BYTES],
    rotated: Option<Rotated>,
}

/// Part that replaces the part from the start between peers.
#[derive(Clone, PartialEq, Eq)]
struct Rotated {
    /// Number of rotations so far; from 1.
    generation: u64,
    seed: [u8; SECRET_BYTES],
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClusterSecret(…)")
    }
}

/// Error: a text is not the secret of a cluster. It does not show the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cluster's secret is one line as `conclave` wrote it: 43 letters of base64url or more")]
pub struct NoSecret;

impl ClusterSecret {
    /// Generates a new secret.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn generate() -> io::Result<Self> {
        let original = random()?;
        Ok(Self {
            original,
            rotated: None,
        })
    }

    /// Returns the secret for the next rotation: of the same cluster, and otherwise random.
    pub(crate) fn rotate(&self) -> io::Result<Self> {
        let generation = self.generation() + 1;
        let seed = random()?;
        Ok(Self {
            rotated: Some(Rotated { generation, seed }),
            ..*self
        })
    }

    /// Returns the secret that the cluster had at the start.
    pub(crate) fn at_the_start(&self) -> Self {
        Self {
            rotated: None,
            ..*self
        }
    }

    /// Returns how often the secret was rotated.
    pub(crate) fn generation(&self) -> u64 {
        self.rotated
            .as_ref()
            .map_or(0, |rotated| rotated.generation)
    }

    /// Returns whether `self` replaced `other` in one or more rotations.
    pub(crate) fn follows(&self, other: &Self) -> bool {
        self.original == other.original && self.generation() > other.generation()
    }

    /// Parses the bytes that a member has sent.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, NoSecret> {
        let (original, rest) = bytes.split_first_chunk().ok_or(NoSecret)?;
        let rotated = match rest.split_first_chunk() {
            None if rest.is_empty() => None,
            None => return Err(NoSecret),
            Some((generation, seed)) => Some(Rotated {
                generation: u64::from_be_bytes(*generation),
                seed: seed.try_into().map_err(|_| NoSecret)?,
            }),
        };
        let is_possible = |part: &Rotated| (1..=ROTATIONS_MAX).contains(&part.generation);
        if !rotated.as_ref().is_none_or(is_possible) {
            return Err(NoSecret);
        }
        Ok(Self {
            original: *original,
            rotated,
        })
    }

    /// Returns the bytes that are sent to a voter, and to no other node.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.original.to_vec();
        if let Some(Rotated { generation, seed }) = &self.rotated {
            bytes.extend(generation.to_be_bytes());
            bytes.extend(seed);
        }
        bytes
    }

    /// Parses the text of [`ClusterSecret::to_text`].
    ///
    /// # Errors
    /// [`NoSecret`] if it is anything else.
    pub fn from_text(text: &str) -> Result<Self, NoSecret> {
        let part = |text: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoSecret)?;
            bytes.try_into().map_err(|_| NoSecret)
        };
        let mut parts = text.trim().split(SEPARATOR);
        let original = part(parts.next().unwrap_or_default())?;
        let rotated = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some(generation), Some(seed), None) => Some(Rotated {
                generation: generation.parse().map_err(|_| NoSecret)?,
                seed: part(seed)?,
            }),
            _ => return Err(NoSecret),
        };
        Self::from_bytes(&Self { original, rotated }.to_bytes())
    }

    /// Returns one line for a file that only its owner can read: 43 letters, and as many for the
    /// part that replaced them.
    #[must_use]
    pub fn to_text(&self) -> String {
        let original = URL_SAFE_NO_PAD.encode(self.original);
        match &self.rotated {
            None => original,
            Some(Rotated { generation, seed }) => {
                let seed = URL_SAFE_NO_PAD.encode(seed);
                format!("{original}{SEPARATOR}{generation}{SEPARATOR}{seed}")
            }
        }
    }

    /// Returns the name of the cluster: the same on every node, and it reveals nothing of the
    /// secret.
    #[must_use]
    pub fn cluster_id(&self) -> String {
        let name = blake3::derive_key(NAME_CONTEXT, &self.original);
        blake3::Hash::from_bytes(name).to_hex()[..16].to_owned()
    }

    /// Returns the join key: a machine that sends it knows the secret, and may join without a
    /// token.
    pub(crate) fn join_key(&self) -> [u8; SECRET_BYTES] {
        self.derive(JOIN_CONTEXT)
    }

    /// Derives 32 bytes for one purpose of peers, from which neither the secret nor another
    /// purpose's bytes follow.
    pub(crate) fn derive(&self, context: &str) -> [u8; SECRET_BYTES] {
        let seed = self.rotated.as_ref().map(|rotated| &rotated.seed);
        blake3::derive_key(context, seed.unwrap_or(&self.original))
    }

    /// Returns the secret that a node keeps in its directory, if it has one. It is stored twice,
    /// and a damaged copy is repaired.
    pub(crate) fn load(directory: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(directory.join(FILE)) {
            Ok(text) => Some(String::from_utf8(text).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let broken = || io::Error::new(io::ErrorKind::InvalidData, NoSecret);
        let copy = match checksummed::read::<String>(&directory.join(COPY)) {
            Ok(copy) => copy,
            Err(ChecksumError::Io(error)) => return Err(error),
            Err(ChecksumError::Damaged(_) | ChecksumError::Foreign(_)) => None,
        };
        // Only the copy has a checksum.
        let Some(kept) = copy.as_ref().or(text.as_ref()) else {
            return Ok(None);
        };
        let secret = Self::from_text(kept).map_err(|_| broken())?;
        if copy.is_none() || text.as_ref() != copy.as_ref() {
            tracing::warn!("writing the cluster's secret again: it is new, or was damaged here");
            secret.store(directory)?;
        }
        Ok(Some(secret))
    }

    /// Removes the secret from the directory of a node.
    pub(crate) fn forget(directory: &Path) -> io::Result<()> {
        durable::remove(&directory.join(FILE))?;
        durable::remove(&directory.join(COPY))
    }

    /// Stores the secret in the directory of a node, whole or not at all.
    pub(crate) fn store(&self, directory: &Path) -> io::Result<()> {
        checksummed::write(&directory.join(COPY), &self.to_text())?;
        durable::replace(&directory.join(FILE), self.to_text().as_bytes())
    }
}

/// Checks that a caller knows the secret.
pub(crate) fn check_key(secret: Option<&ClusterSecret>, shown: &[u8]) -> Result<(), Problem> {
    let secret = secret.ok_or_else(no_key)?;
    // Hashes are compared, so that the time does not show where the keys differ.
    if blake3::hash(shown) == blake3::hash(&secret.join_key()) {
        return Ok(());
    }
    Err(Problem::refused(
        Reason::JoinRefused,
        "the key does not belong to this cluster",
    ))
}

/// Returns the problem of a node without the key of the authority.
pub(crate) fn no_key() -> Problem {
    Problem::refused(
        Reason::NoAuthorityKey,
        "this node does not have the key of the cluster's authority: voters have it",
    )
}

fn random() -> io::Result<[u8; SECRET_BYTES]> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_stored_secret_is_loaded_and_readable_only_by_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(ClusterSecret::load(directory.path()).unwrap(), None);
        let secret = ClusterSecret::generate().unwrap();
        secret.store(directory.path()).unwrap();
        assert_eq!(ClusterSecret::load(directory.path()).unwrap(), Some(secret));
        let mode = fs::metadata(directory.path().join(FILE)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_copy_of_the_secret_is_restored_from_the_other() {
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
    fn a_rotated_secret_keeps_the_cluster_and_voids_old_join_keys() {
        let first = ClusterSecret::generate().unwrap();
        let second = first.rotate().unwrap();
        let third = second.rotate().unwrap();
        assert_eq!((first.generation(), third.generation()), (0, 2));
        assert_eq!(third.at_the_start(), first);
        assert!(third.follows(&first) && third.follows(&second) && !second.follows(&third));
        assert!(
            !ClusterSecret::generate()
                .unwrap()
                .rotate()
                .unwrap()
                .follows(&first)
        );
        let directory = tempfile::tempdir().unwrap();
        for (secret, other) in [(&second, &first), (&third, &second)] {
            assert_eq!(secret.cluster_id(), first.cluster_id());
            assert_ne!(secret.join_key(), other.join_key());
            let again = ClusterSecret::from_bytes(&secret.to_bytes()).unwrap();
            assert_eq!(&again, secret);
            secret.store(directory.path()).unwrap();
            let again = ClusterSecret::load(directory.path()).unwrap();
            assert_eq!(again.as_ref(), Some(secret));
        }
        let text = second.to_text();
        for wrong in [
            text.replace(".1.", ".0."),
            text.replace(".1.", ".-1."),
            text.replace(".1.", ".1000001."),
            text.replace(".1.", "."),
            format!("{text}.1"),
            text[..text.len() - 1].to_owned(),
        ] {
            assert_eq!(ClusterSecret::from_text(&wrong), Err(NoSecret), "{wrong}");
        }
        for bytes in [0, 31, 33, 40, 71, 73] {
            assert!(ClusterSecret::from_bytes(&vec![1; bytes]).is_err());
        }
    }

    #[test]
    fn derived_values_are_deterministic_and_the_secret_is_not_shown() {
        let secret = ClusterSecret::from_bytes(&[7; SECRET_BYTES]).unwrap();
        let again = ClusterSecret::from_text(&secret.to_text()).unwrap();
        assert_eq!(again.cluster_id(), secret.cluster_id());
        assert_ne!(secret.join_key(), secret.derive(NAME_CONTEXT));
        assert!(!format!("{secret:?}").contains(&secret.to_text()));
        let refused = ClusterSecret::from_text("CANARY").unwrap_err().to_string();
        assert!(!refused.contains("CANARY"), "{refused}");
    }
}
