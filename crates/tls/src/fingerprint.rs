//! The ways in which clients recognise a cluster.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ring::digest::{SHA256, digest};
use rustls::pki_types::ServerName;

/// The name for which every node has a certificate. It is in no DNS: clients come to an address,
/// and check with this name that a node of their cluster is there.
pub const NODES_NAME: &str = "nodes.conclave.internal";

/// Returns [`NODES_NAME`] as TLS takes it.
#[must_use]
pub fn nodes_name() -> ServerName<'static> {
    ServerName::try_from(NODES_NAME).expect("it is a name")
}

/// Prefix of the letters.
const PREFIX: &str = "SHA256:";

/// Fingerprint of the certificate authority of a cluster: the SHA-256 of its certificate.
///
/// Shown as `SHA256:` and 43 letters of base64, as ssh shows keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

/// A text is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is written as SHA256: and 43 letters")]
pub struct NoFingerprint;

impl Fingerprint {
    /// Returns the fingerprint of an authority with this certificate, in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        let digest = digest(&SHA256, certificate);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let letters = text.trim().strip_prefix(PREFIX).ok_or(NoFingerprint)?;
        let letters = letters.trim_end_matches('=');
        let bytes = STANDARD_NO_PAD.decode(letters).map_err(|_| NoFingerprint)?;
        bytes.try_into().map(Self).map_err(|_| NoFingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_round_trips_and_other_text_is_rejected() {
        let fingerprint = Fingerprint([200; 32]);
        let shown = fingerprint.to_string();
        assert_eq!(shown.len(), PREFIX.len() + 43);
        for text in [shown.clone(), format!(" {shown}=\n")] {
            assert_eq!(text.parse(), Ok(fingerprint), "{text}");
        }
        for text in [
            "",
            PREFIX,
            &shown[1..],
            &shown[..shown.len() - 1],
            "SHA256:ä",
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NoFingerprint), "{text}");
        }
    }
}
