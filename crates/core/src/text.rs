//! What people write: the body of a message, and the short texts around it.
//!
//! Always true: UTF-8 within its bound. The body of a message may hold anything: what a terminal
//! must not be shown is the business of whoever shows it. A short text has no control characters.

use serde::{Deserialize, Serialize};

use crate::{
    Rejection,
    limits::{
        DISPLAY_NAME_BYTES_MAX, REACTION_BYTES_MAX, SESSION_LABEL_BYTES_MAX, TEXT_BYTES_MAX,
        TOPIC_BYTES_MAX,
    },
};

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

macro_rules! line {
    ($(#[$doc:meta])* $name:ident, $min:literal..=$max:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes `text` if it is within its bound and has no control character.
            ///
            /// # Errors
            /// [`Rejection::LineInvalid`].
            pub fn new(text: impl Into<String>) -> Result<Self, Rejection> {
                let text = text.into();
                let fits = ($min..=$max).contains(&text.len());
                if !fits || text.chars().any(char::is_control) {
                    return Err(Rejection::LineInvalid {
                        what: Line::$name,
                        bytes_max: $max as u64,
                    });
                }
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

/// The kinds of short texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// See [`DisplayName`].
    DisplayName,
    /// See [`Topic`].
    Topic,
    /// See [`SessionLabel`].
    SessionLabel,
    /// See [`Reaction`].
    Reaction,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DisplayName => "a display name",
            Self::Topic => "a topic",
            Self::SessionLabel => "a session's label",
            Self::Reaction => "a reaction",
        })
    }
}

line! {
    /// What is shown beside an account's name; may be empty.
    DisplayName, 0..=DISPLAY_NAME_BYTES_MAX
}
line! {
    /// What a room is about; may be empty.
    Topic, 0..=TOPIC_BYTES_MAX
}
line! {
    /// What its owner calls a session; may be empty.
    SessionLabel, 0..=SESSION_LABEL_BYTES_MAX
}
line! {
    /// An emoji or a short word, never empty.
    Reaction, 1..=REACTION_BYTES_MAX
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
