//! The credential of an operator: what it looks like in a file and in a header, and the hash by
//! which the cluster knows it.
//!
//! Always true: neither an error nor `Debug` discloses it.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use conclave_core::TokenHash;

use crate::request::{TOKEN_BYTES, token_hash};

/// What every credential begins with.
const PREFIX: &str = "conclave-operator-1.";
/// The scheme of the `authorization` header that carries one.
pub const SCHEME: &str = "Operator";

/// A credential of an operator: 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorCredential([u8; TOKEN_BYTES]);

impl fmt::Debug for OperatorCredential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OperatorCredential(…)")
    }
}

impl OperatorCredential {
    /// Makes the credential of these random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; TOKEN_BYTES]) -> Self {
        Self(bytes)
    }

    /// Returns the random bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; TOKEN_BYTES] {
        &self.0
    }

    /// Returns the form in which it is shown and kept.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.0))
    }

    /// Reads what [`Self::to_text`] gave, white space around it or not; `None` if it is anything
    /// else.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let encoded = text.trim().strip_prefix(PREFIX)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// Reads it from the value of an `authorization` header.
    #[must_use]
    pub fn from_header(value: &str) -> Option<Self> {
        let (scheme, credential) = value.split_once(' ')?;
        let is_ours = scheme.eq_ignore_ascii_case(SCHEME);
        is_ours.then(|| Self::from_text(credential)).flatten()
    }

    /// Returns the value of the `authorization` header that carries it.
    #[must_use]
    pub fn to_header(&self) -> String {
        format!("{SCHEME} {}", self.to_text())
    }

    /// Returns the hash under which the cluster knows it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        token_hash(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_credential_round_trips_and_other_text_is_refused() {
        let credential = OperatorCredential::from_bytes([7; TOKEN_BYTES]);
        let text = credential.to_text();
        let read = OperatorCredential::from_text(&format!(" {text}\r\n"));
        assert_eq!(read, Some(credential.clone()));
        let header = credential.to_header();
        assert_eq!(
            OperatorCredential::from_header(&header),
            Some(credential.clone())
        );
        let bearer = header.replace(SCHEME, "Bearer");
        for other in ["", "Operator", "Operator x", &text, &bearer] {
            assert_eq!(OperatorCredential::from_header(other), None, "{other}");
        }
        for other in ["", "x", PREFIX, &text[1..], &text[..text.len() - 2]] {
            assert_eq!(OperatorCredential::from_text(other), None, "{other}");
        }
        let shown = format!("{credential:?}");
        assert!(!shown.contains("7, 7") && !shown.contains(&text), "{shown}");
    }
}
