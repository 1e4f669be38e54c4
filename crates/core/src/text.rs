//! The body of a message.
//!
//! Always true: 1 to [`TEXT_BYTES_MAX`] bytes of UTF-8. Nothing else is judged here: what a
//! terminal must not be shown is the business of whoever shows it.

use serde::{Deserialize, Serialize};

use crate::{Rejection, limits::TEXT_BYTES_MAX};

/// A valid message body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageText(String);

impl MessageText {
    /// Takes `text` if it is neither empty nor too long.
    ///
    /// # Errors
    /// [`Rejection::TextEmpty`] or [`Rejection::TextTooLong`].
    pub fn new(text: impl Into<String>) -> Result<Self, Rejection> {
        let text = text.into();
        match text.len() {
            0 => Err(Rejection::TextEmpty),
            1..=TEXT_BYTES_MAX => Ok(Self(text)),
            bytes => Err(Rejection::TextTooLong {
                bytes: bytes as u64,
            }),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_1_byte_to_16_kib() {
        assert_eq!(MessageText::new(""), Err(Rejection::TextEmpty));
        assert!(MessageText::new("x").is_ok());
        assert!(MessageText::new("x".repeat(TEXT_BYTES_MAX)).is_ok());
        let long = MessageText::new("x".repeat(TEXT_BYTES_MAX + 1));
        assert_eq!(
            long,
            Err(Rejection::TextTooLong {
                bytes: TEXT_BYTES_MAX as u64 + 1
            })
        );
    }
}
