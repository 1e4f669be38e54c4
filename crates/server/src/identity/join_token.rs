//! The token that an administrator gives to a machine that is to join: a secret that admits one
//! machine, and the fingerprint of the cluster's certificate authority, so that the machine sends
//! the secret to no other cluster.
//!
//! Always true: neither part is shown in an error or by `Debug`.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Prefix of every token.
const PREFIX: &str = "conclave-join-1.";
/// Length in bytes of each of its two parts.
const PART_BYTES: usize = 32;

/// A token to join.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct JoinToken {
    /// SHA-256 of the certificate of the cluster's authority.
    pub(crate) authority: [u8; PART_BYTES],
    /// Secret of which the cluster knows only the hash.
    pub(crate) secret: [u8; PART_BYTES],
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JoinToken(…)")
    }
}

impl JoinToken {
    /// Returns the token as text, which is shown once.
    pub(crate) fn to_text(&self) -> String {
        let parts = [self.authority, self.secret].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(parts))
    }

    /// Parses the text of [`JoinToken::to_text`]; `None` if it is anything else.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let encoded = text.trim().strip_prefix(PREFIX)?;
        let parts = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let (authority, secret) = parts.split_first_chunk()?;
        Some(Self {
            authority: *authority,
            secret: secret.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_token_round_trips_and_other_text_is_rejected() {
        let token = JoinToken {
            authority: [1; PART_BYTES],
            secret: [2; PART_BYTES],
        };
        let text = token.to_text();
        assert_eq!(
            JoinToken::from_text(&format!(" {text}\n")),
            Some(token.clone())
        );
        for other in ["", "x", PREFIX, &text[1..], &text[..text.len() - 2]] {
            assert_eq!(JoinToken::from_text(other), None, "{other}");
        }
        let shown = format!("{token:?}");
        assert!(!shown.contains("2, 2") && !shown.contains(&text), "{shown}");
    }
}
